"""What is known of a job beside its runs, and how it changes: the rules alone."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from shared.runs import JobState, Run


def seen(job: JobState, now: datetime) -> JobState:
    """Return a job that something was asked of, now or before."""
    return job if job.first_seen_at else replace(job, first_seen_at=now)


def with_pause(job: JobState, *, paused: bool, now: datetime) -> JobState:
    """Return a job that is paused, since now or before, or that is not."""
    return replace(seen(job, now), paused_at=(job.paused_at or now) if paused else None)


def with_active(job: JobState, run: Run) -> JobState:
    """Return the job with a run under way until its lease ends."""
    # The entries are those of the runs in state running, whether their leases last or not.
    ends: Mapping[str, datetime | None] = {**job.active, run.key: run.lease_expires_at}
    return replace(job, active={key: ends_at for key, ends_at in ends.items() if ends_at})


def without_active(job: JobState, key: str) -> JobState:
    """Return the job with a run no longer under way."""
    return replace(job, active={other: ends_at for other, ends_at in job.active.items() if other != key})
