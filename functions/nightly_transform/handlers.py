"""What people and programs ask of jobs and runs, and the answers."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, get_args

from shared.errors import ConflictError, InvalidRequestError, NotFoundError
from shared.jobs import Job, find_job
from shared.paging import PageTokens, page_size, single_values
from shared.routing import Request, Response, json_response
from shared.runs import Claim, Interval, Run, RunQuery, RunState

from .dependencies import Dependencies
from .orders import check_members, flag, interval_of, params_of, read_object
from .runner import Runner
from .views import job_view, letter_view, run_view, summary_view, whole_run_view

_LIST_PARAMETERS = ("job", "since", "until", "page_size", "page_token")


class JobsApi:
    """Jobs, runs and summaries.

    Args:
        given: The world around.
        runner: Does the work.
        tokens: Signs where a page ended.
    """

    def __init__(self, given: Dependencies, runner: Runner, tokens: PageTokens) -> None:
        self._given = given
        self._runner = runner
        self._tokens = tokens

    def list_jobs(self, request: Request) -> Response:
        """Answer every job with its schedule and next tick."""
        single_values(request.query, ())
        return json_response({"jobs": [self._job(job) for job in self._given.jobs.values()]})

    def pause(self, request: Request) -> Response:
        """Have a job's ticks, backfills and catch-ups wait; what is under way goes on."""
        return self._set_paused(request, paused=True)

    def resume(self, request: Request) -> Response:
        """Let a job go on, with what is queued first."""
        return self._set_paused(request, paused=False)

    def trigger(self, request: Request) -> Response:
        """Run a job now, over the interval `key` names or else the last one that ended."""
        job = find_job(self._given.jobs, request.values["job"])
        order = read_object(request.body)
        check_members(order, {"key", "params", "force"})
        key = order.get("key")
        interval = self._last_interval(job) if key is None else interval_of(job, key)
        params, force = params_of(job, order.get("params", {})), flag("force", order.get("force", False))
        return self._run_now(job, interval, params, force=force)

    def rerun(self, request: Request) -> Response:
        """Run one interval again, whatever came of it."""
        job = find_job(self._given.jobs, request.values["job"])
        order = read_object(request.body)
        check_members(order, {"params"})
        interval = interval_of(job, request.values["key"])
        return self._run_now(job, interval, params_of(job, order.get("params", {})), force=True)

    def get_run(self, request: Request) -> Response:
        """Answer one run with its attempts and parts, or 404."""
        run = self._given.store.get_run(request.values["job"], request.values["key"])
        if run is None:
            raise NotFoundError("this job has no run of this key", reason="RUN_NOT_FOUND")
        parts = [] if run.plan is None else self._given.store.list_parts(run, partials=False)
        return json_response(whole_run_view(run, parts))

    def list_runs(self, request: Request) -> Response:
        """Answer a page of runs, newest interval first."""
        values = single_values(request.query, (*_LIST_PARAMETERS, "state"))
        query = replace(_query(values), state=_state(values))
        size, after = self._page("runs", query, values)
        runs = self._given.store.list_runs(query, after=after, limit=size + 1)
        last = (runs[size - 1].key, runs[size - 1].job) if len(runs) > size else None
        return self._listed("runs", query, [run_view(run) for run in runs[:size]], last)

    def list_summaries(self, request: Request) -> Response:
        """Answer a page of summaries, newest interval first."""
        values = single_values(request.query, _LIST_PARAMETERS)
        query = _query(values)
        size, after = self._page("summaries", query, values)
        found = self._given.store.list_summaries(query, after=after, limit=size + 1)
        last = (found[size - 1].key, found[size - 1].job) if len(found) > size else None
        return self._listed("summaries", query, [summary_view(summary) for summary in found[:size]], last)

    def list_dead_letters(self, request: Request) -> Response:
        """Answer the newest messages that nobody could understand."""
        values = single_values(request.query, ("page_size",))
        found = self._given.store.list_dead_letters(after=None, limit=page_size(values.get("page_size")))
        return json_response({"dead_letters": [letter_view(letter) for letter in found]})

    def _run_now(self, job: Job, interval: Interval, params: Mapping[str, Any], *, force: bool) -> Response:
        if interval.start > self._given.now():
            raise InvalidRequestError(f"{interval.key}: expected an interval that has begun", reason="INVALID_KEY")
        unmet = self._runner.dispatcher.unmet(job, interval.key)
        if unmet and not force:
            expected = " and ".join(unmet)
            raise ConflictError(
                f"{job.id} comes after {expected}: expected a success for {interval.key}; force runs it all the same",
                reason="DEPENDENCIES_NOT_MET",
            )
        wanted = self._runner.wanted(job, interval, "manual", params)
        claim = self._runner.run(job, wanted, reprocess="completed" if force else "failed")
        if claim.refusal == "running":
            raise ConflictError("this run is under way already", reason="RUN_IN_PROGRESS")
        return _answer(claim)

    def _set_paused(self, request: Request, *, paused: bool) -> Response:
        single_values(request.query, ())
        job = find_job(self._given.jobs, request.values["job"])
        self._given.store.set_paused(job.id, paused=paused, now=self._given.now())
        if not paused:
            self._runner.dispatcher.dispatch(job)
        return json_response(self._job(job))

    def _job(self, job: Job) -> dict[str, Any]:
        now = self._given.now()
        return job_view(job, self._given.store.touch_job(job.id, now=now), now)

    def _last_interval(self, job: Job) -> Interval:
        return job.interval_of_tick(job.last_tick(self._given.now()))

    def _page(self, name: str, query: RunQuery, values: Mapping[str, str]) -> tuple[int, tuple[str, str] | None]:
        after = None
        if values.get("page_token"):
            key, job = self._tokens.decode(_question(name, query), values["page_token"])
            after = (str(key), str(job))
        return page_size(values.get("page_size")), after

    def _listed(
        self, name: str, query: RunQuery, items: list[dict[str, Any]], last: tuple[str, str] | None
    ) -> Response:
        token = self._tokens.encode(_question(name, query), last) if last else ""
        return json_response({name: items, "next_page_token": token})


def _answer(claim: Claim) -> Response:
    run: Run = claim.run
    # Not done yet: it waits for its turn, or goes on in parts.
    status = 202 if run.state in ("queued", "running") else 200
    return json_response({"ran": claim.granted, "run": run_view(run)}, status)


def _question(name: str, query: RunQuery) -> dict[str, Any]:
    return {name: [query.job, query.since_key, query.until_key, query.state]}


def _query(values: Mapping[str, str]) -> RunQuery:
    return RunQuery(values.get("job"), _day(values, "since"), _day(values, "until"))


def _state(values: Mapping[str, str]) -> RunState | None:
    for state in get_args(RunState):
        if values.get("state") == state:
            if "job" not in values:
                raise InvalidRequestError("state: expected a job beside it", reason="INVALID_STATE")
            known: RunState = state
            return known
    if "state" in values:
        raise InvalidRequestError(f"state: expected one of {', '.join(get_args(RunState))}", reason="INVALID_STATE")
    return None


def _day(values: Mapping[str, str], name: str) -> str | None:
    text = values.get(name)
    try:
        if text is not None and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
            raise ValueError
        return text and date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidRequestError(f"{name}: expected a day such as 2026-11-21", reason="INVALID_TIME") from None
