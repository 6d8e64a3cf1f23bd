"""Names of Firestore's databases and collection groups, and the operations that its changes answer."""

from .bodies import now
from .wire import ApiError, Request
from .world import Resource, World

SERVICE = "firestore.googleapis.com"


def database_name(world: World, request: Request, database: str | None = None) -> str:
    """Return the full name of a request's database, or of another one in its project."""
    wanted = request.parts.get("database", "") if database is None else database
    return f"//{SERVICE}/projects/{world.project_id(request.parts['project'])}/databases/{wanted}"


def group_name(world: World, request: Request) -> str:
    """Return the full name of a request's collection group.

    Raises:
        ApiError: 404; its database is not there.
    """
    name = database_name(world, request)
    if world.find(name) is None:
        database, project = request.parts["database"], request.parts["project"]
        raise ApiError(404, "NOT_FOUND", f"The database {database} does not exist for project {project}.")
    return f"{name}/collectionGroups/{request.parts['group']}"


def operation(world: World, database: str, kind: str, response: Resource) -> Resource:
    """Return an operation that is done already, and keep it for those who ask again.

    Args:
        world: Numbers it.
        database: The short name of the database that it changed.
        kind: Of the response, such as `Index`.
        response: The resource after the change.
    """
    name = f"{database}/operations/rehearsed{world.next_number()}"
    made: Resource = {
        "name": name,
        "metadata": {"@type": f"{_TYPE}{kind}OperationMetadata", "startTime": now(), "endTime": now()},
        "done": True,
        "response": {"@type": f"{_TYPE}{kind}", **response},
    }
    if kind != "Database":
        made["metadata"] |= {kind.lower(): response["name"], "state": "SUCCESSFUL"}
    world.resources[f"//{SERVICE}/{name}"] = made
    return made


_TYPE = "type.googleapis.com/google.firestore.admin.v1."
