"""What everything is called in one environment, from what its files say."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from .environment import Environment
from .service_files import Service

REPOSITORY = "nightshift"
DEAD_LETTERS = "dead-letters"
PREFIX = "nightshift-"
# Of what we make, where Google keeps labels: nothing else is ever removed.
LABEL = "--labels=managed-by=nightshift"


@dataclass(frozen=True)
class Names:
    """Names in one environment.

    Attributes:
        environment: Which.
        services: Its functions.
        project_number: Google's number of its project.
    """

    environment: Environment
    services: tuple[Service, ...]
    project_number: str

    @property
    def project(self) -> str:
        """The project's id."""
        return self.environment.project_id

    def account(self, role: str) -> str:
        """Return the e-mail of a service account, of a service by its name, or of build, push or smoke."""
        return f"{PREFIX}{role}@{self.project}.iam.gserviceaccount.com"

    def member(self, role: str) -> str:
        """Return a service account as IAM policies name it."""
        return f"serviceAccount:{self.account(role)}"

    @property
    def pubsub_agent(self) -> str:
        """Pub/Sub's own account, which moves dead letters, as IAM policies name it."""
        return f"serviceAccount:service-{self.project_number}@gcp-sa-pubsub.iam.gserviceaccount.com"

    @property
    def run_agent(self) -> str:
        """Cloud Run's own account, which fetches images, as IAM policies name it."""
        return f"serviceAccount:service-{self.project_number}@serverless-robot-prod.iam.gserviceaccount.com"

    @cached_property
    def roles(self) -> dict[str, str]:
        """What each service account is for, by the end of its name."""
        others = {
            "build": "builds the images",
            "push": "delivers Pub/Sub's messages",
            "smoke": "tries a release before it gets traffic",
        }
        return {service.service: f"runs {service.service}" for service in self.services} | others

    @cached_property
    def members(self) -> frozenset[str]:
        """Our service accounts as IAM policies name them."""
        return frozenset(self.member(role) for role in self.roles)

    def url(self, service: str) -> str:
        """Return where a service answers; known before there is one."""
        return f"https://{service}-{self.project_number}.{self.environment.region}.run.app"

    def image(self, service: str) -> str:
        """Return an image's name, without tag and digest."""
        return f"{self.environment.region}-docker.pkg.dev/{self.project}/{REPOSITORY}/{service}"

    @cached_property
    def topics(self) -> tuple[str, ...]:
        """The topics that functions publish to or are pushed from, but dead letters."""
        used = {topic for service in self.services for topic in (*service.publishes, service.subscribes) if topic}
        return tuple(sorted(used))

    def subscriptions(self) -> Iterator[tuple[str, Service]]:
        """Yield each topic that is pushed, and the service that it is pushed to."""
        for service in self.services:
            if service.subscribes:
                yield service.subscribes, service

    def buckets(self) -> dict[str, str]:
        """Return the names of the buckets, by what they are for: objects, and models where they are not deployed."""
        urls = {"objects": self.environment.objects_url, "models": self.environment.models_dir}
        return {use: url.removeprefix("gs://").partition("/")[0] for use, url in urls.items() if url}

    def secrets(self, service: Service) -> dict[str, str]:
        """Return the names of a service's secrets, by the variable each is in."""
        found = {variable: variable.lower().replace("_", "-") for variable in service.secrets}
        if self.environment.store_secret and service.database != "none":
            found["STORE_URL"] = self.environment.store_secret
        return found

    @property
    def database(self) -> str:
        """The name of the Firestore database; only `(default)` has a free share."""
        return self.environment.store_url.rpartition("/")[2]

    @property
    def uses_firestore(self) -> bool:
        """Whether the results are in Firestore."""
        return self.environment.store_url.startswith("firestore:")
