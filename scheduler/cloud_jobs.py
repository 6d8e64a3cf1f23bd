"""Cloud Scheduler's jobs as jobs.yaml wants them, as they are, and what it takes from the one to the other.

Ours are the jobs whose name begins with `nightshift-` and whose messages say that we manage them; no other is touched.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

from shared.errors import ConflictError
from shared.jobs import Job

PREFIX = "nightshift-"
MANAGED_BY = {"managed-by": "nightshift"}
Kind = Literal["create", "update", "pause", "resume", "delete"]


@dataclass(frozen=True, slots=True)
class PublishRetries:
    """How often Cloud Scheduler tries to publish one tick; runs are tried again by other means.

    Attributes:
        retry_count: After the first attempt; Cloud Scheduler takes at most 5.
        min_backoff_seconds: Before the first retry.
        max_backoff_seconds: Before any.
        max_doublings: How often the time before the next one doubles.
    """

    retry_count: int = 5
    min_backoff_seconds: int = 5
    max_backoff_seconds: int = 60
    max_doublings: int = 5


@dataclass(frozen=True, slots=True)
class CloudJob:
    """One job of Cloud Scheduler, as far as we say what it is.

    Attributes:
        id: The last part of its name.
        description: For people.
        schedule: Five fields of cron.
        time_zone: IANA name.
        topic: Full name of the topic that its message is published to.
        data: The message.
        attributes: The message's.
        retries: Of publishing.
        paused: It does not tick.
        update_failed: Cloud Scheduler says that the last update of it failed, and is to be made again.
    """

    id: str
    description: str
    schedule: str
    time_zone: str
    topic: str
    data: bytes
    attributes: Mapping[str, str]
    retries: PublishRetries
    paused: bool
    update_failed: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether we made it."""
        return self.id.startswith(PREFIX) and MANAGED_BY.items() <= self.attributes.items()


@dataclass(frozen=True, slots=True)
class Change:
    """One call that is to be made.

    Attributes:
        kind: Which.
        job: As it is to be; for `delete` as it is.
        differences: Of an update: what differs, as it is and as it is to be.
    """

    kind: Kind
    job: CloudJob
    differences: Mapping[str, tuple[str, str]]


def wanted_job(job: Job, topic: str) -> CloudJob:
    """Return the job of Cloud Scheduler that publishes a job's ticks."""
    return CloudJob(
        id=PREFIX + job.id,
        description=job.description,
        schedule=job.schedule,
        time_zone=job.time_zone,
        topic=topic,
        # Always data: a message of attributes alone breaks functions-framework.
        data=json.dumps({"job": job.id}).encode(),
        attributes=MANAGED_BY,
        retries=PublishRetries(),
        paused=job.paused,
    )


def plan_changes(wanted: Sequence[CloudJob], present: Sequence[CloudJob]) -> list[Change]:
    """Return what to do, in order; nothing, if all is as wanted.

    Raises:
        ConflictError: reason NOT_OURS; a name that we need belongs to a job that we did not make.
    """
    there = {job.id: job for job in present}
    foreign = [job.id for job in wanted if job.id in there and not there[job.id].is_ours]
    if foreign:
        expected = ", ".join(f"{name}={value}" for name, value in MANAGED_BY.items())
        raise ConflictError(
            f"{', '.join(foreign)}: there is a job of this name in Cloud Scheduler that is not ours: expected the "
            f"attribute {expected}; delete it, or rename the job in jobs.yaml",
            reason="NOT_OURS",
        )
    changes: list[Change] = []
    for job in wanted:
        changes += _changes(job, there.get(job.id))
    names = {job.id for job in wanted}
    return changes + [Change("delete", job, {}) for job in present if job.is_ours and job.id not in names]


def _changes(job: CloudJob, present: CloudJob | None) -> list[Change]:
    if present is None:
        return [Change("create", job, {}), *([Change("pause", job, {})] if job.paused else [])]
    differences = {
        name: (_text(getattr(present, name)), _text(getattr(job, name)))
        for name in (field.name for field in fields(CloudJob) if field.name not in ("id", "paused"))
        if getattr(present, name) != getattr(job, name)
    }
    changes = [Change("update", job, differences)] if differences else []
    if job.paused != present.paused:
        changes.append(Change("pause" if job.paused else "resume", job, {}))
    return changes


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, PublishRetries):
        return f"{value.retry_count} times, {value.min_backoff_seconds} to {value.max_backoff_seconds} s apart"
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={text}" for name, text in sorted(value.items()))
    return str(value)
