"""nightly-transform in this process, over a real store, with a clock and a broker that the test holds."""

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.nightly_transform.api import Api
from functions.nightly_transform.dependencies import Dependencies
from functions.nightly_transform.transforms import find_code
from shared.errors import ServiceError
from shared.jobs import Job
from shared.paging import PageTokens
from shared.routing import Request, Response
from shared.runs import Run, RunQuery

from .broker import Broker, Message


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self._lock = threading.Lock()

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        """Move it on."""
        with self._lock:
            self.now += by


@dataclass(frozen=True)
class Answer:
    """What the function answered: the JSON value of an error has its `reason`."""

    status: int
    value: Any
    headers: Mapping[str, str]


class World:
    """One function, its store, its clock and its broker.

    Args:
        store: An open store.
        jobs: The jobs there are.
        clock: Its time.
        code: The code of jobs by the name they give in `transform`; others are those that are shipped.
        topic: Whether there is a topic to publish to.
        publish: Takes what is published in the broker's place.
        code_version: Which deployment this function is of.
    """

    def __init__(
        self,
        store: Any,
        jobs: Iterable[Job],
        clock: Clock,
        *,
        code: Mapping[str, Any] | None = None,
        topic: bool = True,
        publish: Callable[[Mapping[str, Any]], Any] | None = None,
        code_version: str = "test",
    ) -> None:
        self.store, self.clock, self.broker = store, clock, Broker(clock)
        self.jobs = {job.id: job for job in jobs}
        codes = code or {}
        given = Dependencies(
            jobs=self.jobs,
            store=store,
            results=store,
            files=_Nothing(),
            predict=_Nothing(),
            now=clock,
            publish=(publish or self.broker.publish) if topic else None,
            code_version=code_version,
        )
        self._api = Api(given, PageTokens(b"k" * 32), lambda job: codes.get(job.transform) or find_code(job))

    def push(self, body: bytes) -> Answer:
        """Push a body, as Pub/Sub would."""
        return _answer(self._api.deliveries.receive, Request("POST", "/", {}, {}, {}, body))

    def receive(self, body: bytes) -> int:
        """Push a body and return the status, which is all that Pub/Sub looks at."""
        return self.push(body).status

    def backfill(self, job: str, **order: Any) -> Answer:
        """Ask for a backfill."""
        return _answer(self._api.backfills.backfill, _request(order, job=job))

    def trigger(self, job: str, **order: Any) -> Answer:
        """Have a job run now."""
        return _answer(self._api.jobs.trigger, _request(order, job=job))

    def rerun(self, job: str, key: str, **order: Any) -> Answer:
        """Have one run run again."""
        return _answer(self._api.jobs.rerun, _request(order, job=job, key=key))

    def pause(self, job: str) -> Answer:
        """Pause a job."""
        return _answer(self._api.jobs.pause, _request({}, job=job))

    def resume(self, job: str) -> Answer:
        """Let a paused job go on."""
        return _answer(self._api.jobs.resume, _request({}, job=job))

    def tick(self, job: str, at: datetime | None = None) -> Message:
        """Publish what Cloud Scheduler does when a job's schedule ticks."""
        return self.broker.publish({"job": job}, at or self.clock())

    def deliver(self, message: Message) -> Answer:
        """Deliver a message once and return what was answered."""
        answers: list[Answer] = []

        def receive(body: bytes) -> int:
            answers.append(self.push(body))
            return answers[-1].status

        self.broker.deliver(message, receive)
        return answers[0]

    def drain(self, **how: Any) -> None:
        """Deliver until nothing is pending; see `Broker.drain`."""
        self.broker.drain(self.receive, **how)

    def reconcile(self) -> Any:
        """Let the reconciler's schedule tick, now or, if it has run for this tick, at the next; return its rows."""
        job = self.jobs["reconcile"]
        tick = job.last_tick(self.clock())
        if self.store.get_run(job.id, job.interval_of_tick(tick).key):
            tick = self.clock.now = job.next_tick(self.clock())
        answer = self.deliver(self.tick(job.id))
        assert answer.status == 200, answer
        return self.rows().get((job.id, job.interval_of_tick(tick).key))

    def run(self, job: str, key: str) -> Run:
        """Return a run that is there."""
        run: Run | None = self.store.get_run(job, key)
        assert run is not None, f"there is no run {job} {key}"
        return run

    def runs(self, job: str | None = None) -> list[Run]:
        """Return every run, of one job or all, oldest key first."""
        return runs_of(self.store, job)

    def states(self, job: str) -> dict[str, str]:
        """Return each run's state by key, oldest first."""
        return {run.key: run.state for run in self.runs(job)}

    def rows(self) -> dict[tuple[str, str], list[Any]]:
        """Return every visible summary's rows, by job and key."""
        return rows_of(self.store)

    def check_settled(self) -> None:
        """See that no run is left behind, and no place taken."""
        check_settled(self.store, self.jobs, self.clock())


def runs_of(store: Any, job: str | None = None) -> list[Run]:
    """Return every run, of one job or all, oldest key first."""
    return _all(lambda after: store.list_runs(RunQuery(job=job), after=after, limit=500))[::-1]


def rows_of(store: Any) -> dict[tuple[str, str], list[Any]]:
    """Return every visible summary's rows, by job and key."""
    found = _all(lambda after: store.list_summaries(RunQuery(), after=after, limit=500))
    rows = {(summary.job, summary.key): list(summary.rows) for summary in found}
    assert len(rows) == len(found), "two generations of a summary are visible"
    return rows


def check_settled(store: Any, jobs: Iterable[str], now: datetime) -> None:
    """See that no run is left behind, and no place taken."""
    left = [(run.job, run.key, run.state) for run in runs_of(store) if run.state in ("queued", "running")]
    assert not left, f"left behind: {left}"
    assert {job: dict(store.touch_job(job, now=now).active) for job in jobs} == {job: {} for job in jobs}


def _all(page: Callable[[tuple[str, str] | None], list[Any]]) -> list[Any]:
    found: list[Any] = []
    while more := page((found[-1].key, found[-1].job) if found else None):
        found += more
    return found


def _request(order: Mapping[str, Any], **values: str) -> Request:
    return Request("POST", "/", values, {}, {}, json.dumps(order).encode() if order else b"")


def _answer(handler: Callable[[Request], Response], request: Request) -> Answer:
    try:
        response = handler(request)
    except ServiceError as error:
        value = {"reason": error.reason, "message": error.message}
        return Answer(error.http_status, value, error.headers)
    assert isinstance(response.body, bytes)
    return Answer(response.status, json.loads(response.body), response.headers)


class _Nothing:
    """What no job of these tests needs."""
