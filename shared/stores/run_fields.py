"""Runs and jobs as the named values that a row or a document holds, and back.

Times are whole microseconds since 1970; what is never searched is JSON text.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from shared.runs import Attempt, Interval, JobState, Run
from shared.stores.moments import from_us, optional_moment, optional_us, to_us


def run_fields(run: Run) -> dict[str, Any]:
    """Return what is kept of a run."""
    return {
        "job": run.job,
        "key": run.key,
        "interval_start_us": to_us(run.interval.start),
        "interval_end_us": to_us(run.interval.end),
        "time_zone": run.interval.time_zone,
        "trigger": run.trigger,
        "params": json.dumps(dict(run.params)),
        "state": run.state,
        "provisional": run.provisional,
        "attempt": run.attempt,
        "fence": run.fence,
        "lease_expires_at_us": optional_us(run.lease_expires_at),
        "not_before_us": optional_us(run.not_before),
        "max_active": run.max_active,
        "generation": run.generation,
        "plan": run.plan,
        "parts": run.parts,
        "output": json.dumps(dict(run.output)),
        "error": run.error,
        "deadline_at_us": optional_us(run.deadline_at),
        "deadline_missed_at_us": optional_us(run.deadline_missed_at),
        "code_version": run.code_version,
        "created_at_us": to_us(run.created_at),
        "started_at_us": optional_us(run.started_at),
        "ended_at_us": optional_us(run.ended_at),
        "attempts": json.dumps([_attempt_fields(each) for each in run.attempts], ensure_ascii=False),
    }


def run_of(fields: Mapping[str, Any]) -> Run:
    """Return the run of a row or a document."""
    start, end = from_us(fields["interval_start_us"]), from_us(fields["interval_end_us"])
    return Run(
        job=fields["job"],
        interval=Interval(fields["key"], start, end, fields["time_zone"]),
        trigger=fields["trigger"],
        created_at=from_us(fields["created_at_us"]),
        params=json.loads(fields["params"]),
        state=fields["state"],
        provisional=fields["provisional"],
        attempt=fields["attempt"],
        fence=fields["fence"],
        lease_expires_at=optional_moment(fields["lease_expires_at_us"]),
        not_before=optional_moment(fields["not_before_us"]),
        max_active=fields["max_active"],
        generation=fields["generation"],
        plan=fields["plan"],
        parts=fields["parts"],
        output=json.loads(fields["output"]),
        error=fields["error"],
        deadline_at=optional_moment(fields["deadline_at_us"]),
        deadline_missed_at=optional_moment(fields["deadline_missed_at_us"]),
        code_version=fields["code_version"],
        started_at=optional_moment(fields["started_at_us"]),
        ended_at=optional_moment(fields["ended_at_us"]),
        attempts=tuple(_attempt_of(each) for each in json.loads(fields["attempts"])),
    )


def job_fields(job: JobState) -> dict[str, Any]:
    """Return what is kept of a job."""
    return {
        "job": job.job,
        "first_seen_at_us": optional_us(job.first_seen_at),
        "paused_at_us": optional_us(job.paused_at),
        "active": json.dumps({key: to_us(ends_at) for key, ends_at in job.active.items()}),
    }


def job_of(fields: Mapping[str, Any]) -> JobState:
    """Return the job of a row or a document."""
    active = {key: from_us(ends_at) for key, ends_at in json.loads(fields["active"]).items()}
    first_seen_at, paused_at = optional_moment(fields["first_seen_at_us"]), optional_moment(fields["paused_at_us"])
    return JobState(fields["job"], first_seen_at, paused_at, active)


def _attempt_fields(attempt: Attempt) -> dict[str, Any]:
    return {**asdict(attempt), "started_at": to_us(attempt.started_at), "ended_at": optional_us(attempt.ended_at)}


def _attempt_of(fields: Mapping[str, Any]) -> Attempt:
    times = {"started_at": from_us(fields["started_at"]), "ended_at": optional_moment(fields["ended_at"])}
    return Attempt(**{**fields, **times})
