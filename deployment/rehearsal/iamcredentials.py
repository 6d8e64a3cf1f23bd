"""IAM Credentials: what is signed in the name of service accounts, for those who may act as them."""

from .bodies import denied, only
from .iam import account_name
from .id_tokens_issued import issue
from .signed_tokens import sign
from .wire import Api, Request, api, invalid, route
from .world import Resource, World

DEPLOYER = "user:deployer@example.com"
_SERVICE = "iamcredentials.googleapis.com"
_CREATOR, _OPEN_ID = "roles/iam.serviceAccountTokenCreator", "roles/iam.serviceAccountOpenIdTokenCreator"


def iamcredentials_api(world: World) -> Api:
    """Return the API."""

    def generate(request: Request) -> Resource:
        body = only(request.json, {"audience", "includeEmail", "delegates"})
        email = allowed(request, "getOpenIdToken", _CREATOR, _OPEN_ID)
        if not body.get("audience"):
            raise invalid("Request must specify audience.")
        return {"token": issue(world, email, body["audience"])}

    def sign_jwt(request: Request) -> Resource:
        body = only(request.json, {"payload", "delegates"})
        return {"keyId": "rehearsal", "signedJwt": sign(world, allowed(request, "signJwt", _CREATOR), body["payload"])}

    def allowed(request: Request, permission: str, *roles: str) -> str:
        """Return whose account it is, if the deployer may act as it."""
        name = account_name(world, request.parts["email"], _SERVICE)
        world.get(name)
        if not any(world.has_role(name, role, DEPLOYER) for role in roles):
            raise denied(f"iam.serviceAccounts.{permission}", name.removeprefix("//iam.googleapis.com/"))
        return request.parts["email"]

    # A project in this path is refused by the API itself: only the dash is taken.
    one = "/v1/projects/-/serviceAccounts/{email}"
    return api(_SERVICE, route("POST", f"{one}:generateIdToken", generate), route("POST", f"{one}:signJwt", sign_jwt))
