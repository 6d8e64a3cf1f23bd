"""Writes firestore.indexes.json from the shapes: python -m shared.stores.firestore.indexes > firestore.indexes.json

The file's form: https://firebase.google.com/docs/reference/firestore/indexes.
"""

import json
import sys
from typing import Any

from shared.stores.firestore.shapes import FIELDS, LABEL_PAIRS, SHAPES, TIME_TO_LIVE, Shape


def index_file() -> str:
    """Return the file's text."""
    overrides = [_override(collection, field) for collection, fields in FIELDS.items() for field in fields]
    return json.dumps({"indexes": [_index(shape) for shape in SHAPES], "fieldOverrides": overrides}, indent=2) + "\n"


def _index(shape: Shape) -> dict[str, Any]:
    equal = [
        {"fieldPath": field, "arrayConfig": "CONTAINS"}
        if field == LABEL_PAIRS
        else {"fieldPath": field, "order": "ASCENDING"}
        for field in shape.equal
    ]
    ordered = [{"fieldPath": field, "order": direction} for field, direction in shape.order]
    return {"collectionGroup": shape.collection, "queryScope": "COLLECTION", "fields": [*equal, *ordered]}


def _override(collection: str, field: str) -> dict[str, Any]:
    expires = {"ttl": True} if (collection, field) == TIME_TO_LIVE else {}
    return {"collectionGroup": collection, "fieldPath": field, **expires, "indexes": []}


if __name__ == "__main__":
    sys.stdout.write(index_file())
