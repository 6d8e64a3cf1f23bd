"""What there is in a project, read with one list each, side by side, and policies over one connection."""

from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from .gcloud import Gcloud
from .rest import Rest, RestError

Resource = dict[str, Any]
# gcloud's start is most of a call, and all of it processor time.
_AT_ONCE = 4

_LISTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "accounts": ("iam", ("iam", "service-accounts", "list")),
    "project_policy": ("cloudresourcemanager", ("projects", "get-iam-policy", "{project}")),
    "databases": ("firestore", ("firestore", "databases", "list")),
    "indexes": ("firestore", ("firestore", "indexes", "composite", "list", "--database={database}")),
    "fields": ("firestore", ("firestore", "indexes", "fields", "list", "--database={database}")),
    "topics": ("pubsub", ("pubsub", "topics", "list")),
    "subscriptions": ("pubsub", ("pubsub", "subscriptions", "list")),
    "buckets": ("storage", ("storage", "buckets", "list", "--raw")),
    "secrets": ("secretmanager", ("secrets", "list")),
    "repositories": ("artifactregistry", ("artifacts", "repositories", "list", "--location={region}")),
    "services": ("run", ("run", "services", "list", "--region={region}")),
}
# gcloud lists these in its alpha alone.
_MONITORING = {"alerts": "alertPolicies", "channels": "notificationChannels"}
_OF_A_DATABASE = {"indexes", "fields"}


class Present:
    """A project as it is.

    Args:
        gcloud: In that project.
        rest: With its token.
        region: Where services and images are.
        database: Of Firestore.

    Attributes:
        gcloud: As given.
        rest: As given.
        enabled: The APIs that are enabled, such as `run.googleapis.com`.
    """

    def __init__(self, gcloud: Gcloud, rest: Rest, region: str, database: str) -> None:
        self.gcloud, self.rest, self._region = gcloud, rest, region
        self._database = database
        self.read_enabled()
        self._lists: dict[str, Any] = {}
        self._policies: dict[str, Resource] = {}

    def read_all(self) -> None:
        """Read every list, several at a time; one whose API is not enabled yet is empty."""
        first = [name for name in (*_LISTS, *_MONITORING) if name not in _OF_A_DATABASE]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            found = dict(zip(first, pool.map(self._list, first), strict=True))
            has_database = any(each["name"].endswith(f"/{self._database}") for each in found["databases"] or ())
            later = sorted(_OF_A_DATABASE)
            found |= zip(later, pool.map(self._list, later) if has_database else ([], []), strict=True)
        self._lists = found

    def __getitem__(self, name: str) -> list[Resource]:
        """Return a list by its name, read when it is first asked for."""
        if name not in self._lists:
            self._lists[name] = self._list(name)
        return self._lists[name] or []

    @cached_property
    def project_policy(self) -> Resource:
        """The project's IAM policy."""
        found = self._lists.get("project_policy") or self._list("project_policy")
        return dict(found or {})

    def named(self, name: str, key: str = "name") -> dict[str, Resource]:
        """Return a list by the last part of each resource's name."""
        return {str(each[key]).rpartition("/")[2]: each for each in self[name]}

    def named_services(self) -> dict[str, Resource]:
        """Return the Cloud Run services by name."""
        return {str(each["metadata"]["name"]): each for each in self["services"]}

    def forget(self, name: str) -> None:
        """Have a list read again when it is next asked for, and every policy."""
        self._lists.pop(name, None)
        self._policies.clear()

    def policy(self, url: str, method: str = "GET") -> Resource:
        """Return the IAM policy at a URL; an empty one of what is not there."""
        if url not in self._policies:
            self._policies[url] = self._policy(url, method)
        return self._policies[url]

    def read_policies(self, urls: list[str]) -> None:
        """Read policies side by side."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._policies |= zip(urls, pool.map(self._policy, urls), strict=True)

    def _policy(self, url: str, method: str = "GET") -> Resource:
        try:
            return self.rest.get(url) if method == "GET" else self.rest.send(method, url, {})
        except RestError as error:
            if error.status_code == 404:
                return {}
            raise

    def read_enabled(self) -> None:
        """Note which APIs are enabled now."""
        found = self.gcloud.read("services", "list", "--enabled")
        self.enabled = {str(each["config"]["name"]) for each in found}

    def _list(self, name: str) -> Any:
        if name in _MONITORING:
            return self._monitoring(_MONITORING[name]) if "monitoring.googleapis.com" in self.enabled else None
        service, command = _LISTS[name]
        if f"{service}.googleapis.com" not in self.enabled:
            return None
        values = {"project": self.gcloud.project, "region": self._region, "database": self._database}
        return self.gcloud.read(*(part.format(**values) for part in command))

    def _monitoring(self, kind: str) -> list[Resource]:
        url = f"https://monitoring.googleapis.com/v3/projects/{self.gcloud.project}/{kind}"
        found = self.rest.get(url, pageSize="500")
        return list(found.get(kind, ()))
