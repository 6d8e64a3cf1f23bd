"""IAM: service accounts and who may act as them."""

import re

from .bodies import only
from .wire import Api, Request, api, invalid, not_found, route
from .world import Resource, World, policy_handlers

SERVICE = "iam.googleapis.com"


def iam_api(world: World) -> Api:
    """Return the API."""
    accounts = _ServiceAccounts(world)
    read, write = policy_handlers(world, accounts.name_of)
    # Not {project}: gcloud writes a dash there, and the address says whose account it is.
    one = "/v1/projects/{owner}/serviceAccounts/{email}"
    return api(
        SERVICE,
        route("GET", "/v1/projects/{project}/serviceAccounts", accounts.list_all),
        route("POST", "/v1/projects/{project}/serviceAccounts", accounts.create),
        route("GET", one, accounts.get),
        route("DELETE", one, accounts.delete),
        route("POST", one + ":getIamPolicy", read),
        route("POST", one + ":setIamPolicy", write),
    )


def account_name(world: World, email: str, service: str = SERVICE) -> str:
    """Return the full name of a service account.

    Args:
        world: What there is.
        email: Of the account.
        service: The API that is asked, which has to be enabled in the account's project.

    Raises:
        ApiError: 404; the address is of no project. 403; the project is not ours, or has not enabled the API.
    """
    found = re.fullmatch(r"[^@]+@([^@.]+)\.iam\.gserviceaccount\.com", email)
    if not found:
        raise not_found(f"projects/-/serviceAccounts/{email}")
    project = world.project_id(found[1])
    world.require_enabled(project, service)
    return f"//iam.googleapis.com/projects/{project}/serviceAccounts/{email}"


class _ServiceAccounts:
    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        project = self._world.project_id(request.parts["project"])
        found = self._world.below(f"//iam.googleapis.com/projects/{project}/serviceAccounts/")
        return {"accounts": found} if found else {}

    def create(self, request: Request) -> Resource:
        project = self._world.project_id(request.parts["project"])
        body = only(request.json, {"accountId", "serviceAccount"})
        about = only(body.get("serviceAccount", {}), {"displayName", "description"})
        account = str(body.get("accountId", ""))
        if not re.fullmatch(r"[a-z][-a-z0-9]{4,28}[a-z0-9]", account):
            raise invalid(f"Invalid service account id {account!r}: expected 6 to 30 of a-z, 0-9 and dashes.")
        email = f"{account}@{project}.iam.gserviceaccount.com"
        unique = str(100000000000000000000 + self._world.next_number())
        name = f"projects/{project}/serviceAccounts/{email}"
        made = {"name": name, "projectId": project, "uniqueId": unique, "email": email, "oauth2ClientId": unique}
        return self._world.create(f"//iam.googleapis.com/{name}", {**made, **about})

    def get(self, request: Request) -> Resource:
        return self._world.get(self.name_of(request))

    def delete(self, request: Request) -> Resource:
        """Forget an account; policies keep its mark, and an account of the same name later does not get its roles."""
        account = self._world.delete(self.name_of(request))
        member = f"serviceAccount:{account['email']}"
        mark = f"deleted:{member}?uid={account['uniqueId']}"
        for policy in self._world.policies.values():
            for binding in policy["bindings"]:
                binding["members"] = [mark if one == member else one for one in binding["members"]]
        return {}

    def name_of(self, request: Request) -> str:
        name = account_name(self._world, request.parts["email"])
        owner = request.parts["owner"]
        if owner != "-" and f"/projects/{self._world.project_id(owner)}/" not in name:
            raise not_found(f"projects/{owner}/serviceAccounts/{request.parts['email']}")
        return name
