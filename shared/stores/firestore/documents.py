"""Results as Firestore documents, and back.

Times are whole microseconds since 1970, which sort and compare alike everywhere; only `expires_at` is a timestamp,
because Firestore deletes by it. Payloads, labels and whatever else is not searched are JSON text: Firestore takes no
array within an array, and reserves some names of fields.
"""

import hashlib
import json
import re
from dataclasses import asdict
from typing import Any

from shared.records import PayloadObject, Result
from shared.stores.moments import from_us, to_us

_MAX_ID_BYTES = 1500
_RESERVED_ID = re.compile(r"\.|\.\.|__.*__", re.DOTALL)
# What a reader without payloads asks for.
RESULT_HEADER = (
    *("created_at_us", "model", "version", "summary", "payload_hash"),
    *("labels", "request_id", "expires_at", "payload_object"),
)


def is_document_id(text: str) -> bool:
    """Tell whether a text can name one document; with a slash it would lead into another collection.

    Source: https://cloud.google.com/firestore/quotas#collections_documents_and_fields; a zero byte, which some parts
    of Firestore take and others do not, is no part of an id of ours.
    """
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError:
        return False
    return 1 <= size_bytes <= _MAX_ID_BYTES and not {"/", "\0"} & set(text) and not _RESERVED_ID.fullmatch(text)


def shard_of(result_id: str, shards: int) -> int:
    """Return in which shard a result lies: it stays there while the number of shards is the same."""
    return int.from_bytes(hashlib.sha256(result_id.encode()).digest()[:8]) % shards


def result_document(result: Result, shards: int, write_id: str) -> dict[str, Any]:
    """Return a result's document.

    Args:
        shards: How many shards there are.
        write_id: Tells the caller's own document from another's, when an answer got lost.
    """
    held = result.payload_object
    return {
        "shard": shard_of(result.id, shards),
        "created_at_us": to_us(result.created_at),
        "model": result.model,
        "version": result.version,
        "label_pairs": [f"{name}={value}" for name, value in result.labels.items()],
        "labels": json.dumps(dict(result.labels), ensure_ascii=False),
        "request_id": result.request_id,
        "payload_hash": result.payload_hash,
        "summary": result.summary,
        "expires_at": result.expires_at,
        "payload_object": json.dumps(asdict(held)) if held else None,
        "instances": result.instances,
        "predictions": result.predictions,
        "write_id": write_id,
    }


def result_of(result_id: str, fields: dict[str, Any]) -> Result:
    """Return the result of a document; payloads that were not asked for are empty."""
    held = fields["payload_object"]
    return Result(
        id=result_id,
        created_at=from_us(fields["created_at_us"]),
        model=fields["model"],
        version=fields["version"],
        instances=fields.get("instances", ""),
        predictions=fields.get("predictions", ""),
        summary=fields["summary"],
        payload_hash=fields["payload_hash"],
        labels=json.loads(fields["labels"]),
        request_id=fields["request_id"],
        # The library's own kind of time becomes Python's.
        expires_at=from_us(to_us(fields["expires_at"])) if fields["expires_at"] else None,
        payload_object=PayloadObject(**json.loads(held)) if held else None,
    )
