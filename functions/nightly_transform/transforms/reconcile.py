"""reconcile: what was lost is found again. Every few minutes, in place of a scheduler that never sleeps.

It creates runs that no tick created, wakes those whose worker died, starts those that wait, notes each deadline that
was missed, and forgets what is old. Each step is a claim, or is noted once: done twice, it is as if done once.
"""

from datetime import datetime, timedelta

from shared.jobs import Job
from shared.log import log_event
from shared.runs import Interval, JobState, Row, Run, RunQuery

from ..alive import LEASE
from ..contract import Context
from ..orders import is_interval_of, wanted_run

# A tick is on its way for a while before it counts as missed.
_GRACE = timedelta(minutes=15)
_AT_ONCE = 200
# How long after its deadline a run is looked at, should this job itself have been away; what is older alarms nobody,
# such as the days for which a job that is resumed was paused.
_LATE_AT_MOST = timedelta(days=7)


def task(context: Context) -> list[Row]:
    """Go through every other job, and return a row for each that needed something."""
    rows = []
    for job in context.jobs.values():
        if job.id == context.job.id:
            continue
        context.keep_alive()
        row = _reconciled(context, job)
        if any(row.values()):
            rows.append({"job": job.id, **row})
    # Its own runs that were lost are woken by the end of this one.
    _requeue_lost(context, context.job, context.now())
    _forget(context, context.job)
    return rows


def _reconciled(context: Context, job: Job) -> Row:
    now = context.now()
    state = context.store.touch_job(job.id, now=now)
    lost = _requeue_lost(context, job, now)
    retired = _retire(context, job, now)
    due = [] if job.paused or state.paused_at is not None else _due(job, state, now)
    kept = _kept(context, job, due)
    return {
        "requeued": lost,
        "retired": retired,
        "created": _queue_due(context, job, due, kept, now),
        "late": _note_deadlines(context, job, due, kept, now),
        "woken": context.wake(job),
        "forgotten": _forget(context, job),
    }


def _requeue_lost(context: Context, job: Job, now: datetime) -> int:
    """Queue the runs whose lease ran out: their workers are gone, or may no longer finish them."""
    running = context.store.list_runs(RunQuery(job=job.id, state="running"), after=None, limit=_AT_ONCE)
    lost = [run for run in running if run.lease_expires_at is not None and run.lease_expires_at <= now]
    wanted = [wanted_run(job, run.interval, "catch-up", now) for run in lost]
    # Refused where the job is paused: those wait for it to be resumed.
    return sum(context.store.enqueue_run(run, now=now, reprocess="none").granted for run in wanted)


def _retire(context: Context, job: Job, now: datetime) -> int:
    """Fail the queued runs whose intervals the schedule no longer has, since it was changed: nobody can name them."""
    queued = context.store.list_runs(RunQuery(job=job.id, state="queued"), after=None, limit=_AT_ONCE)
    retired = 0
    for run in queued:
        if is_interval_of(job, run):
            continue
        wanted = wanted_run(job, run.interval, "manual", now)
        claim = context.store.claim_run(wanted, now=now, lease=LEASE, max_active=_AT_ONCE, reprocess="none")
        if claim.granted:
            error = "the schedule was changed, and no longer has this interval"
            context.store.fail_run(claim.run, error, retry_at=None, now=now)
            retired += 1
    return retired


def _due(job: Job, state: JobState, now: datetime) -> list[Interval]:
    """Return the intervals whose ticks should have come, oldest first: as many as may be caught up, or still be late.

    None from before the job was first seen, and none that is forgotten: it would be made, and forgotten again.
    """
    until, kept_from = now - _GRACE, _kept_from(job, now)
    since = state.first_seen_at or now
    if since >= until:
        return []
    late = timedelta(minutes=job.deadline_minutes or 0) + _LATE_AT_MOST
    ticks = job.ticks(since, until, job.max_catch_up_runs)
    ticks = max(ticks, job.ticks(max(since, until - late), until, _AT_ONCE), key=len)
    due = [job.interval_of_tick(tick) for tick in ticks]
    return [interval for interval in due if kept_from is None or interval.key >= kept_from]


def _kept(context: Context, job: Job, due: list[Interval]) -> dict[str, Run]:
    """Return the runs that there are of some intervals, by key."""
    if not due:
        return {}
    query = RunQuery(job=job.id, since_key=due[0].key)
    return {run.key: run for run in context.store.list_runs(query, after=None, limit=_AT_ONCE + len(due))}


def _queue_due(context: Context, job: Job, due: list[Interval], kept: dict[str, Run], now: datetime) -> int:
    """Queue the intervals that have no run, as far as the job's policy has them made up for, and the provisional ones.

    A run that began before its interval had settled may lack results; it is made again, once.
    """
    caught_up = {"none": [], "latest": due[-1:], "all": due[-job.max_catch_up_runs :]}[job.catch_up]
    queued = 0
    for interval in due:
        run = kept.get(interval.key)
        missing = (run is None or run.state == "missed") and interval in caught_up
        unsettled = run is not None and run.provisional and run.state in ("success", "failed")
        if unsettled or (missing and _may_come(context, job, interval.key)):
            wanted = wanted_run(job, interval, "catch-up", now)
            queued += context.store.enqueue_run(wanted, now=now, reprocess="none").granted
    return queued


def _may_come(context: Context, job: Job, key: str) -> bool:
    """Tell whether what a run comes after is there or on its way; it would wait in vain for what nobody makes."""
    before = [context.store.get_run(name, key) for name in job.after]
    return all(run is not None and run.state != "missed" for run in before)


def _note_deadlines(context: Context, job: Job, due: list[Interval], kept: dict[str, Run], now: datetime) -> list[str]:
    """Note each interval that should have succeeded by now; the line that is logged is there to be alerted on."""
    noted = []
    for interval in due:
        deadline, run = job.deadline_at(interval), kept.get(interval.key)
        done = run is not None and (run.deadline_missed_at or (run.state == "success" and not run.provisional))
        if deadline is None or done or not now - _LATE_AT_MOST < deadline <= now:
            continue
        if context.store.mark_deadline_missed(wanted_run(job, interval, "catch-up", now), now=now):
            noted.append(interval.key)
            log_event(
                "ERROR",
                f"job {job.id}: {interval.key} has not succeeded by its deadline",
                event="deadline_missed",
                late_job=job.id,
                late_key=interval.key,
                owner=job.owner,
                deadline_at=deadline.isoformat(),
            )
    return noted


def _forget(context: Context, job: Job) -> int:
    kept_from = _kept_from(job, context.now())
    return context.store.prune_runs(job.id, before_key=kept_from, limit=_AT_ONCE) if kept_from else 0


def _kept_from(job: Job, now: datetime) -> str | None:
    """Return the least key that is kept; None: all are."""
    return (now - timedelta(days=job.keep_days)).date().isoformat() if job.keep_days is not None else None
