"""Cloud Run's Admin API in the form that gcloud speaks: Knative's services and revisions, and IAM in Google's own."""

import copy

from .bodies import now
from .cloudbuild import submit_build
from .revisions import Revisions
from .run_changes import put_service
from .run_names import Place, all_services, place_of
from .run_shapes import checked, listed, selected, shown, uid
from .wire import Api, ApiError, Request, Route, already_exists, api, invalid, not_found, route
from .world import Resource, World, policy_handlers

_SERVICE = "run.googleapis.com"
_REGIONS = ("europe-west1", "europe-west4", "us-central1", "us-east1")


def run_api(world: World, revisions: Revisions) -> Api:
    """Return the API; what is deployed runs as processes of `revisions`."""
    services, policies = _Services(world, revisions), policy_handlers(world, lambda request: _full_name(world, request))
    knative = "/apis/serving.knative.dev/v1/namespaces/{project}"
    location = "/v1/projects/{project}/locations/{region}"
    routes: list[Route] = [
        route("GET", f"{knative}/services", services.list_services),
        route("POST", f"{knative}/services", services.create),
        route("GET", f"{knative}/services/{{service}}", services.get),
        route("PUT", f"{knative}/services/{{service}}", services.replace),
        route("DELETE", f"{knative}/services/{{service}}", services.delete),
        route("GET", f"{knative}/revisions", services.list_revisions),
        route("GET", f"{knative}/revisions/{{revision}}", services.get_revision),
        route("DELETE", f"{knative}/revisions/{{revision}}", services.delete_revision),
        route("GET", f"{knative}/configurations/{{service}}", services.get_configuration),
        route("GET", f"{location}/services", services.list_services),
        route("GET", f"{location}/services/{{service}}:getIamPolicy", policies[0]),
        route("POST", f"{location}/services/{{service}}:setIamPolicy", policies[1]),
        route("GET", "/v1/projects/{project}/locations", _locations),
        route(
            "POST",
            "/v2/projects/{project}/locations/{region}/builds:submit",
            lambda request: submit_build(world, request),
        ),
    ]
    return api(_SERVICE, *routes, hosts=r"([a-z0-9-]+-)?run\.googleapis\.com")


class _Services:
    def __init__(self, world: World, revisions: Revisions) -> None:
        self._world, self._revisions = world, revisions

    def list_services(self, request: Request) -> Resource:
        place = _place(self._world, request)
        found = [
            service
            for service in all_services(self._world, place.project)
            if place.region in ("-", service["metadata"]["labels"]["cloud.googleapis.com/location"])
        ]
        return listed("ServiceList", found)

    def get(self, request: Request) -> Resource:
        return self._world.get(_place(self._world, request).service(request.parts["service"]))

    def create(self, request: Request) -> Resource:
        place, service = _place(self._world, request), checked(request.json)
        name = service["metadata"].get("name", "")
        if self._world.find(place.service(name)):
            raise already_exists(f"projects/{place.project}/locations/{place.region}/services/{name}")
        service["metadata"] |= {"generation": 0, "creationTimestamp": now(), "uid": uid(place, name)}
        service["status"] = {}
        return self._put(request, place, service, None)

    def replace(self, request: Request) -> Resource:
        place, service = _place(self._world, request), checked(request.json)
        kept = self.get(request)
        if service["metadata"].get("name") != request.parts["service"]:
            raise invalid("metadata.name: it does not agree with the URL")
        version = service["metadata"].get("resourceVersion")
        if version and version != kept["metadata"]["resourceVersion"]:
            text = f"Conflict for resource '{request.parts['service']}': version '{version}' was specified but current "
            raise ApiError(409, "ABORTED", f"{text}version is '{kept['metadata']['resourceVersion']}'.")
        for field in ("generation", "creationTimestamp", "uid"):
            service["metadata"][field] = kept["metadata"][field]
        service["status"] = copy.deepcopy(kept["status"])
        return self._put(request, place, service, kept)

    def delete(self, request: Request) -> Resource:
        place = _place(self._world, request)
        self._world.delete(place.service(request.parts["service"]))
        for revision in self._of_service(place, request.parts["service"]):
            self._world.delete(place.revision(revision["metadata"]["name"]))
            self._revisions.end(place, revision["metadata"]["name"])
        return {"apiVersion": "v1", "kind": "Status", "status": "Success"}

    def list_revisions(self, request: Request) -> Resource:
        place = _place(self._world, request)
        found = [
            r for r in self._world.below(place.revision("")) if selected(r, request.query.get("labelSelector", ""))
        ]
        newest_first = sorted(found, key=lambda r: r["metadata"]["creationTimestamp"], reverse=True)
        return listed("RevisionList", [shown(revision) for revision in newest_first])

    def get_revision(self, request: Request) -> Resource:
        return shown(self._world.get(_place(self._world, request).revision(request.parts["revision"])))

    def delete_revision(self, request: Request) -> Resource:
        place, name = _place(self._world, request), request.parts["revision"]
        revision = self._world.get(place.revision(name))
        service = self._world.get(place.service(revision["metadata"]["labels"]["serving.knative.dev/service"]))
        status = service["status"]
        if name == status["latestCreatedRevisionName"] or any(
            t["revisionName"] == name for t in status.get("traffic", [])
        ):
            raise invalid(f"Revision '{name}' cannot be deleted: it is the latest created or receives traffic")
        self._world.delete(place.revision(name))
        self._revisions.end(place, name)
        return {"apiVersion": "v1", "kind": "Status", "status": "Success"}

    def get_configuration(self, request: Request) -> Resource:
        service = self.get(request)
        status = {
            key: value for key, value in service["status"].items() if key.startswith(("latest", "observed", "cond"))
        }
        spec = {"template": service["spec"]["template"]}
        made = {"apiVersion": "serving.knative.dev/v1", "kind": "Configuration", "metadata": service["metadata"]}
        return {**made, "spec": spec, "status": status}

    def _put(self, request: Request, place: Place, service: Resource, kept: Resource | None) -> Resource:
        dry_run = request.query.get("dryRun") == "all"
        return put_service(self._world, self._revisions, place, service, kept, dry_run)

    def _of_service(self, place: Place, name: str) -> list[Resource]:
        return [r for r in self._world.below(place.revision("")) if selected(r, f"serving.knative.dev/service={name}")]


def _place(world: World, request: Request) -> Place:
    region = request.parts.get("region") or request.host.removesuffix(_SERVICE).removesuffix("-")
    if region not in (*_REGIONS, "-"):
        raise not_found(f"location {region or '(none)'}: Knative's services are asked at REGION-run.googleapis.com")
    return place_of(world, request.parts["project"], region)


def _full_name(world: World, request: Request) -> str:
    return _place(world, request).service(request.parts["service"])


def _locations(request: Request) -> Resource:
    parent = f"projects/{request.parts['project']}/locations"
    return {"locations": [{"name": f"{parent}/{region}", "locationId": region} for region in _REGIONS]}
