"""The APIs of a project."""

from collections.abc import Iterator

from deployment.changes import Change, create
from deployment.names import Names
from deployment.present import Present

_NAMES = (
    *("artifactregistry", "cloudbuild", "cloudresourcemanager", "cloudscheduler", "iam", "iamcredentials", "logging"),
    *("monitoring", "pubsub", "run", "secretmanager", "storage"),
)
_FIRESTORE = ("firestore", "firebaserules")


def api_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the enabling of what is not enabled, as one change; none is ever disabled."""
    wanted = [*_NAMES, *(_FIRESTORE if names.uses_firestore else ())]
    wanted += ["sqladmin"] if names.environment.cloud_sql_instance else []
    wanted += ["iap"] if names.environment.web_access == "iap" else []
    missing = sorted(name for name in wanted if f"{name}.googleapis.com" not in present.enabled)
    if missing:
        yield create(
            "APIs", ", ".join(missing), ("services", "enable", *(f"{name}.googleapis.com" for name in missing))
        )
