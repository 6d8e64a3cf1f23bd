"""What the functions' own service accounts may do at the rehearsed APIs, by the tokens that they got."""

import re

from .bodies import denied
from .wire import ApiError, Request
from .world import World

_PREFIX = "rehearsal-account."
_STORAGE = re.compile(r"/(?:download/|resumable/)?(?:upload/|download/)?storage/v1/b/(?P<bucket>[^/]+)/o(?:/.*)?")
_READERS = (
    "roles/storage.objectViewer",
    "roles/storage.objectUser",
    "roles/storage.objectAdmin",
    "roles/storage.admin",
)
_STORAGE_ROLES = {
    "GET": ("storage.objects.get", _READERS),
    "POST": ("storage.objects.create", ("roles/storage.objectCreator", *_READERS[1:])),
    "PUT": ("storage.objects.create", ("roles/storage.objectCreator", *_READERS[1:])),
    "PATCH": ("storage.objects.update", _READERS[1:]),
    "DELETE": ("storage.objects.delete", _READERS[1:]),
}


def account_token(email: str) -> str:
    """Return the access token of a service account."""
    return f"{_PREFIX}{email}"


def check_account(world: World, request: Request) -> None:
    """Let a function's call pass: one of an object in a bucket, which its service account has the role for.

    Raises:
        ApiError: 401; it is no token of a service account. 403; the account lacks the role, or asks another API.
    """
    token = request.headers.get("authorization", "").removeprefix("Bearer ")
    if not token.startswith(_PREFIX):
        raise ApiError(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
    member = f"serviceAccount:{token.removeprefix(_PREFIX)}"
    found = _STORAGE.fullmatch(request.path) if request.host == "storage.googleapis.com" else None
    if found is None:
        raise denied("any", f"{request.host}{request.path}, asked by {member}")
    permission, roles = _STORAGE_ROLES[request.method]
    bucket = f"//storage.googleapis.com/buckets/{found['bucket']}"
    if not any(has_role(world, bucket, role, member) for role in roles):
        raise denied(permission, f"{found['bucket']}, asked by {member}")


def has_role(world: World, name: str, role: str, member: str) -> bool:
    """Say whether a member has a role on a resource itself, or on the whole of a project of this world."""
    projects = [p["projectId"] for p in world.below("//cloudresourcemanager.googleapis.com/projects/")]
    inside = [project for project in projects if f"/projects/{project}/" in name]
    wholes = [f"//cloudresourcemanager.googleapis.com/projects/{project}" for project in inside]
    return any(world.has_role(one, role, member) for one in (name, *wholes))
