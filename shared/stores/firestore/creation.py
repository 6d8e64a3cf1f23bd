"""A batch of results to create: its documents, and what it means that some of them are there already."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import IdempotencyError, InvalidRequestError, PayloadTooLargeError
from shared.records import Result, Stored
from shared.stores.firestore.documents import is_document_id, result_document, result_of

# A document may have 1 MiB, a request 10 MiB; the rest is for names and numbers.
# Source: https://cloud.google.com/firestore/quotas.
_MAX_DOCUMENT_BYTES, _MAX_REQUEST_BYTES = 1_040_000, 10_000_000


def documents_of(new: Sequence[Result], shards: int) -> dict[str, dict[str, Any]]:
    """Return the documents to create by id: of several results with one id, the first one's.

    Raises:
        PayloadTooLargeError: More than Firestore takes; the client would go on trying.
    """
    write_id = secrets.token_hex(8)
    documents: dict[str, dict[str, Any]] = {}
    request_bytes = 0
    for index, result in enumerate(new):
        if result.id in documents:
            continue
        if not is_document_id(result.id):
            raise InvalidRequestError("a result's id is none that Firestore takes", reason="INVALID_ID")
        documents[result.id] = document = result_document(result, shards, write_id)
        size_bytes = sum(_bytes(value) for value in document.values())
        request_bytes += size_bytes
        if size_bytes > _MAX_DOCUMENT_BYTES or request_bytes > _MAX_REQUEST_BYTES:
            raise PayloadTooLargeError(
                "expected summaries and labels that fit into one document of 1 MiB, and a batch into 10 MB beside its "
                f"large payloads; the result at index {index} is beyond that",
                reason="RESULT_TOO_LARGE",
                metadata={"index": str(index)},
            )
    return documents


def _bytes(value: Any) -> int:
    if isinstance(value, list):
        return sum(map(_bytes, value))
    return len(value.encode()) if isinstance(value, str) else 8


def answers(
    new: Sequence[Result], present: Mapping[str, dict[str, Any]], documents: Mapping[str, dict[str, Any]]
) -> tuple[list[Stored], dict[str, dict[str, Any]]]:
    """Return what to answer if the rest can be created, and that rest.

    Raises:
        IdempotencyError: A result contradicts one that is there, or one before it in the batch.
    """
    stored: list[Stored] = []
    seen: dict[str, Result] = {}
    for index, result in enumerate(new):
        held = present.get(result.id)
        first = result.id not in seen
        if first:
            seen[result.id] = result_of(result.id, held) if held else result
        before = seen[result.id]
        if before.payload_hash != result.payload_hash:
            raise IdempotencyError(
                "this idempotency key was used before with another body: send a new key, or the same body",
                metadata={"index": str(index)},
            )
        # A create whose answer was lost finds its own document: that is no replay.
        is_own = held is None or held["write_id"] == documents[result.id]["write_id"]
        stored.append(Stored(before, replayed=not (first and is_own)))
    return stored, {result_id: document for result_id, document in documents.items() if result_id not in present}
