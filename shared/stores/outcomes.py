"""What whoever holds a run may make of it: the rules alone, whatever database keeps it and its job."""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.errors import ConflictError
from shared.runs import Attempt, JobState, Outcome, Part, Run
from shared.stores.claims import Decision
from shared.stores.job_states import seen, with_active, without_active
from shared.stores.letter_fields import clean

# A run's document holds its own error and those of twenty attempts.
_MAX_ERROR_CHARS = 4000


def renew(present: Run | None, job: JobState, run: Run, *, now: datetime, lease: timedelta) -> Decision:
    """Decide what `shared.ports.RunStore.renew_run` says."""
    renewed = replace(held(present, run), lease_expires_at=now + lease)
    return Decision(renewed, with_active(job, renewed))


def requeue(present: Run | None, job: JobState, run: Run) -> Decision:
    """Decide what `shared.ports.RunStore.requeue_run` says; the attempt stays open, for the next claim to go on."""
    here = held(present, run)
    waiting = replace(
        here, state="queued", attempt=here.attempt - 1, lease_expires_at=None, not_before=None, output=run.output
    )
    return Decision(waiting, without_active(job, run.key))


def finish(present: Run | None, job: JobState, run: Run, *, now: datetime) -> Decision:
    """Decide what `shared.ports.RunStore.finish_run` says of the run."""
    here = held(present, run)
    done = replace(
        here,
        state="success",
        lease_expires_at=None,
        generation=here.fence,
        output=run.output,
        error=None,
        ended_at=now,
        attempts=_closed(here, "success", None, now),
    )
    return Decision(done, without_active(job, run.key))


def fail(
    present: Run | None, job: JobState, run: Run, error: str, *, retry_at: datetime | None, now: datetime
) -> Decision:
    """Decide what `shared.ports.RunStore.fail_run` says."""
    here = held(present, run)
    text = storable(error)
    failed = replace(
        here,
        state="queued" if retry_at else "failed",
        lease_expires_at=None,
        not_before=retry_at,
        output=run.output,
        error=text,
        ended_at=None if retry_at else now,
        attempts=_closed(here, "failed", text, now),
    )
    return Decision(failed, without_active(job, run.key))


def mark_deadline_missed(present: Run | None, job: JobState, wanted: Run, *, now: datetime) -> Decision:
    """Decide what `shared.ports.RunStore.mark_deadline_missed` says: nothing changes if it was not to be noted."""
    if present is None:
        asked = Run(wanted.job, wanted.interval, wanted.trigger, wanted.created_at, wanted.params, state="missed")
        missed = replace(asked, deadline_at=wanted.deadline_at, deadline_missed_at=now)
        return Decision(missed, seen(job, now))
    if present.deadline_missed_at or _has_succeeded(present):
        return Decision(present, job, changed=False)
    missed = replace(present, deadline_at=present.deadline_at or wanted.deadline_at, deadline_missed_at=now)
    return Decision(missed, job)


def plan(present: Run | None, run: Run, count: int) -> Run:
    """Return a run that is the caller's with so many parts planned.

    Raises:
        ConflictError: reason FENCE_LOST.
    """
    here = held(present, run)
    return replace(here, plan=here.fence, parts=count)


def finished_part(present: Part, part: Part) -> Part:
    """Return a part that is not done with what it came to."""
    if part.partial is None:
        raise ValueError(f"part {part.index}: expected a partial")
    return replace(present, partial=part.partial, documents=part.documents)


def failed_part(present: Part, error: str) -> Part:
    """Return a part that is not done after one more failure."""
    return replace(present, attempt=present.attempt + 1, error=storable(error))


def no_such_part(run: Run, index: int) -> ConflictError:
    """Return the error of a part that is none, or none any longer."""
    return ConflictError(f"run {run.job} {run.key}: its plan has no part {index} now", reason="PLAN_GONE")


def held(present: Run | None, run: Run) -> Run:
    """Return the run as it is, if it is the caller's.

    Raises:
        ConflictError: reason FENCE_LOST.
    """
    if present is None or present.fence != run.fence or present.state != "running":
        raise ConflictError("the run was claimed again in the meantime; nothing was written", reason="FENCE_LOST")
    return present


def storable(text: str) -> str:
    """Return text without the characters that a database may refuse, cut: a failure must not fail to be kept."""
    return clean(text[:_MAX_ERROR_CHARS])


def _closed(run: Run, outcome: Outcome, error: str | None, now: datetime) -> tuple[Attempt, ...]:
    return tuple(
        replace(each, outcome=outcome, error=error, ended_at=now) if each.outcome == "running" else each
        for each in run.attempts
    )


def _has_succeeded(run: Run) -> bool:
    """Return whether it ever has over its whole interval: what a provisional run wrote is still to be superseded."""
    if run.state == "success":
        return not run.provisional
    wrote = [each for each in run.attempts if each.fence == run.generation]
    return run.generation is not None and all(each.started_at >= run.interval.end for each in wrote)
