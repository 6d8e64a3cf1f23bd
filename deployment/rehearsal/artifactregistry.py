"""Artifact Registry: repositories; what is in them is in `artifactregistry_images`."""

import re

from .artifactregistry_images import SERVICE, Images, repository_name
from .wire import Api, Request, api, invalid, route
from .world import Resource, World, policy_handlers

_ID = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_FIELDS = {"name", "format", "description", "labels", "cleanupPolicies", "cleanupPolicyDryRun", "mode"}
_TIME = "2026-01-01T00:00:00Z"


def artifactregistry_api(world: World) -> Api:
    """Return the API."""
    registry, images = _Registry(world), Images(world)
    policies = policy_handlers(world, repository_name)
    base = "/v1/projects/{project}/locations/{region}/repositories"
    one, image = base + "/{repository}", base + "/{repository}/packages/{package}"
    return api(
        SERVICE,
        route("GET", base, registry.list_repositories),
        route("POST", base, registry.create),
        route("GET", one, lambda request: world.get(repository_name(request))),
        route("PATCH", one, registry.patch),
        route("DELETE", one, registry.delete),
        route("GET", one + ":getIamPolicy", policies[0]),
        route("POST", one + ":setIamPolicy", policies[1]),
        route("GET", one + "/dockerImages", images.list_images),
        route("GET", one + "/dockerImages/{package}@{version=**}", images.get_image),
        route("GET", one + "/packages", images.list_packages),
        route("GET", image + "/versions", images.list_versions),
        route("GET", image + "/tags", images.list_tags),
        route("POST", image + "/tags", images.create_tag),
        route("GET", image + "/versions/{version=**}", images.get_version),
        route("GET", image + "/tags/{tag}", images.get_tag),
        route("GET", "/v1/projects/{project}/locations/{region}/operations/{operation}", _operation),
        route("GET", "/v1/projects/{project}/projectSettings", _settings),
        route("GET", "/v1/projects/{project}/locations", _locations),
    )


def containeranalysis_api(world: World) -> Api:
    """Return the API that `gcloud artifacts docker images describe` asks for what is known of an image: nothing."""
    return api(
        "containeranalysis.googleapis.com",
        route("GET", "/v1/projects/{project}/occurrences", lambda request: {"occurrences": []}),
    )


class _Registry:
    def __init__(self, world: World) -> None:
        self._world = world

    def list_repositories(self, request: Request) -> Resource:
        return {"repositories": self._world.below(self.repository_prefix(request))}

    def repository_prefix(self, request: Request) -> str:
        return f"//{SERVICE}/projects/{request.parts['project']}/locations/{request.parts['region']}/repositories/"

    def create(self, request: Request) -> Resource:
        name, given = request.query.get("repositoryId", ""), request.json
        unknown = set(given) - _FIELDS
        if unknown:
            raise invalid(f"Invalid JSON payload received. Unknown name {sorted(unknown)[0]!r}: Cannot find field.")
        if not _ID.fullmatch(name):
            raise invalid(f"repository_id {name!r} must be lower case, digits and dashes, 63 at most")
        if given.get("format") != "DOCKER":
            raise invalid("format: only DOCKER is rehearsed")
        full = f"{self.repository_prefix(request)}{name}"
        made = {**given, "name": full.partition(f"//{SERVICE}/")[2], "createTime": _TIME, "updateTime": _TIME}
        self._world.create(full, made)
        return _done(request, {"@type": "type.googleapis.com/google.devtools.artifactregistry.v1.Repository", **made})

    def patch(self, request: Request) -> Resource:
        repository, mask = self._world.get(repository_name(request)), request.query.get("updateMask", "")
        given = request.json
        for field in mask.split(","):
            if field not in _FIELDS:
                raise invalid(f"updateMask: {field!r} cannot be updated")
            repository[field] = given.get(field)
        return repository

    def delete(self, request: Request) -> Resource:
        name = repository_name(request)
        self._world.delete(name)
        for below in [n for n in self._world.resources if n.startswith(f"{name}/")]:
            self._world.delete(below)
        return _done(request, {"@type": "type.googleapis.com/google.protobuf.Empty"})


def _done(request: Request, response: Resource) -> Resource:
    parent = f"projects/{request.parts['project']}/locations/{request.parts['region']}"
    return {"name": f"{parent}/operations/done", "done": True, "metadata": {}, "response": response}


def _operation(request: Request) -> Resource:
    return {"name": request.path.removeprefix("/v1/"), "done": True, "metadata": {}, "response": {}}


def _settings(request: Request) -> Resource:
    name = f"projects/{request.parts['project']}/projectSettings"
    return {"name": name, "legacyRedirectionState": "REDIRECTION_FROM_GCR_IO_DISABLED"}


def _locations(request: Request) -> Resource:
    names = ("europe-west1", "europe-west4", "us-central1")
    parent = f"projects/{request.parts['project']}/locations"
    return {"locations": [{"name": f"{parent}/{name}", "locationId": name} for name in names]}
