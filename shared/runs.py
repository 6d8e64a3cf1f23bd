"""The records of regular jobs: intervals, runs and their attempts, parts, summaries. Immutable, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

# Who asked: the schedule's tick, the reconciler for a tick that was missed, a backfill, or a person.
Trigger = Literal["schedule", "catch-up", "backfill", "manual"]
# missed: it was due and never began; nobody will begin it by himself.
RunState = Literal["queued", "running", "success", "failed", "missed"]
# lost: its lease ran out, and another attempt took over.
Outcome = Literal["running", "success", "failed", "lost"]
# Which runs that ended are run again when they are asked for: none, those that failed, or all.
Reprocess = Literal["none", "failed", "completed"]
# Why a run was not handed out: under way; ended; waiting already; its job is paused; not to be tried before
# `not_before`; too many of its job at once.
Refusal = Literal["running", "ended", "queued", "paused", "backing-off", "max-active"]

# What a summary row or a run's output holds: JSON values only.
Row = dict[str, Any]
# The newest attempts that a run keeps; `attempt` and `fence` go on counting.
KEPT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Interval:
    """The stretch of time a run covers, half open, and the key that names it.

    Attributes:
        key: Local date of the start, such as "2026-11-21"; of a job that ticks more than once a day the start in UTC,
            such as "2026-11-21T14:10Z".
        start: UTC, included.
        end: UTC, excluded.
        time_zone: IANA name of the zone whose midnights the boundaries are.
    """

    key: str
    start: datetime
    end: datetime
    time_zone: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt at a run, from its claim to its outcome.

    Attributes:
        number: From 1, anew whenever the run is asked for again.
        fence: The claim's.
        trigger: Who had asked.
        code_version: Of the code that began it.
        started_at: When it was claimed.
        ended_at: None while it runs, and for ever where it was lost.
        outcome: How it ended.
        error: Why it failed.
    """

    number: int
    fence: int
    trigger: Trigger
    code_version: str
    started_at: datetime
    ended_at: datetime | None = None
    outcome: Outcome = "running"
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """One job over one interval: there is one per (job, key), however often it was asked for.

    Attributes:
        provisional: The interval was still open when the run began; a later run of the key supersedes it.
        attempt: How many times work began since the run was last asked for.
        fence: Grows with every claim; only the holder of the newest may finish the run.
        lease_expires_at: Until then no other worker may claim it.
        not_before: A queued run is not claimed earlier, unless by hand.
        max_active: How many runs of its job may run beside it, itself included, where whoever asked for it said so;
            None: as the job says.
        generation: The fence under which the visible summary was written, None before the first success.
        plan: The fence under which its parts were planned, None for a run in one piece.
        parts: How many there are.
        deadline_at: When it should have succeeded.
        deadline_missed_at: When it was noticed that it had not; once, and it stays.
        code_version: Of the code that claimed it last.
        attempts: The newest last, at most KEPT_ATTEMPTS.
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
    not_before: datetime | None = None
    max_active: int | None = None
    generation: int | None = None
    plan: int | None = None
    parts: int = 0
    output: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None
    deadline_at: datetime | None = None
    deadline_missed_at: datetime | None = None
    code_version: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()

    @property
    def key(self) -> str:
        """The interval's key; with the job's id it names the run."""
        return self.interval.key


@dataclass(frozen=True, slots=True)
class RunQuery:
    """Which runs: of one job or all, since_key <= key < until_key; newest key first, then by job.

    Attributes:
        state: Only runs in this state; goes with `job`.
        oldest_first: The other way round; goes with `state`.
    """

    job: str | None = None
    since_key: str | None = None
    until_key: str | None = None
    state: RunState | None = None
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """The answer to asking for a run.

    Attributes:
        run: As it is now; as it was asked for, where nothing is kept of it.
        refusal: Why the work is not the caller's; None: it is.
    """

    run: Run
    refusal: Refusal | None = None

    @property
    def granted(self) -> bool:
        """Whether the work is the caller's."""
        return self.refusal is None


@dataclass(frozen=True, slots=True)
class Part:
    """One slice of a run that is worked on in parts.

    Attributes:
        index: From 0.
        start: UTC, included.
        end: UTC, excluded.
        shard: The shard of the results it reads; None: all.
        attempt: How often it failed.
        partial: JSON text of what `fold` returned; None until it is done.
        documents: How many it folded.
        error: Why it failed last.
    """

    index: int
    start: datetime
    end: datetime
    shard: int | None = None
    attempt: int = 0
    partial: str | None = None
    documents: int = 0
    error: str | None = None

    @property
    def done(self) -> bool:
        """Whether its partial is there."""
        return self.partial is not None


@dataclass(frozen=True, slots=True)
class Summary:
    """What a transform wrote for one (job, key): the rows of the generation that is visible."""

    job: str
    key: str
    provisional: bool
    rows: tuple[Row, ...]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class JobState:
    """What the store knows of a job, beside its runs.

    Attributes:
        first_seen_at: When anything was first asked of it: nothing before is caught up; None: it was never seen.
        paused_at: Since when its ticks, backfills and catch-ups wait; None: they do not.
        active: Until when each run under way has its lease, by key.
    """

    job: str
    first_seen_at: datetime | None = None
    paused_at: datetime | None = None
    active: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that can never be understood: kept, and acknowledged, since it would come for ever.

    Attributes:
        id: Of the message where it has one, else the body's hash: a redelivery is the same letter.
        received_at: When it first came.
        reason: What is wrong with it.
        body: The first characters of what came.
        body_sha256: Of all of it.
        body_bytes: How long it was.
    """

    id: str
    received_at: datetime
    reason: str
    body: str
    body_sha256: str
    body_bytes: int
