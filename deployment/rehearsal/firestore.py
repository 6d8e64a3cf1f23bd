"""Firestore's administration: databases here; indexes and fields in `firestore_indexes`."""

import re

from .bodies import masked, now, only
from .firestore_fields import Fields
from .firestore_indexes import Indexes
from .firestore_names import SERVICE, database_name, operation
from .wire import Api, ApiError, Request, api, invalid, precondition, route
from .world import Resource, World

_MUTABLE = {"deleteProtectionState", "pointInTimeRecoveryEnablement", "concurrencyMode"}
_KNOWN = {*_MUTABLE, "name", "type", "locationId", "databaseEdition", "appEngineIntegrationMode", "tags", "cmekConfig"}
_PROTECTION = {"DELETE_PROTECTION_ENABLED", "DELETE_PROTECTION_DISABLED", "DELETE_PROTECTION_STATE_UNSPECIFIED"}


def firestore_api(world: World) -> Api:
    """Return the API."""
    databases, indexes, fields = _Databases(world), Indexes(world), Fields(world)
    one = "/v1/projects/{project}/databases/{database}"
    group = one + "/collectionGroups/{group}"
    return api(
        SERVICE,
        route("GET", "/v1/projects/{project}/databases", databases.list_all),
        route("POST", "/v1/projects/{project}/databases", databases.create),
        route("GET", one, databases.get),
        route("PATCH", one, databases.update),
        route("DELETE", one, databases.delete),
        route("GET", one + "/operations/{operation}", databases.operation),
        route("GET", group + "/indexes", indexes.list_all),
        route("POST", group + "/indexes", indexes.create),
        route("GET", group + "/indexes/{index}", indexes.get),
        route("DELETE", group + "/indexes/{index}", indexes.delete),
        route("GET", group + "/fields", fields.list_all),
        route("GET", group + "/fields/{field}", fields.get),
        route("PATCH", group + "/fields/{field}", fields.update),
    )


class _Databases:
    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        found = self._world.below(database_name(self._world, request, ""))
        return {"databases": found} if found else {}

    def create(self, request: Request) -> Resource:
        body = only(request.json, _KNOWN)
        database = request.query.get("databaseId", "")
        if database != "(default)" and not re.fullmatch(r"[a-z][-a-z0-9]{2,61}[a-z0-9]", database):
            raise invalid(f"Invalid database id: {database!r}; expected (default) or 4 to 63 of a-z, 0-9 and dashes.")
        if not re.fullmatch(r"nam5|nam7|eur3|[a-z]+-[a-z]+\d{1,2}", body.get("locationId", "")):
            raise invalid(f"Invalid location: {body.get('locationId')!r}")
        if body.get("type") not in ("FIRESTORE_NATIVE", "DATASTORE_MODE"):
            raise invalid("Database type must be FIRESTORE_NATIVE or DATASTORE_MODE.")
        name = database_name(self._world, request, database)
        if self._world.find(name):
            raise ApiError(409, "ALREADY_EXISTS", "Database already exists. Please use another database_id")
        defaults = {
            "uid": f"00000000-0000-4000-8000-{self._world.next_number():012d}",
            "createTime": now(),
            "concurrencyMode": "PESSIMISTIC",
            "versionRetentionPeriod": "3600s",
            "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_DISABLED",
            "deleteProtectionState": "DELETE_PROTECTION_DISABLED",
            "databaseEdition": "STANDARD",
            "freeTier": True,
        }
        given = {key: value for key, value in body.items() if value and not str(value).endswith("_UNSPECIFIED")}
        made = _checked({**defaults, **given, "name": name.removeprefix(f"//{SERVICE}/")})
        return operation(self._world, made["name"], "Database", self._world.create(name, made))

    def get(self, request: Request) -> Resource:
        return self._world.get(database_name(self._world, request))

    def update(self, request: Request) -> Resource:
        change = only(request.json, _KNOWN | {"etag"})
        mask = ",".join(path for path in request.query.get("updateMask", "").split(",") if path != "name")
        changed = _checked(masked(self.get(request), change, mask, _MUTABLE))
        self._world.resources[database_name(self._world, request)] = changed
        return operation(self._world, changed["name"], "Database", changed)

    def delete(self, request: Request) -> Resource:
        """Forget a database with its indexes and fields."""
        found = self.get(request)
        if found["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED":
            raise precondition(f"Database {found['name']} cannot be deleted because it has delete protection enabled.")
        name = database_name(self._world, request)
        for below in [n for n in self._world.resources if n == name or n.startswith(f"{name}/")]:
            self._world.delete(below)
        return operation(self._world, found["name"], "Database", found)

    def operation(self, request: Request) -> Resource:
        return self._world.get(f"{database_name(self._world, request)}/operations/{request.parts['operation']}")


def _checked(database: Resource) -> Resource:
    if database["deleteProtectionState"] not in _PROTECTION:
        raise invalid(f"Invalid deleteProtectionState: {database['deleteProtectionState']}")
    return database
