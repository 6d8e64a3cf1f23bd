"""Firestore's composite indexes."""

import hashlib
import json

from .bodies import only
from .firestore_names import SERVICE, group_name, operation
from .wire import ApiError, Request, invalid
from .world import Resource, World

_KNOWN = {"name", "queryScope", "apiScope", "fields", "density", "multikey"}
_FIELD = {"fieldPath", "order", "arrayConfig", "vectorConfig"}
_SCOPES = ("COLLECTION", "COLLECTION_GROUP")
_MOST = 1000


class Indexes:
    """Answers for the composite indexes of every database."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        found = self._all(request)
        return {"indexes": found} if found else {}

    def create(self, request: Request) -> Resource:
        group = group_name(self._world, request)
        body = only(request.json, _KNOWN)
        scope = body.get("queryScope", "COLLECTION")
        if scope not in _SCOPES:
            raise invalid(f"Invalid query scope: {scope}")
        fields = _whole([_checked(field) for field in body.get("fields", [])])
        if len(self._all(request)) >= _MOST:
            raise ApiError(429, "RESOURCE_EXHAUSTED", f"A database has {_MOST} composite indexes at most.")
        definition = json.dumps([group, scope, body.get("apiScope"), fields]).encode()
        full = f"{group}/indexes/CICA{hashlib.sha256(definition).hexdigest()[:12]}"
        if self._world.find(full):
            raise ApiError(409, "ALREADY_EXISTS", "index already exists")
        kept = {"queryScope": scope, "fields": fields, "density": body.get("density", "SPARSE_ALL"), "state": "READY"}
        if body.get("apiScope", "ANY_API") != "ANY_API":
            kept["apiScope"] = body["apiScope"]
        made = self._world.create(full, {"name": full.removeprefix(f"//{SERVICE}/"), **kept})
        return operation(self._world, made["name"].partition("/collectionGroups/")[0], "Index", made)

    def get(self, request: Request) -> Resource:
        return self._world.get(f"{group_name(self._world, request)}/indexes/{request.parts['index']}")

    def delete(self, request: Request) -> Resource:
        """Forget an index; gcloud leaves out whose it is, since the index's name alone says it."""
        name = self._find(request)
        self._world.delete(name)
        return {}

    def _find(self, request: Request) -> str:
        wanted = request.parts["index"]
        found = [f"//{SERVICE}/{one['name']}" for one in self._all(request) if one["name"].endswith(f"/{wanted}")]
        if not found:
            raise ApiError(404, "NOT_FOUND", f"Index {wanted} does not exist")
        return found[0]

    def _all(self, request: Request) -> list[Resource]:
        group = group_name(self._world, request)
        every = group.endswith("/-")
        start = group.removesuffix("-") if every else f"{group}/indexes/"
        return [r for n, r in sorted(self._world.resources.items()) if n.startswith(start) and "/indexes/" in n]


def _checked(field: Resource) -> Resource:
    only(field, _FIELD)
    if not field.get("fieldPath") or len(set(field) & {"order", "arrayConfig", "vectorConfig"}) != 1:
        raise invalid("A field of an index needs a fieldPath, and one of order, arrayConfig and vectorConfig.")
    if field.get("order", "ASCENDING") not in ("ASCENDING", "DESCENDING"):
        raise invalid(f"Invalid order: {field['order']}")
    return field


def _whole(fields: list[Resource]) -> list[Resource]:
    """Return the fields with the name of the document last, as Firestore itself completes every index."""
    named = [field["fieldPath"] for field in fields]
    if len(set(named)) != len(named):
        raise invalid("A field appears more than once in the index.")
    if len([name for name in named if name != "__name__"]) < 2:
        raise invalid("this index is not necessary, configure using single field index controls")
    if "__name__" in named:
        return fields
    return [*fields, {"fieldPath": "__name__", "order": fields[-1].get("order", "ASCENDING")}]
