"""The records that cross a boundary: results, their summaries, intervals, runs. Immutable, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Order = Literal["desc", "asc"]
Trigger = Literal["schedule", "manual"]
RunState = Literal["running", "success", "queued", "failed"]

# What a summary row or a run's output holds: JSON values only.
Row = dict[str, Any]


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


@dataclass(frozen=True, slots=True)
class Interval:
    """The stretch of time a run covers, half open, and the key that names it.

    Attributes:
        key: Local date of the start, such as "2026-11-21".
        start: UTC, included.
        end: UTC, excluded.
        time_zone: IANA name of the zone whose midnights the boundaries are.
    """

    key: str
    start: datetime
    end: datetime
    time_zone: str


@dataclass(frozen=True, slots=True)
class Run:
    """One job over one interval: there is one per (job, key), however often it was asked for.

    Attributes:
        provisional: The interval was still open when the run began; a later run of the key supersedes it.
        attempt: How many times work began since the run was last asked for.
        fence: Grows with every claim; only the holder of the newest may finish the run.
        lease_expires_at: Until then no other worker may claim it.
        generation: The fence under which the visible summary was written, None before the first success.
    """

    job: str
    interval: Interval
    trigger: Trigger
    created_at: datetime
    params: Mapping[str, Any] = field(default_factory=dict)
    state: RunState = "queued"
    provisional: bool = False
    attempt: int = 0
    fence: int = 0
    lease_expires_at: datetime | None = None
    generation: int | None = None
    output: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def key(self) -> str:
        """The interval's key; with the job's id it names the run."""
        return self.interval.key


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs: of one job or all, since_key <= key < until_key; newest key first, then by job."""

    job: str | None = None
    since_key: str | None = None
    until_key: str | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to asking for a run: the run as it is now, and whether the work is yours."""

    run: Run
    granted: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """What a transform wrote for one (job, key): the rows of the generation that is visible."""

    job: str
    key: str
    provisional: bool
    rows: tuple[Row, ...]
    created_at: datetime
