"""The repository that builds put images into."""

from collections.abc import Iterator

from deployment.bindings import binding_changes
from deployment.changes import Change, create
from deployment.gcloud import Command
from deployment.names import LABEL, REPOSITORY, Names
from deployment.present import Present

_REGISTRY = "https://artifactregistry.googleapis.com/v1/projects"


def image_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the repository where it is missing; an environment that runs another's images has none."""
    if names.environment.promote_from or REPOSITORY in present.named("repositories"):
        return
    make: Command = ("artifacts", "repositories", "create", REPOSITORY, "--repository-format=docker")
    yield create("image repository", REPOSITORY, (*make, f"--location={names.environment.region}", LABEL))


def promotion_changes(names: Names, source: Names, present: Present) -> Iterator[Change]:
    """Yield the grant that lets one environment run the images of another.

    Args:
        names: Of the environment that runs them.
        source: Of the one that has built them.
        present: The project, whose token reads the other's policy too.
    """
    where = f"{source.project}/locations/{source.environment.region}/repositories/{REPOSITORY}"
    policy = present.policy(f"{_REGISTRY}/{where}:getIamPolicy")

    def command(verb: str) -> Command:
        place = (f"--location={source.environment.region}", f"--project={source.project}", "--format=none")
        return ("artifacts", "repositories", f"{verb}-iam-policy-binding", REPOSITORY, *place)

    wanted = {("roles/artifactregistry.reader", names.run_agent)}
    yield from binding_changes(f"images of {source.project}", policy, wanted, command, lambda _: False)
