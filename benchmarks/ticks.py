"""From a tick to a run that has begun: here, and in Airflow."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from scheduler.clock import LocalScheduler
from shared.jobs import read_jobs

from .airflow.server import Installation, running
from .children import run
from .delivered import Delivered, delivered
from .plans import Plan
from .subjects import function_source
from .waits import Ticked, Waits

TICK = "tick"
_JOB, _TICKING_JOB = "nightly", "reconcile"
_DAY = "2026-01-05"
_LEAD = timedelta(seconds=1)
_MAX_SECONDS = 60.0


class Ticking:
    """Measures both, each on an empty store of its own.

    Args:
        folder: Takes everything; an empty folder.
    """

    def __init__(self, folder: Path, plan: Plan, progress: Callable[[str], None]) -> None:
        self._folder = folder
        self._plan = plan
        self._progress = progress
        self._env = {"STORE_URL": f"sqlite:///{folder}/ticks.db", "STATE_DIR": str(folder)}
        progress("making Airflow's database")
        home = folder / "airflow"
        home.mkdir()
        self._installed = Installation(home)
        self._progress("trying both once")
        self._installed.test(_DAY)
        self._test()

    def round(self) -> Ticked:
        """Measure each by itself: neither runs while the other is measured.

        Raises:
            MeasurementError: One of them did not start, or a run did not begin.
        """
        self._progress("one day in one process, here and in Airflow")
        tests = self._test(), self._installed.test(_DAY).seconds
        self._progress("ticks here")
        ours = Waits(tests[0], *self._ours())
        self._progress("ticks in Airflow")
        return Ticked(ours, Waits(tests[1], *self._airflow()))

    def _test(self) -> float:
        return run([sys.executable, "-m", "scheduler", "test", _JOB, "--date", _DAY], self._env).seconds

    def _ours(self) -> tuple[list[float], list[float]]:
        with delivered(function_source("nightly_transform"), self._env, self._folder) as function:
            _message(function)  # connects, as the first run of Airflow's processes does
            messages = [_message(function) for _ in range(self._plan.messages)]
            return messages, [_tick(function) for _ in range(self._plan.ticks)]

    def _airflow(self) -> tuple[list[float], list[float]]:
        with running(self._installed) as airflow:
            airflow.trigger()
            messages = [airflow.trigger() for _ in range(self._plan.messages)]
            ticks, since = [], datetime.now(UTC)
            for _ in range(self._plan.ticks):
                seconds, since = airflow.tick(since)
                ticks.append(seconds)
            return messages, ticks


def _message(function: Delivered) -> float:
    """Ask for a run by a message, and return the seconds until it began."""
    published = function.publish({"job": _JOB, "key": _DAY, "force": True})
    return (_began(function, _JOB, _DAY, published) - published).total_seconds()


def _tick(function: Delivered) -> float:
    """Have the local scheduler's clock come to a tick, and return the seconds until the run began."""
    job = read_jobs()[_TICKING_JOB]
    now = datetime.now(UTC)
    # The last one again: the function, whose clock is right, lets one that is still to come wait.
    tick = job.last_tick(now)
    ahead = tick - now - _LEAD
    with _scheduling(function, lambda: datetime.now(UTC) + ahead):
        began = _began(function, job.id, job.interval_of_tick(tick).key, now)
    return (began - (tick - ahead)).total_seconds()


@contextmanager
def _scheduling(function: Delivered, now: Callable[[], datetime]) -> Iterator[None]:
    job = read_jobs()[_TICKING_JOB]

    def publish(data: bytes, moment: datetime) -> None:
        # So that one interval can be run again and again.
        function.publish_data(json.dumps({**json.loads(data), "force": True}).encode(), moment)

    scheduler = LocalScheduler([job], publish, now, lambda line: None)
    scheduler.start()
    try:
        yield
    finally:
        scheduler.stop()


def _began(function: Delivered, job: str, key: str, since: datetime) -> datetime:
    return datetime.fromisoformat(function.ended(job, key, since, _MAX_SECONDS)["started_at"])
