"""What is in a registry: images under their digests, and the tags that point to them."""

import re
from typing import NamedTuple

from .wire import Request, invalid
from .world import Resource, World

SERVICE = "artifactregistry.googleapis.com"
_IMAGE = re.compile(
    r"(?P<region>[a-z0-9-]+)-docker\.pkg\.dev/(?P<project>[a-z0-9-]+)/(?P<repository>[a-z0-9-]+)/(?P<name>[a-z0-9_./-]+?)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]+))?"
)
_TIME = "2026-01-01T00:00:00Z"


class Image(NamedTuple):
    """An image as `--image` names it."""

    project: str
    region: str
    repository: str
    name: str
    tag: str | None
    digest: str | None

    @property
    def repository_name(self) -> str:
        """The full name of the repository it is in."""
        return f"//{SERVICE}/projects/{self.project}/locations/{self.region}/repositories/{self.repository}"

    @property
    def package(self) -> str:
        """The full name of all its versions together."""
        return f"{self.repository_name}/packages/{self.name.replace('/', '%2F')}"

    def with_digest(self, digest: str) -> str:
        """Return the URL of one version."""
        return f"{self.region}-docker.pkg.dev/{self.project}/{self.repository}/{self.name}@{digest}"


def parse_image(url: str) -> Image:
    """Return what an image's URL names; without tag and digest it is `latest`.

    Raises:
        ApiError: 400; it is no URL of Artifact Registry.
    """
    found = _IMAGE.fullmatch(url)
    if not found:
        raise invalid(f"expected REGION-docker.pkg.dev/PROJECT/REPOSITORY/IMAGE, with :TAG or @sha256:..., got {url!r}")
    tag = found["tag"] or (None if found["digest"] else "latest")
    return Image(found["project"], found["region"], found["repository"], found["name"], tag, found["digest"])


def find_image(world: World, image: Image) -> Resource | None:
    """Return the version that an image names, or None: by digest, else where its tag points to."""
    digest = image.digest
    if digest is None:
        tag = world.find(f"{image.package}/tags/{image.tag}")
        digest = tag["version"].rpartition("/")[2] if tag else None
    return world.find(f"{image.package}/versions/{digest}")


def put_image(world: World, image: Image, digest: str, contents: Resource) -> Resource:
    """Keep what a build made, and point the tag to it.

    Args:
        world: Where to.
        image: Its name and tag.
        digest: Of what is in it.
        contents: What is needed to run it, kept under `rehearsal`.

    Raises:
        ApiError: 404; there is no such repository.
    """
    world.get(image.repository_name)
    name = image.package.partition(f"//{SERVICE}/")[2]
    world.resources.setdefault(image.package, {"name": name, "createTime": _TIME, "updateTime": _TIME})
    version = {"name": f"{name}/versions/{digest}", "createTime": _TIME, "updateTime": _TIME, "rehearsal": contents}
    world.resources.setdefault(f"{image.package}/versions/{digest}", version)
    if image.tag:
        tag = {"name": f"{name}/tags/{image.tag}", "version": f"{name}/versions/{digest}"}
        world.resources[f"{image.package}/tags/{image.tag}"] = tag
    return version


class Images:
    """Answers for the images of every repository."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_images(self, request: Request) -> Resource:
        name = repository_name(request)
        self._world.get(name)
        found = [n[len(name) :].split("/") for n in sorted(self._world.resources) if n.startswith(f"{name}/packages/")]
        return {"dockerImages": [self._image(name, *parts[2::2]) for parts in found if parts[3:4] == ["versions"]]}

    def get_image(self, request: Request) -> Resource:
        return self._image(repository_name(request), request.parts["package"], request.parts["version"])

    def _image(self, repository: str, package: str, digest: str) -> Resource:
        version = self._world.get(f"{repository}/packages/{package}/versions/{digest}")
        tags = self._world.below(f"{repository}/packages/{package}/tags/")
        _, project, _, region, _, name = repository.removeprefix(f"//{SERVICE}/").split("/")
        return {
            "name": f"{repository.removeprefix(f'//{SERVICE}/')}/dockerImages/{package}@{digest}",
            "uri": f"{region}-docker.pkg.dev/{project}/{name}/{package}@{digest}",
            "tags": [tag["name"].rpartition("/")[2] for tag in tags if tag["version"] == version["name"]],
            "imageSizeBytes": "1",
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            **dict.fromkeys(("uploadTime", "buildTime", "updateTime"), version["createTime"]),
        }

    def list_packages(self, request: Request) -> Resource:
        self._world.get(repository_name(request))
        return {"packages": self._world.below(f"{repository_name(request)}/packages/")}

    def list_versions(self, request: Request) -> Resource:
        self._world.get(_package(request))
        versions = self._world.below(f"{_package(request)}/versions/")
        return {"versions": [self._version(request, version) for version in versions]}

    def get_version(self, request: Request) -> Resource:
        return self._version(request, self._world.get(f"{_package(request)}/versions/{request.parts['version']}"))

    def list_tags(self, request: Request) -> Resource:
        self._world.get(_package(request))
        tags = self._world.below(f"{_package(request)}/tags/")
        wanted = re.fullmatch(r'version="([^"]+)"', request.query.get("filter", ""))
        return {"tags": [tag for tag in tags if not wanted or tag["version"] == wanted[1]]}

    def get_tag(self, request: Request) -> Resource:
        return self._world.get(f"{_package(request)}/tags/{request.parts['tag']}")

    def create_tag(self, request: Request) -> Resource:
        self._world.get(f"//{SERVICE}/{request.json['version']}")
        return self._world.create(f"{_package(request)}/tags/{request.query['tagId']}", request.json)

    def _version(self, request: Request, version: Resource) -> Resource:
        tags = [t for t in self._world.below(f"{_package(request)}/tags/") if t["version"] == version["name"]]
        shown = {key: value for key, value in version.items() if key != "rehearsal"}
        return {**shown, "relatedTags": tags} if tags else shown


def repository_name(request: Request) -> str:
    """Return the full name of the repository that a request means."""
    parts = request.parts
    return f"//{SERVICE}/projects/{parts['project']}/locations/{parts['region']}/repositories/{parts['repository']}"


def _package(request: Request) -> str:
    return f"{repository_name(request)}/packages/{request.parts['package']}"
