"""Cloud Billing: whether a project has a billing account."""

from .wire import Api, Request, api, route
from .world import Resource, World


def billing_api(world: World) -> Api:
    """Return the API."""

    def show(request: Request) -> Resource:
        return billing_of(world, world.project_id(request.parts["owner"]))

    hosts = api("cloudbilling.googleapis.com").hosts
    return Api(None, hosts, [route("GET", "/v1/projects/{owner}/billingInfo", show)])


def billing_of(world: World, project: str) -> Resource:
    """Return the billing of a project; enabled, unless the world says otherwise."""
    enabled = {
        "name": f"projects/{project}/billingInfo",
        "projectId": project,
        "billingAccountName": "billingAccounts/000000-000000-000000",
        "billingEnabled": True,
    }
    return world.find(f"//cloudbilling.googleapis.com/projects/{project}/billingInfo") or enabled
