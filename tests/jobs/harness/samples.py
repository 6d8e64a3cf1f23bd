"""Jobs, results and code that the tests of regular jobs share."""

import json
import random
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.nightly_transform.contract import Context
from shared.jobs import Job
from shared.runs import Row, RunQuery
from tests.contract.factories import a_result

# The night in which most tests run: the tick at 02:10 covers the day before.
TICK = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
DAY = "2026-11-21"
LEASE = timedelta(minutes=11)
# Sums of these depend on the order in which floats are added.
MAGNITUDES = (1e16, 1.0, -1e16, 1e-300, 0.1, 3.3e38, -3.3e38, 5e-324, 1 / 3, -2.5e-7)


def job(job_id: str = "nightly", transform: str = "daily_summary", **changes: Any) -> Job:
    """Return a job that ticks at 02:10 in UTC."""
    given = {"schedule": "10 2 * * *", "time_zone": "Etc/UTC", "description": "", **changes}
    return Job(id=job_id, transform=transform, **given)


def reconcile(**changes: Any) -> Job:
    """Return the reconciler's job."""
    given = {"schedule": "*/10 * * * *", "catch_up": "none", "settle_minutes": 0, **changes}
    return job("reconcile", "reconcile", **given)


def fill(store: Any, days: Sequence[str], count: int, seed: int = 5) -> None:
    """Store results of mixed magnitude, spread over each day in UTC, its first and last moment among them."""
    chance = random.Random(seed)
    for day in days:
        start = datetime.fromisoformat(day).replace(tzinfo=UTC)
        length = timedelta(days=1) - timedelta(microseconds=1)
        moments = [timedelta(), length, *(length * chance.random() for _ in range(count - 2))]
        results = [
            a_result(
                id=f"{day}-{number}-{seed}",
                created_at=start + moment,
                model=chance.choice(["digits", "prices"]),
                version=chance.choice(["1", "2", "10"]),
                summary=json.dumps(_summary(chance)),
            )
            for number, moment in enumerate(moments)
        ]
        for first in range(0, count, 400):
            store.create_results(results[first : first + 400])


def _summary(chance: random.Random) -> dict[str, Any]:
    count = chance.randrange(1, 4)
    if chance.random() < 0.5:
        values = [chance.choice(MAGNITUDES) * chance.choice([1, chance.random()]) for _ in range(count)]
        return {"count": count, "values": values}
    classes = [str(chance.randrange(10)) for _ in range(count)]
    return {"count": count, "classes": classes, "scores": [chance.random() for _ in range(count)]}


def following(first: str) -> Callable[[Context], list[Row]]:
    """Return a task that comes after a job, and counts the rows that it wrote for the same interval."""

    def task(context: Context) -> list[Row]:
        key = context.run.key
        query = RunQuery(job=first, since_key=key, until_key=key + "~")
        found = context.store.list_summaries(query, after=None, limit=1)
        return [{"key": key, "seen": [len(summary.rows) for summary in found]}]

    return task


class Gauge:
    """A task that says how many of it were under way at once.

    Each waits until as many as may have been there together, and then a moment more, so that one too many is seen.
    """

    def __init__(self, expected: int) -> None:
        self.most = 0
        self.calls: list[str] = []
        self._expected = expected
        self._active = 0
        self._changed = threading.Condition()

    def __call__(self, context: Context) -> list[Row]:
        with self._changed:
            self.calls.append(context.run.key)
            self._active += 1
            self.most = max(self.most, self._active)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.most >= self._expected, 10)
            self._changed.wait_for(lambda: self._active > self._expected, 0.02)
        with self._changed:
            self._active -= 1
        return [{"key": context.run.key}]


class Held:
    """A task that stays in the middle of its work until it is let go."""

    def __init__(self) -> None:
        self.entered, self.released = threading.Event(), threading.Event()
        self.calls = 0

    def __call__(self, context: Context) -> list[Row]:
        self.calls += 1
        self.entered.set()
        assert self.released.wait(30), "nobody let it go"
        return [{"key": context.run.key}]


class Failing:
    """A task that raises until it has been called so often."""

    def __init__(self, error: Exception, times: int = 10**6) -> None:
        self.calls = 0
        self._error = error
        self._times = times

    def __call__(self, context: Context) -> list[Row]:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return [{"key": context.run.key}]
