"""Jobs, runs and summaries as JSON."""

from datetime import datetime
from typing import Any

from shared.jobs import Job
from shared.runs import Attempt, DeadLetter, JobState, Part, Run, Summary


def job_view(job: Job, state: JobState, now: datetime) -> dict[str, Any]:
    """Return a job as jobs.yaml declares it, when it ticks next, and whether it is paused."""
    return {
        "id": job.id,
        "description": job.description,
        "owner": job.owner,
        "schedule": job.schedule,
        "time_zone": job.time_zone,
        "transform": job.transform,
        "params": dict(job.params),
        "after": list(job.after),
        "max_attempts": job.max_attempts,
        "backoff_seconds": job.backoff_seconds,
        "deadline_minutes": job.deadline_minutes,
        "catch_up": job.catch_up,
        "max_catch_up_runs": job.max_catch_up_runs,
        "max_active": job.max_active,
        "slices": job.slices,
        "keep_days": job.keep_days,
        "settle_minutes": job.settle_minutes,
        "next_tick": _time(job.next_tick(now)),
        "paused": state.paused_at is not None,
        "paused_at": _time(state.paused_at),
        "active": sorted(key for key, lease in state.active.items() if lease > now),
    }


def run_view(run: Run) -> dict[str, Any]:
    """Return a run as lists show it."""
    return {
        "job": run.job,
        "key": run.key,
        "interval_start": _time(run.interval.start),
        "interval_end": _time(run.interval.end),
        "time_zone": run.interval.time_zone,
        "trigger": run.trigger,
        "params": dict(run.params),
        "state": run.state,
        "provisional": run.provisional,
        "attempt": run.attempt,
        "fence": run.fence,
        "generation": run.generation,
        "slices": run.parts,
        "output": dict(run.output),
        "error": run.error,
        "code_version": run.code_version,
        "deadline_at": _time(run.deadline_at),
        "deadline_missed_at": _time(run.deadline_missed_at),
        "not_before": _time(run.not_before),
        "lease_expires_at": _time(run.lease_expires_at),
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
    }


def whole_run_view(run: Run, parts: list[Part]) -> dict[str, Any]:
    """Return a run with its attempts and parts."""
    return {
        **run_view(run),
        "attempts": [_attempt(attempt) for attempt in run.attempts],
        "parts": [_part(part) for part in parts],
    }


def summary_view(summary: Summary) -> dict[str, Any]:
    """Return what a run wrote."""
    return {
        "job": summary.job,
        "key": summary.key,
        "provisional": summary.provisional,
        "rows": list(summary.rows),
        "created_at": _time(summary.created_at),
    }


def letter_view(letter: DeadLetter) -> dict[str, Any]:
    """Return a message that nobody could understand."""
    return {
        "id": letter.id,
        "received_at": _time(letter.received_at),
        "reason": letter.reason,
        "body": letter.body,
        "body_sha256": letter.body_sha256,
        "body_bytes": letter.body_bytes,
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "fence": attempt.fence,
        "trigger": attempt.trigger,
        "code_version": attempt.code_version,
        "started_at": _time(attempt.started_at),
        "ended_at": _time(attempt.ended_at),
        "outcome": attempt.outcome,
        "error": attempt.error,
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "index": part.index,
        "start": _time(part.start),
        "end": _time(part.end),
        "shard": part.shard,
        "attempt": part.attempt,
        "done": part.done,
        "documents": part.documents,
        "error": part.error,
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
