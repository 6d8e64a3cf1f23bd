"""Who may have a run, and what it then is: the rules alone, whatever database keeps it and its job."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.runs import KEPT_ATTEMPTS, Attempt, Claim, JobState, Refusal, Reprocess, Run
from shared.stores.job_states import seen, with_active, without_active


@dataclass(frozen=True, slots=True)
class Decision:
    """What a run and its job become, to be written together.

    Attributes:
        run: As it is from now on; as it was asked for, where nothing is kept of it.
        job: Likewise.
        refusal: Why the run is not the caller's; None: it is, or it waits as was asked.
        changed: Whether there is anything to write.
    """

    run: Run
    job: JobState
    refusal: Refusal | None = None
    changed: bool = True

    @property
    def claim(self) -> Claim:
        """What the caller is told."""
        return Claim(self.run, self.refusal)


def claim(
    present: Run | None,
    job: JobState,
    wanted: Run,
    *,
    now: datetime,
    lease: timedelta,
    max_active: int,
    reprocess: Reprocess,
) -> Decision:
    """Decide what `shared.ports.RunStore.claim_run` says of a run that is there, or is not."""
    refusal = _refusal(present, job, wanted, now, reprocess)
    if refusal is None and present and _is_backing_off(present, wanted, now):
        refusal = "backing-off"
    if refusal:
        return Decision(present or wanted, job, refusal, changed=False)
    waiting = _waiting(present, wanted)
    limit = max_active if waiting.max_active is None else waiting.max_active
    if sum(ends_at > now for key, ends_at in job.active.items() if key != wanted.key) >= limit:
        if present and present.state == "queued":
            return Decision(present, job, "max-active", changed=False)
        return Decision(waiting, without_active(seen(job, now), wanted.key), "max-active")
    taken = replace(
        waiting,
        state="running",
        attempt=waiting.attempt + 1,
        fence=waiting.fence + 1,
        lease_expires_at=now + lease,
        error=None,
        code_version=wanted.code_version,
        started_at=now,
    )
    return Decision(replace(taken, attempts=_begun(taken)), with_active(seen(job, now), taken))


def enqueue(present: Run | None, job: JobState, wanted: Run, *, now: datetime, reprocess: Reprocess) -> Decision:
    """Decide what `shared.ports.RunStore.enqueue_run` says."""
    refusal = _refusal(present, job, wanted, now, reprocess)
    if refusal is None and present and present.state == "queued":
        refusal = "queued"
    if refusal:
        return Decision(present or wanted, job, refusal, changed=False)
    return Decision(_waiting(present, wanted), without_active(seen(job, now), wanted.key))


def _refusal(present: Run | None, job: JobState, wanted: Run, now: datetime, reprocess: Reprocess) -> Refusal | None:
    if present and present.state == "running" and not _is_lost(present, now):
        return "running"
    if present and present.state in ("success", "failed") and not present.provisional:
        again = ("completed", "failed") if present.state == "failed" else ("completed",)
        if reprocess not in again:
            return "ended"
    goes_on = present if present and present.state in ("queued", "running") else wanted
    return "paused" if job.paused_at and "manual" not in (wanted.trigger, goes_on.trigger) else None


def _is_lost(run: Run, now: datetime) -> bool:
    return run.lease_expires_at is not None and run.lease_expires_at <= now


def _is_backing_off(present: Run, wanted: Run, now: datetime) -> bool:
    waits = present.state == "queued" and present.not_before is not None and present.not_before > now
    return waits and wanted.trigger != "manual"


def _waiting(present: Run | None, wanted: Run) -> Run:
    """Return the run as it waits for its turn, with what it keeps of what was there."""
    before = present or Run(wanted.job, wanted.interval, wanted.trigger, wanted.created_at, state="missed")
    goes_on = before.state in ("queued", "running")
    asked = before if goes_on and wanted.trigger != "manual" else wanted
    # What parts came to holds for the very same work alone.
    is_same = (
        goes_on
        and dict(asked.params) == dict(before.params)
        and wanted.interval == before.interval
        and (wanted.code_version or before.code_version) == before.code_version
    )
    return Run(
        job=wanted.job,
        interval=wanted.interval,
        trigger=asked.trigger,
        created_at=before.created_at,
        params=asked.params,
        provisional=wanted.provisional,
        attempt=before.attempt if goes_on and wanted.trigger != "manual" else 0,
        fence=before.fence,
        max_active=asked.max_active,
        generation=before.generation,
        plan=before.plan if is_same else None,
        parts=before.parts if is_same else 0,
        error=before.error if goes_on else None,
        deadline_at=wanted.deadline_at,
        deadline_missed_at=before.deadline_missed_at,
        code_version=before.code_version,
        started_at=before.started_at if goes_on else None,
        attempts=_lost(before.attempts) if before.state == "running" else before.attempts,
    )


def _lost(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    return tuple(replace(each, outcome="lost") if each.outcome == "running" else each for each in attempts)


def _begun(run: Run) -> tuple[Attempt, ...]:
    """Return the attempts with the one that this claim begins, or goes on with."""
    if run.attempts and run.attempts[-1].outcome == "running":
        return (*run.attempts[:-1], replace(run.attempts[-1], fence=run.fence))
    begun = Attempt(run.attempt, run.fence, run.trigger, run.code_version, run.started_at or run.created_at)
    return (*run.attempts, begun)[-KEPT_ATTEMPTS:]
