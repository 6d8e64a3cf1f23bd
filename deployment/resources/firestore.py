"""The database, its indexes and exemptions from firestore.indexes.json, and its rules."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deployment.changes import Call, Change, change, create, delete
from deployment.gcloud import Command
from deployment.names import Names
from deployment.present import Present, Resource
from shared.config import ROOT
from shared.errors import ConfigurationError

from .firestore_rules import rule_changes

_ADMIN = "https://firestore.googleapis.com/v1/projects"


def firestore_changes(names: Names, present: Present, root: Path = ROOT) -> Iterator[Change]:
    """Yield what makes Firestore as the files say; a database is never moved and never deleted."""
    if not names.uses_firestore:
        return
    wanted = json.loads((root / "firestore.indexes.json").read_text("utf-8"))
    yield from _database_changes(names, present)
    yield from _index_changes(names, wanted["indexes"], present)
    yield from _field_changes(names, wanted["fieldOverrides"], present)
    yield from rule_changes(names, present, (root / "firestore.rules").read_text("utf-8"))


def _database_changes(names: Names, present: Present) -> Iterator[Change]:
    there = present.named("databases").get(names.database)
    place, protected = names.environment.firestore_location, names.environment.protected
    protection = ("--delete-protection",) if protected else ("--no-delete-protection",)
    if there is None:
        make: Command = ("firestore", "databases", "create", f"--database={names.database}", f"--location={place}")
        yield create(
            "Firestore database", f"{names.database} in {place}", (*make, "--type=firestore-native", *protection)
        )
        return
    wrong = {
        "type": ("FIRESTORE_NATIVE", there.get("type", "")),
        "FIRESTORE_LOCATION": (there.get("locationId", ""), place),
    }
    if problems := [f"{name}: expected {one}, got {other}" for name, (one, other) in wrong.items() if one != other]:
        raise ConfigurationError([f"Firestore database {names.database}: {each}" for each in problems])
    is_protected = there.get("deleteProtectionState") == "DELETE_PROTECTION_ENABLED"
    if protected and not is_protected:
        alter = ("firestore", "databases", "update", f"--database={names.database}", "--delete-protection")
        yield change("Firestore database", "deletable", "protected", alter)


def _index_changes(names: Names, wanted: list[Resource], present: Present) -> Iterator[Change]:
    there = {_index_text(_collection(index["name"]), index): index for index in present["indexes"]}
    texts = {_index_text(index["collectionGroup"], index): index for index in wanted}
    ours = {index["collectionGroup"] for index in wanted}
    for text, index in texts.items():
        if text not in there:
            yield create("Firestore index", text, _index_command(names, index))
    for text, index in there.items():
        if text not in texts and _collection(index["name"]) in ours:
            name = index["name"].rpartition("/")[2]
            yield delete("Firestore index", text, _deleting(names, name))


def _deleting(names: Names, index: str) -> Command:
    return ("firestore", "indexes", "composite", "delete", index, f"--database={names.database}")


def _index_command(names: Names, index: Resource) -> Command:
    fields = []
    for field in index["fields"]:
        way = f"array-config={field['arrayConfig']}" if "arrayConfig" in field else f"order={field['order']}"
        fields.append(f"--field-config=field-path={field['fieldPath']},{way.lower()}")
    make = ("firestore", "indexes", "composite", "create", f"--database={names.database}")
    where = (f"--collection-group={index['collectionGroup']}", "--query-scope=collection")
    return (*make, *where, *fields, "--async")


def _field_changes(names: Names, wanted: list[Resource], present: Present) -> Iterator[Change]:
    """Yield the single-field indexes to be switched off, as one change, and the field that results expire by."""
    there = {_field_key(field["name"]): field for field in present["fields"]}
    exempt = {key for key, field in there.items() if _is_exempt(field)}
    keys = [(each["collectionGroup"], each["fieldPath"]) for each in wanted]
    missing = [key for key in keys if key not in exempt]
    base = f"{_ADMIN}/{names.project}/databases/{names.database}/collectionGroups"
    if missing:
        # One command each would take gcloud a second and a half a field.
        steps = [
            Call(
                "PATCH",
                f"{base}/{group}/fields/{path}",
                {"indexConfig": {"indexes": []}},
                {"updateMask": "indexConfig"},
            )
            for group, path in missing
        ]
        yield create("Firestore fields", f"{len(missing)} without an index of their own", *steps)
    for each in wanted:
        group, path = each["collectionGroup"], each["fieldPath"]
        if each.get("ttl") and not there.get((group, path), {}).get("ttlConfig"):
            make = ("firestore", "fields", "ttls", "update", path, f"--collection-group={group}", "--enable-ttl")
            yield create("Firestore expiry", f"{group} by {path}", (*make, f"--database={names.database}", "--async"))


def _is_exempt(field: Resource) -> bool:
    config: dict[str, Any] = field.get("indexConfig", {})
    return not config.get("usesAncestorConfig") and not config.get("indexes")


def _field_key(name: str) -> tuple[str, str]:
    parts = name.split("/")
    return parts[5], parts[7]


def _collection(index_name: str) -> str:
    return index_name.split("/")[5]


def _index_text(collection: str, index: Resource) -> str:
    """Return an index in words; the document's name, which Firestore adds at the end, is left out."""
    fields = [
        f"{field['fieldPath']} {field.get('arrayConfig') or field.get('order')}"
        for field in index["fields"]
        if field["fieldPath"] != "__name__"
    ]
    return f"{collection}: {', '.join(fields).lower()}"
