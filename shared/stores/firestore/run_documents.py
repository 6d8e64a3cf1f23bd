"""Runs as Firestore documents, and back; see `documents` for how times and values are kept."""

import json
from datetime import datetime
from typing import Any
from urllib.parse import quote

from shared.records import Interval, Run
from shared.stores.moments import from_us, to_us


def run_id(job: str, key: str) -> str:
    """Return the id of a run's document: one for each (job, key), and never one that Firestore reserves."""
    return "@".join(quote(part, safe="", errors="surrogatepass").replace("_", "%5F") for part in (job, key))


def run_document(run: Run) -> dict[str, Any]:
    """Return a run's document."""
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
        "lease_expires_at_us": _us(run.lease_expires_at),
        "generation": run.generation,
        "output": json.dumps(dict(run.output)),
        "error": run.error,
        "created_at_us": to_us(run.created_at),
        "started_at_us": _us(run.started_at),
        "ended_at_us": _us(run.ended_at),
    }


def run_of(fields: dict[str, Any]) -> Run:
    """Return the run of a document."""
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
        lease_expires_at=_moment(fields["lease_expires_at_us"]),
        generation=fields["generation"],
        output=json.loads(fields["output"]),
        error=fields["error"],
        started_at=_moment(fields["started_at_us"]),
        ended_at=_moment(fields["ended_at_us"]),
    )


def _us(moment: datetime | None) -> int | None:
    return to_us(moment) if moment else None


def _moment(microseconds: int | None) -> datetime | None:
    return from_us(microseconds) if microseconds is not None else None
