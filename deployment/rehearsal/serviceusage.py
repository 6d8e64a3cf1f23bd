"""Service Usage: which APIs a project has enabled, and the service agents that come with them."""

from .billing import billing_of
from .bodies import only
from .wire import Api, ApiError, Request, api, invalid, precondition, route
from .world import Resource, World

_NAMES = """
    aiplatform artifactregistry bigquery billingbudgets certificatemanager cloudapis cloudbilling cloudbuild
    cloudfunctions cloudidentity cloudkms cloudresourcemanager cloudscheduler cloudtasks cloudtrace compute
    containeranalysis containerregistry containerscanning datastore dns eventarc firebase firebaserules firestore
    iam iamcredentials iap logging monitoring networkmanagement orgpolicy oslogin pubsub recommender run
    secretmanager servicecontrol servicemanagement servicenetworking serviceusage source sql-component sqladmin
    storage storage-api storage-component sts vpcaccess workflows
"""
_KNOWN = frozenset(f"{name}.googleapis.com" for name in _NAMES.split())
# The agent that comes with an API, and whether enabling alone makes it.
_AGENTS = {
    "pubsub.googleapis.com": ("gcp-sa-pubsub", False),
    "run.googleapis.com": ("serverless-robot-prod", True),
    "cloudbuild.googleapis.com": ("gcp-sa-cloudbuild", True),
    "cloudscheduler.googleapis.com": ("gcp-sa-cloudscheduler", True),
    "artifactregistry.googleapis.com": ("gcp-sa-artifactregistry", True),
    "secretmanager.googleapis.com": ("gcp-sa-secretmanager", False),
    "iap.googleapis.com": ("gcp-sa-iap", False),
    "firestore.googleapis.com": ("gcp-sa-firestore", True),
}
_MOST_AT_ONCE = 20


def serviceusage_api(world: World) -> Api:
    """Return the API."""
    usage = _ServiceUsage(world)
    one = "/v1/projects/{owner}/services/{service}"
    return Api(
        None,
        api("serviceusage.googleapis.com").hosts,
        [
            route("GET", "/v1/projects/{owner}/services", usage.list_all),
            route("POST", "/v1/projects/{owner}/services:batchEnable", usage.batch_enable),
            route("GET", one, usage.get),
            route("POST", one + ":enable", usage.enable),
            route("POST", one + ":disable", usage.disable),
            route("POST", "/v1beta1/projects/{owner}/services/{service}:generateServiceIdentity", usage.identity),
            route("GET", "/v1/operations/{operation}", lambda request: _done({}, request.parts["operation"])),
        ],
    )


class _ServiceUsage:
    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        prefix = f"//serviceusage.googleapis.com/projects/{self._project(request)}/services/"
        enabled = self._world.below(prefix)
        kind = request.query.get("filter", "")
        if kind in ("", "state:ENABLED"):
            return {"services": enabled}
        if kind == "state:DISABLED":
            names = sorted(_KNOWN - {service["config"]["name"] for service in enabled})
            return {"services": [self._service(request, name, "DISABLED") for name in names]}
        raise invalid(f"Invalid filter: {kind}; expected state:ENABLED or state:DISABLED")

    def get(self, request: Request) -> Resource:
        name = request.parts["service"]
        _check_known([name])
        return self._world.find(self._full_name(request, name)) or self._service(request, name, "DISABLED")

    def enable(self, request: Request) -> Resource:
        return self._enable(request, [request.parts["service"]])

    def batch_enable(self, request: Request) -> Resource:
        names = only(request.json, {"serviceIds"}).get("serviceIds", [])
        if not 1 <= len(names) <= _MOST_AT_ONCE:
            raise invalid(f"Expected 1 to {_MOST_AT_ONCE} services to enable in one request, not {len(names)}.")
        return self._enable(request, names)

    def disable(self, request: Request) -> Resource:
        self._world.resources.pop(self._full_name(request, request.parts["service"]), None)
        return _done({})

    def identity(self, request: Request) -> Resource:
        name = request.parts["service"]
        if name not in _AGENTS:
            raise invalid(f"Service {name} has no service identity.")
        email = make_agent(self._world, self._project(request), name)
        return _done({"@type": _TYPE + "v1beta1.ServiceIdentity", "email": email, "uniqueId": email.split("@")[0]})

    def _enable(self, request: Request, names: list[str]) -> Resource:
        project = self._project(request)
        _check_known(names)
        if not billing_of(self._world, project)["billingEnabled"]:
            text = f"Billing account for project '{self._world.project_number(project)}' is not found."
            raise precondition(f"{text} Billing must be enabled for activation of service(s) '{','.join(names)}'.")
        for name in names:
            self._world.resources[self._full_name(request, name)] = self._service(request, name, "ENABLED")
            if _AGENTS.get(name, ("", False))[1]:
                make_agent(self._world, project, name)
        return _done({"@type": _TYPE + "v1.EnableServiceResponse"})

    def _service(self, request: Request, name: str, state: str) -> Resource:
        parent = f"projects/{self._world.project_number(self._project(request))}"
        return {"name": f"{parent}/services/{name}", "config": {"name": name}, "state": state, "parent": parent}

    def _full_name(self, request: Request, name: str) -> str:
        return f"//serviceusage.googleapis.com/projects/{self._project(request)}/services/{name}"

    def _project(self, request: Request) -> str:
        return self._world.project_id(request.parts["owner"])


def make_agent(world: World, project: str, service: str) -> str:
    """Make the service agent of an API in a project, where it is not there yet, and return its address."""
    email = f"service-{world.project_number(project)}@{_AGENTS[service][0]}.iam.gserviceaccount.com"
    world.resources.setdefault(f"//serviceagents/{email}", {"email": email, "project": project})
    return email


_TYPE = "type.googleapis.com/google.api.serviceusage."


def _check_known(names: list[str]) -> None:
    unknown = [name for name in names if name not in _KNOWN]
    if unknown:
        text = f"Not found or permission denied for service(s): {', '.join(unknown)}."
        raise ApiError(403, "PERMISSION_DENIED", text)


def _done(response: Resource, name: str = "acat.p2-rehearsal") -> Resource:
    return {"name": f"operations/{name}", "done": True, "response": response}
