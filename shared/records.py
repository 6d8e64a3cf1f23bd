"""The records of results, their payloads and their summaries, and how they are asked for. Immutable, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Order = Literal["desc", "asc"]


@dataclass(frozen=True, slots=True)
class PayloadObject:
    """Where payloads lie that are too large for a row, and what they are.

    Attributes:
        name: The object's.
        sha256: Of the content, instances followed by predictions in UTF-8, before it was compressed.
        instances_bytes: Where in the content the predictions begin.
        size_bytes: The whole content.
    """

    name: str
    sha256: str
    instances_bytes: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Result:
    """One answered prediction request, kept for ever as it came.

    Attributes:
        id: Hash of the idempotency key, or random; never a timestamp.
        created_at: Server time, UTC, microseconds.
        model: Model name.
        version: Model version, as TensorFlow Serving writes it: "1".
        instances: The request's JSON text, exactly the characters that came.
        predictions: The answer's JSON text, likewise.
        summary: Compact JSON text for the transforms: `count` and either `classes` with `scores`, or `values`.
        payload_hash: SHA-256 over the key-sorted body: tells a replay from a reused key.
        labels: The caller's own words for finding it again.
        request_id: The idempotency key, when there was one.
        expires_at: Hidden from readers from then on.
        payload_object: Holds the payloads where they are too large for a row; `instances` and `predictions` are
            empty until they are fetched, as they are where a reader asked for no payloads.
    """

    id: str
    created_at: datetime
    model: str
    version: str
    instances: str
    predictions: str
    summary: str
    payload_hash: str
    labels: Mapping[str, str] = field(default_factory=dict)
    request_id: str | None = None
    expires_at: datetime | None = None
    payload_object: PayloadObject | None = None

    @property
    def payload_chars(self) -> int:
        """How long the payloads are, fetched or not: what a reader has to hold in memory."""
        return self.payload_object.size_bytes if self.payload_object else len(self.instances) + len(self.predictions)


@dataclass(frozen=True, slots=True)
class Stored:
    """What a create answers: the result as the store holds it, and whether it was there before."""

    result: Result
    replayed: bool


@dataclass(frozen=True, slots=True)
class ResultQuery:
    """A declared way to look for results; `version` goes with `model`, times are half open: since <= t < until."""

    model: str | None = None
    version: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    label: tuple[str, str] | None = None
    order: Order = "desc"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the total order is (created_at, id), so equal times neither skip nor repeat."""

    created_at: datetime
    id: str


@dataclass(frozen=True, slots=True)
class SummaryDocument:
    """The part of a result that transforms read: no payload, so that no job parses one."""

    created_at: datetime
    model: str
    version: str
    summary: Mapping[str, Any]
