"""A stretch of intervals, asked for at once: each that needs it is queued, and woken as places come free."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from shared.errors import ConflictError, InvalidRequestError
from shared.jobs import Job, find_job
from shared.routing import Request, Response, json_response
from shared.runs import Interval, JobState, Reprocess, Run, RunQuery
from shared.stores.claims import enqueue

from .dependencies import Dependencies
from .orders import check_members, flag, params_of, read_object, reprocess_of, whole
from .runner import Runner

_MEMBERS = {"from", "to", "reprocess", "max_active", "params", "dry_run"}
_RUNS_AT_ONCE = 500


class Backfills:
    """Queues intervals; the queue is in the store, so a crash in between loses none and doubles none."""

    def __init__(self, given: Dependencies, runner: Runner) -> None:
        self._given = given
        self._runner = runner

    def backfill(self, request: Request) -> Response:
        """Answer what becomes of each interval between `from` and `to`, both included, oldest first."""
        job = find_job(self._given.jobs, request.values["job"])
        order = read_object(request.body)
        check_members(order, _MEMBERS)
        intervals = self._intervals(job, order)
        reprocess = reprocess_of(order.get("reprocess", "none"))
        params = params_of(job, order.get("params", {}))
        max_active = order.get("max_active")
        if max_active is not None:
            whole("max_active", max_active, 1, 100)
        dry_run = flag("dry_run", order.get("dry_run", False))
        if not dry_run:
            self._check_may_begin(job)
        kept = {run.key: run for run in self._kept(job, intervals)}
        runs = []
        for interval in intervals:
            wanted = replace(self._runner.wanted(job, interval, "backfill", params), max_active=max_active)
            runs.append(self._one(wanted, kept.get(interval.key), reprocess, dry_run=dry_run))
        if not dry_run:
            self._runner.dispatcher.dispatch(job)
        return json_response({"runs": runs})

    def _one(self, wanted: Run, kept: Run | None, reprocess: Reprocess, *, dry_run: bool) -> dict[str, Any]:
        now = self._given.now()
        if dry_run:
            refusal = enqueue(kept, JobState(wanted.job), wanted, now=now, reprocess=reprocess).refusal
        else:
            refusal = self._given.store.enqueue_run(wanted, now=now, reprocess=reprocess).refusal
        return {"key": wanted.key, "state": kept and kept.state, "action": "skip" if refusal else "queue"}

    def _intervals(self, job: Job, order: dict[str, Any]) -> list[Interval]:
        for name in ("from", "to"):
            if not isinstance(order.get(name), str):
                raise InvalidRequestError(f"{name}: expected a day such as 2026-11-21", reason="INVALID_KEY")
        intervals = job.keys_between(order["from"], order["to"])
        if not intervals or intervals[-1].start > self._given.now():
            raise InvalidRequestError("to: expected an interval that has begun", reason="INVALID_KEY")
        return intervals

    def _check_may_begin(self, job: Job) -> None:
        if self._given.publish is None:
            raise ConflictError("PROJECT_ID is not set: nobody would deliver what wakes the runs", reason="NO_TOPIC")
        if self._given.store.touch_job(job.id, now=self._given.now()).paused_at is not None:
            raise ConflictError(f"job {job.id} is paused: resume it first", reason="JOB_PAUSED")

    def _kept(self, job: Job, intervals: list[Interval]) -> Iterator[Run]:
        # No key is between the last one and that with a letter more.
        query = RunQuery(job=job.id, since_key=intervals[0].key, until_key=intervals[-1].key + "~")
        after: tuple[str, str] | None = None
        while page := self._given.store.list_runs(query, after=after, limit=_RUNS_AT_ONCE):
            yield from page
            after = (page[-1].key, page[-1].job)
