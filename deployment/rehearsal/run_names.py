"""What Cloud Run calls its services and revisions, and the URLs it gives them."""

import hashlib
from typing import NamedTuple

from .world import Resource, World

_REGION_CODES = {
    "europe-west1": "ew",
    "europe-west4": "ez",
    "europe-west9": "od",
    "us-central1": "uc",
    "us-east1": "ue",
}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Place(NamedTuple):
    """Where services are: a project, by id and by number, and a region."""

    project: str
    number: str
    region: str

    @property
    def parent(self) -> str:
        """What their full names begin with."""
        return f"//run.googleapis.com/projects/{self.project}/locations/{self.region}"

    def service(self, name: str) -> str:
        """Return a service's full name."""
        return f"{self.parent}/services/{name}"

    def revision(self, name: str) -> str:
        """Return a revision's full name."""
        return f"{self.parent}/revisions/{name}"

    def url(self, service: str, tag: str | None = None) -> str:
        """Return the URL with the project's hash in it: the one in `status.url`, or a tag's."""
        code = _REGION_CODES.get(self.region) or _hash(self.region, 2)
        return f"https://{f'{tag}---' if tag else ''}{service}-{_hash(self.number, 10)}-{code}.a.run.app"

    def urls(self, service: str) -> list[str]:
        """Return every URL of a service: with the project's number, which is known before it is deployed, and `url`."""
        return [f"https://{service}-{self.number}.{self.region}.run.app", self.url(service)]


def place_of(world: World, project: str, region: str) -> Place:
    """Return a place of a project given by its id or its number.

    Raises:
        ApiError: 404; there is no such project.
    """
    for known in world.below("//cloudresourcemanager.googleapis.com/projects/"):
        if project in (known["projectId"], str(known["projectNumber"])):
            return Place(str(known["projectId"]), str(known["projectNumber"]), region)
    return Place(project, world.project_number(project), region)


def place_of_service(world: World, service: Resource) -> Place:
    """Return where a service is."""
    return place_of(
        world, service["metadata"]["namespace"], service["metadata"]["labels"]["cloud.googleapis.com/location"]
    )


def all_services(world: World, project: str | None = None) -> list[Resource]:
    """Return every service, of a project alone if one is named."""
    start = f"//run.googleapis.com/projects/{project}/" if project else "//run.googleapis.com/projects/"
    names = sorted(n for n in world.resources if n.startswith(start) and "/services/" in n)
    return [world.resources[name] for name in names]


def find_host(world: World, host: str) -> tuple[Place, Resource, str | None] | None:
    """Return whose host it is: the place, the service, and the tag in it if there is one."""
    for service in all_services(world):
        place, name = place_of_service(world, service), service["metadata"]["name"]
        if f"https://{host}" in place.urls(name):
            return place, service, None
        for target in service["status"].get("traffic", []):
            if target.get("tag") and f"https://{host}" == place.url(name, target["tag"]):
                return place, service, target["tag"]
    return None


def _hash(text: str, length: int) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")
    return "".join(_LETTERS[number // 26**position % 26] for position in range(length))
