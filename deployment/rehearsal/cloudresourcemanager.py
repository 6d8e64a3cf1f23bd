"""Resource Manager: projects and their IAM policies."""

from .bodies import only
from .wire import Api, Request, api, invalid, route
from .world import Resource, World, policy_handlers


def cloudresourcemanager_api(world: World) -> Api:
    """Return the API; it answers before anything is enabled, as it does for gcloud's own users."""

    def name_of(request: Request) -> str:
        return f"//cloudresourcemanager.googleapis.com/projects/{world.project_id(request.parts['owner'])}"

    def show(request: Request) -> Resource:
        return world.get(name_of(request))

    def write(request: Request) -> Resource:
        for binding in request.json.get("policy", {}).get("bindings", []):
            if {"allUsers", "allAuthenticatedUsers"} & set(binding.get("members", [])):
                raise invalid("Members allUsers and allAuthenticatedUsers cannot be used in the policy of a project.")
        return set_policy(request)

    def test(request: Request) -> Resource:
        world.get(name_of(request))
        return {"permissions": only(request.json, {"permissions"}).get("permissions", [])}

    get_policy, set_policy = policy_handlers(world, name_of)
    one = "/v1/projects/{owner}"
    routes = [
        route("GET", one, show),
        route("POST", one + ":getIamPolicy", get_policy),
        route("POST", one + ":setIamPolicy", write),
        route("POST", one + ":testIamPermissions", test),
    ]
    return Api(None, api("cloudresourcemanager.googleapis.com").hosts, routes)
