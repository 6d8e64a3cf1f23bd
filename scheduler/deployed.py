"""A deployed environment as the commands reach it: where its nightly-transform is, and who asks; gcloud knows both."""

import re
import threading
import time

from deployment.environment import Environment, read_environment
from deployment.gcloud import Gcloud, GcloudError
from shared.config import ROOT
from shared.errors import ServiceError
from shared.lazy import Once

ENVIRONMENTS = ROOT / "environments"
_SERVICE = "nightly-transform"
# A token is good for an hour, and a backfill may be watched for longer.
_TOKEN_SECONDS = 1800.0


class Deployed:
    """nightly-transform in one environment.

    Args:
        environment: Its project and region are what is asked.

    Attributes:
        gcloud: In that project.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.gcloud = Gcloud(environment.project_id)
        self._found = Once(self._find)
        self._lock = threading.Lock()
        self._token, self._expires = "", 0.0

    @property
    def name(self) -> str:
        """The environment's name."""
        return self._environment.name

    @property
    def project_id(self) -> str:
        """The project it is in."""
        return self._environment.project_id

    @property
    def region(self) -> str:
        """The region it is in, and the schedules beside it."""
        return self._environment.region

    @property
    def url(self) -> str:
        """Where it answers.

        Raises:
            ServiceError: gcloud knows no such service there, or may not tell.
        """
        return self._found()

    def token(self) -> str:
        """Return an ID token of the account that gcloud is signed in with.

        Raises:
            ServiceError: gcloud is signed in with none.
        """
        with self._lock:
            if time.monotonic() >= self._expires:
                self._token = self._identity_token()
                self._expires = time.monotonic() + _TOKEN_SECONDS
            return self._token

    def _find(self) -> str:
        describe = ("run", "services", "describe", _SERVICE, f"--region={self.region}", "--format=value(status.url)")
        url = self.gcloud.run(describe).strip()
        if not re.fullmatch(r"https?://[^/\s]+", url):
            raise ServiceError(
                f"{_SERVICE} has no URL in {self.project_id} yet: has ./deploy.sh {self.name} ended well?"
            )
        return url

    def _identity_token(self) -> str:
        command = ("auth", "print-identity-token")
        try:
            return self.gcloud.text(*command, f"--audiences={self.url}")
        except GcloudError as error:
            # Only service accounts can say for whom a token is; Cloud Run takes a person's without.
            if "Invalid account type for `--audiences`" not in error.said:
                raise
        return self.gcloud.text(*command)


def read_deployed(name: str) -> Deployed:
    """Return nightly-transform as environments/<name>.env has it; gcloud is asked once something is needed.

    Raises:
        ConfigurationError: There is no such environment, or its file is wrong.
    """
    return Deployed(read_environment(name, ENVIRONMENTS))
