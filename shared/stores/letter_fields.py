"""Dead letters as the named values that a row or a document holds, and back: text from anybody, made fit to keep."""

import hashlib
from collections.abc import Mapping
from typing import Any

from shared.runs import DeadLetter
from shared.stores.moments import from_us, to_us

_MAX_ID_CHARS = 256


def letter_fields(letter: DeadLetter) -> dict[str, Any]:
    """Return what is kept of a dead letter: it comes from anybody, and must be kept whatever is in it."""
    name = clean(letter.id)
    return {
        "id": name if len(name) <= _MAX_ID_CHARS else hashlib.sha256(name.encode()).hexdigest(),
        "received_at_us": to_us(letter.received_at),
        "reason": clean(letter.reason),
        "body": clean(letter.body),
        "body_sha256": letter.body_sha256,
        "body_bytes": letter.body_bytes,
    }


def letter_of(fields: Mapping[str, Any]) -> DeadLetter:
    """Return the dead letter of a row or a document."""
    received_at = from_us(fields["received_at_us"])
    kept = {name: fields[name] for name in ("id", "reason", "body", "body_sha256", "body_bytes")}
    return DeadLetter(received_at=received_at, **kept)


def clean(text: str) -> str:
    """Return text without the characters that a database may refuse."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
