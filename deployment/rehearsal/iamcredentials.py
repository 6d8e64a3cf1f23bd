"""IAM Credentials: identity tokens of service accounts, for those who may act as them."""

from .bodies import denied, only
from .iam import account_name
from .id_tokens_issued import issue
from .wire import Api, Request, api, invalid, route
from .world import Resource, World

DEPLOYER = "user:deployer@example.com"
_SERVICE = "iamcredentials.googleapis.com"
_ROLES = ("roles/iam.serviceAccountTokenCreator", "roles/iam.serviceAccountOpenIdTokenCreator")


def iamcredentials_api(world: World) -> Api:
    """Return the API."""

    def generate(request: Request) -> Resource:
        email = request.parts["email"]
        name = account_name(world, email, _SERVICE)
        world.get(name)
        body = only(request.json, {"audience", "includeEmail", "delegates"})
        if not body.get("audience"):
            raise invalid("Request must specify audience.")
        if not any(world.has_role(name, role, DEPLOYER) for role in _ROLES):
            raise denied("iam.serviceAccounts.getOpenIdToken", name.removeprefix("//iam.googleapis.com/"))
        return {"token": issue(world, email, body["audience"])}

    # A project in this path is refused by the API itself: only the dash is taken.
    return api(_SERVICE, route("POST", "/v1/projects/-/serviceAccounts/{email}:generateIdToken", generate))
