"""Firestore's single-field index settings and times to live."""

from .bodies import only
from .firestore_names import SERVICE, database_name, group_name, operation
from .wire import Request, invalid, precondition
from .world import Resource, World

_FILTERS = ("indexConfig.usesAncestorConfig:false", "ttlConfig:*")
_EVERYWHERE = [{"order": "ASCENDING"}, {"order": "DESCENDING"}, {"arrayConfig": "CONTAINS"}]


class Fields:
    """Answers for the fields of every database: their own settings, or those that they take over.

    A field's own settings win over those of `*` in its collection group, which win over the database's own.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        """Return the fields that have settings of their own; Google lists no others."""
        wanted = request.query.get("filter", "")
        if wanted not in _FILTERS:
            raise invalid(
                f"Invalid filter: {wanted!r}; only fields with settings of their own are listed, by {_FILTERS}"
            )
        group = group_name(self._world, request)
        start = f"{group.removesuffix('-')}" if group.endswith("/-") else f"{group}/fields/"
        kept = [n for n in sorted(self._world.resources) if n.startswith(start) and "/fields/" in n]
        if group.endswith(("/-", "/__default__")):
            kept.insert(0, self._default(request))
        shown = [self._shown(request, name) for name in kept]
        if wanted == "ttlConfig:*":
            return {"fields": [field for field in shown if "ttlConfig" in field]}
        return {"fields": [field for field in shown if not field["indexConfig"].get("usesAncestorConfig")]}

    def get(self, request: Request) -> Resource:
        return self._shown(request, self._name(request))

    def update(self, request: Request) -> Resource:
        body = only(request.json, {"name", "indexConfig", "ttlConfig"})
        mask = [name for name in request.query.get("updateMask", "").split(",") if name]
        if not mask or set(mask) - {"indexConfig", "ttlConfig"}:
            raise invalid(
                f"Invalid update_mask: {request.query.get('updateMask')!r}; expected indexConfig or ttlConfig"
            )
        name = self._name(request)
        changed = dict(self._world.find(name) or {})
        for setting in mask:
            changed.pop(setting, None)
            if setting in body:
                changed[setting] = self._checked(request, setting, body[setting])
        if changed:
            self._world.resources[name] = changed
        else:
            self._world.resources.pop(name, None)
        shown = self._shown(request, name)
        return operation(self._world, shown["name"].partition("/collectionGroups/")[0], "Field", shown)

    def _checked(self, request: Request, setting: str, config: Resource) -> Resource:
        if setting == "indexConfig":
            field = request.parts["field"]
            return {"indexes": [_index(index, field) for index in only(config, {"indexes"}).get("indexes", [])]}
        if request.parts["field"] == "*":
            raise invalid("Updating ttl other than single field level is not supported.")
        start = f"{group_name(self._world, request)}/fields/"
        for name, other in self._world.resources.items():
            if name.startswith(start) and name != self._name(request) and "ttlConfig" in other:
                raise precondition(f"Collection group {request.parts['group']} has a TTL field already: {name}")
        only(config, {"state"})
        return {"state": "ACTIVE"}

    def _shown(self, request: Request, name: str) -> Resource:
        own = self._world.find(name) or {}
        default = self._default(request)
        shown: Resource = {"name": name.removeprefix(f"//{SERVICE}/")}
        if "ttlConfig" in own:
            shown["ttlConfig"] = own["ttlConfig"]
        if name == default:
            indexes = [_index({"fields": [field]}, "*") for field in _EVERYWHERE]
            return {**shown, "indexConfig": own.get("indexConfig", {"indexes": indexes})}
        star = f"{name.rpartition('/')[0]}/*"
        above = star if name != star and "indexConfig" in (self._world.find(star) or {}) else default
        ancestor = {"ancestorField": above.removeprefix(f"//{SERVICE}/")}
        if "indexConfig" in own:
            kept = {"indexes": own["indexConfig"]["indexes"]} if own["indexConfig"]["indexes"] else {}
            return {**shown, "indexConfig": {**kept, **ancestor}}
        inherited = self._shown(request, above)["indexConfig"].get("indexes", [])
        return {**shown, "indexConfig": {"indexes": inherited, "usesAncestorConfig": True, **ancestor}}

    def _default(self, request: Request) -> str:
        return f"{database_name(self._world, request)}/collectionGroups/__default__/fields/*"

    def _name(self, request: Request) -> str:
        return f"{group_name(self._world, request)}/fields/{request.parts['field']}"


def _index(index: Resource, field: str) -> Resource:
    only(index, {"queryScope", "fields", "state", "name"})
    if len(index.get("fields", [])) != 1:
        raise invalid("An index of a field's own has one field.")
    fields = [{**index["fields"][0], "fieldPath": field}]
    return {"queryScope": index.get("queryScope", "COLLECTION"), "fields": fields, "state": "READY"}
