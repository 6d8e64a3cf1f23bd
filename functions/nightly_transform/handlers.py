"""Messages and questions into runs, and runs into answers."""

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from typing import Any

from shared.errors import ConflictError, InvalidRequestError, NotFoundError, UnavailableError
from shared.events import parse_message
from shared.jobs import Job, find_job
from shared.log import note
from shared.paging import PageTokens, page_size, single_values
from shared.ports import RunStore
from shared.records import Claim, Interval, Run, RunQuery, Summary
from shared.routing import Request, Response, json_response
from shared.strict_json import canonical, kind_of, loads

from .runner import Runner

_LIST_PARAMETERS = ("job", "since", "until", "page_size", "page_token")
# Attributes are strings and may be anybody's; these are read where the data does not say.
_ATTRIBUTES = ("job", "key", "force")
# Parameters are shown with every run in a list.
_MAX_PARAMS_BYTES = 16_384


class JobsApi:
    """What nightly-transform answers.

    Args:
        jobs: The regular jobs, by id.
        runner: Does the work.
        runs: Where runs and summaries are read.
        tokens: Signs where a page ended.
        now: The clock.
    """

    def __init__(
        self,
        jobs: Mapping[str, Job],
        runner: Runner,
        runs: RunStore,
        tokens: PageTokens,
        now: Callable[[], datetime],
    ) -> None:
        self._jobs = jobs
        self._runner = runner
        self._runs = runs
        self._tokens = tokens
        self._now = now

    def receive(self, request: Request) -> Response:
        """Take one Pub/Sub delivery: 2xx acknowledges it, anything else has it delivered again."""
        message = parse_message(request.body)
        attributes = {name: message.attributes[name] for name in _ATTRIBUTES if name in message.attributes}
        order = {**attributes, **message.data}
        job = find_job(self._jobs, str(order.get("job", "")))
        # The publish time is the same on every redelivery, so a late one still means the tick it was made for.
        interval = self._interval(job, order.get("key"), message.publish_time or self._now())
        claim = self._runner.run(
            job, interval, "schedule", _params(order.get("params", {})), force=_force(order.get("force", False))
        )
        if not claim.granted and claim.run.state == "running":
            raise UnavailableError("this run is under way elsewhere", reason="RUN_IN_PROGRESS", retry_after_seconds=30)
        if claim.run.state == "queued":
            raise UnavailableError("the attempt failed and will be made again", reason="RUN_FAILED")
        return _answer(claim)

    def trigger(self, request: Request) -> Response:
        """Run a job now, over the interval `key` names or else the last one that ended."""
        job = find_job(self._jobs, request.values["job"])
        order = loads(request.body) if request.body else {}
        if not isinstance(order, dict) or not order.keys() <= {"key", "params", "force"}:
            raise InvalidRequestError("expected an object with some of key, params and force")
        interval = self._interval(job, order.get("key"), self._now())
        if interval.start > self._now():
            raise InvalidRequestError(f"{interval.key}: expected a day that has begun", reason="INVALID_KEY")
        claim = self._runner.run(
            job, interval, "manual", _params(order.get("params", {})), force=_force(order.get("force", False))
        )
        if not claim.granted and claim.run.state == "running":
            raise ConflictError("this run is under way already", reason="RUN_IN_PROGRESS")
        return _answer(claim)

    def list_jobs(self, request: Request) -> Response:
        """Answer every job with its schedule and next tick."""
        single_values(request.query, ())
        now = self._now()
        return json_response({"jobs": [_job(job, now) for job in self._jobs.values()]})

    def get_run(self, request: Request) -> Response:
        """Answer one run, or 404."""
        run = self._runs.get_run(request.values["job"], request.values["key"])
        if run is None:
            raise NotFoundError("this job has no run of this key", reason="RUN_NOT_FOUND")
        return json_response(_run(run))

    def list_runs(self, request: Request) -> Response:
        """Answer a page of runs, newest interval first."""
        query, size, after = self._page("runs", request)
        runs = self._runs.list_runs(query, after=after, limit=size + 1)
        last = (runs[size - 1].key, runs[size - 1].job) if len(runs) > size else None
        return self._listed("runs", query, [_run(run) for run in runs[:size]], last)

    def list_summaries(self, request: Request) -> Response:
        """Answer a page of summaries, newest interval first."""
        query, size, after = self._page("summaries", request)
        found = self._runs.list_summaries(query, after=after, limit=size + 1)
        last = (found[size - 1].key, found[size - 1].job) if len(found) > size else None
        return self._listed("summaries", query, [_summary(summary) for summary in found[:size]], last)

    def _interval(self, job: Job, key: object, at: datetime) -> Interval:
        if key is None:
            return job.interval_of_tick(job.last_tick(at))
        if not isinstance(key, str):
            raise InvalidRequestError(f"key: expected a string, got {kind_of(key)}", reason="INVALID_KEY")
        return job.interval(key)

    def _page(self, name: str, request: Request) -> tuple[RunQuery, int, tuple[str, str] | None]:
        values = single_values(request.query, _LIST_PARAMETERS)
        query = RunQuery(values.get("job"), _day(values, "since"), _day(values, "until"))
        after = None
        if values.get("page_token"):
            key, job = self._tokens.decode(_question(name, query), values["page_token"])
            after = (str(key), str(job))
        return query, page_size(values.get("page_size")), after

    def _listed(
        self, name: str, query: RunQuery, items: list[dict[str, Any]], last: tuple[str, str] | None
    ) -> Response:
        token = self._tokens.encode(_question(name, query), last) if last else ""
        return json_response({name: items, "next_page_token": token})


def _question(name: str, query: RunQuery) -> dict[str, Any]:
    return {name: [query.job, query.since_key, query.until_key]}


def _day(values: Mapping[str, str], name: str) -> str | None:
    text = values.get(name)
    try:
        if text is not None and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        return text and date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidRequestError(f"{name}: expected a day such as 2026-11-21", reason="INVALID_TIME") from None


def _params(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"params: expected an object, got {kind_of(value)}", reason="INVALID_PARAMS")
    if len(canonical(value)) > _MAX_PARAMS_BYTES:
        raise InvalidRequestError(f"params: expected at most {_MAX_PARAMS_BYTES} bytes", reason="INVALID_PARAMS")
    return value


def _force(value: object) -> bool:
    if type(value) is not bool and value not in ("true", "false"):
        raise InvalidRequestError("force: expected true or false", reason="INVALID_FORCE")
    return value is True or value == "true"


def _answer(claim: Claim) -> Response:
    run = claim.run
    note(job=run.job, key=run.key, state=run.state, ran=claim.granted)
    return json_response({"ran": claim.granted, "run": _run(run)})


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None


def _job(job: Job, now: datetime) -> dict[str, Any]:
    return {
        "id": job.id,
        "description": job.description,
        "schedule": job.schedule,
        "time_zone": job.time_zone,
        "transform": job.transform,
        "next_tick": _time(job.next_tick(now)),
    }


def _run(run: Run) -> dict[str, Any]:
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
        "output": dict(run.output),
        "error": run.error,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "job": summary.job,
        "key": summary.key,
        "provisional": summary.provisional,
        "rows": list(summary.rows),
        "created_at": _time(summary.created_at),
    }
