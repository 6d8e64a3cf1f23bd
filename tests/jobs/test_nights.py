"""Acceptance test 5 and the rows T1 to T6 on time: every night of a year is run once, and every result is in one."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest

from scheduler.clock import LocalScheduler
from shared.errors import UnavailableError
from tests.contract.factories import a_result
from tests.jobs.harness.points import WatchedStore
from tests.jobs.harness.samples import DAY, TICK, Held, job
from tests.jobs.harness.world import World

ONE_DAY, HOUR, INSTANT = timedelta(days=1), timedelta(hours=1), timedelta(microseconds=1)


class Stepping:
    """A clock that stands a moment after a job's next tick, whenever the local scheduler has fired the last one."""

    def __init__(self, nightly, start, count, publish):
        self.done = threading.Event()
        self._job, self._left, self._publish = nightly, count, publish
        self._moments = [start, nightly.next_tick(start) + timedelta(milliseconds=3)]

    def __call__(self):
        return self._moments.pop(0) if len(self._moments) > 1 else self._moments[0]

    def publish(self, body, at):
        """Take a message, and let the time pass until the next."""
        self._publish(json.loads(body), at)
        self._left -= 1
        if self._left:
            self._moments = [self._job.next_tick(at) + timedelta(milliseconds=3)]
        else:
            self.done.set()


def ticked(here, start, count):
    """Have the local scheduler fire a job so often, and deliver each message from when it was published."""
    (nightly,) = here.jobs.values()
    clock = Stepping(nightly, start, count, here.broker.publish)
    scheduler = LocalScheduler([nightly], clock.publish, clock, pytest.fail)
    scheduler.start()
    assert clock.done.wait(60)
    scheduler.stop()
    for message in here.broker.take():
        here.clock.now = message.published_at
        here.broker.pending = [message]
        here.drain()


def edges(nightly, days):
    """Return a result for the first and the last moment of each day."""
    for day in days:
        interval = nightly.interval(day.isoformat())
        for moment in (interval.start, interval.end - INSTANT):
            yield a_result(created_at=moment)


@pytest.mark.parametrize(
    ("zone", "schedule", "short", "long"),
    [
        # 02:30 is skipped on the one night, and in Berlin comes twice on the other.
        ("America/New_York", "30 2 * * *", "2026-03-08", "2026-11-01"),
        ("Europe/Berlin", "30 2 * * *", "2026-03-29", "2026-10-25"),
    ],
)
def test_05_a_year_of_ticks_is_365_nights_one_after_the_other(world, zone, schedule, short, long):
    """T2 and T6: nothing between two nights, one of 23 and one of 25 hours, the edges of each day in that day alone."""
    nightly = job(schedule=schedule, time_zone=zone)
    here = world(nightly)
    days = [date(2025, 12, 31) + n * ONE_DAY for n in range(367)]
    results = list(edges(nightly, days))
    for first in range(0, len(results), 400):
        here.store.create_results(results[first : first + 400])

    ticked(here, nightly.interval("2026-01-01").end, 365)

    runs = here.runs("nightly")
    assert [run.key for run in runs] == [day.isoformat() for day in days[1:366]]
    assert [b.interval.start - a.interval.end for a, b in pairwise(runs)] == [timedelta()] * 364
    hours = {run.key: (run.interval.end - run.interval.start) // HOUR for run in runs}
    assert {key: count for key, count in hours.items() if count != 24} == {short: 23, long: 25}
    assert {(run.state, run.attempt, run.provisional, run.output["documents"]) for run in runs} == {
        ("success", 1, False, 2)
    }


@pytest.mark.parametrize(
    ("zone", "schedule", "night", "hours"),
    [
        ("America/New_York", "30 1 * * *", "2026-11-01", 25),  # the tick's own time comes twice
        ("America/Havana", "5 0 * * *", "2026-03-08", 23),  # midnight is skipped
        ("America/Havana", "30 0 * * *", "2026-11-01", 25),  # the hour after midnight comes twice
        ("Australia/Lord_Howe", "10 2 * * *", "2026-04-05", 24.5),  # by half an hour
        ("Africa/Casablanca", "30 2 * * *", "2026-02-15", 25),  # the other way round, for Ramadan
        ("Etc/UTC", "30 2 * * *", "2026-03-29", 24),
    ],
)
def test_t2_nights_around_a_change_of_clocks_are_each_run_once(world, zone, schedule, night, hours):
    """Ten ticks make ten runs, without a gap or a double, and the night's hours are those it had."""
    nightly = job(schedule=schedule, time_zone=zone)
    here = world(nightly)
    first = date.fromisoformat(night) - 5 * ONE_DAY
    days = [first + n * ONE_DAY for n in range(10)]
    here.store.create_results(list(edges(nightly, [first - ONE_DAY, *days, days[-1] + ONE_DAY])))

    ticked(here, nightly.interval(first.isoformat()).end, 10)

    runs = here.runs("nightly")
    assert [run.key for run in runs] == [day.isoformat() for day in days]
    assert [run.output["documents"] for run in runs] == [2] * 10
    lengths = {run.key: (run.interval.end - run.interval.start) / HOUR for run in runs}
    assert lengths.pop(night) == hours
    assert set(lengths.values()) == {24}


def test_t1_a_message_that_comes_late_means_the_night_it_was_published_for(world):
    """Refused while the store is away, delivered again 25 hours later, when another night has ended: still the same."""
    here = world(job(catch_up="all"))

    def away(name):
        raise UnavailableError(f"away {name}")

    message = here.tick("nightly")
    assert World(WatchedStore(here.store, away), here.jobs.values(), here.clock).push(message.body()).status == 503

    here.clock.now = TICK + 25 * HOUR
    here.drain()

    assert here.states("nightly") == {DAY: "success"}


def test_t4_a_clock_that_is_set_back_makes_no_second_owner(world):
    """An hour back while a run is at work: its lease holds, it ends, and how long it took is not below zero."""
    held = Held()
    here = world(job(transform="held"), code={"held": held})
    message = here.broker.publish({"job": "nightly", "key": DAY})
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(here.push, message.body())
        assert held.entered.wait(30)
        here.clock.now = TICK - HOUR

        assert here.push(message.body()).status == 503

        held.released.set()
        assert first.result().status == 200
    assert here.deliver(message).status == 200
    assert (held.calls, here.run("nightly", DAY).state) == (1, "success")
    assert here.run("nightly", DAY).output["seconds"] >= 0


@pytest.mark.parametrize(
    ("tick", "key"),
    [
        ("2028-03-01T02:10", "2028-02-29"),
        ("2028-02-29T02:10", "2028-02-28"),
        ("2027-03-01T02:10", "2027-02-28"),
        ("2027-01-01T02:10", "2026-12-31"),
        ("2027-01-02T02:10", "2027-01-01"),
        ("2026-12-01T02:10", "2026-11-30"),
        ("1971-01-02T02:10", "1971-01-01"),
        ("9998-12-31T02:10", "9998-12-30"),
    ],
)
def test_t3_ends_of_months_years_and_the_calendar_are_nights_like_others(world, tick, key):
    """The tick means the day before it, whatever day that is."""
    here = world(job(deadline_minutes=180, backoff_seconds=60), now=datetime.fromisoformat(tick).replace(tzinfo=UTC))
    here.store.create_results(edges(here.jobs["nightly"], [date.fromisoformat(key)]))
    here.tick("nightly")

    here.drain()

    assert here.states("nightly") == {key: "success"}
    assert here.run("nightly", key).output["documents"] == 2


@pytest.mark.parametrize("key", ["1970-01-01", "1969-12-31", "9999-12-30"])
def test_t3_days_far_away_run_by_their_key(world, key):
    """The epoch, the day before it, and the last day that ends before the calendar does."""
    here = world(job(deadline_minutes=180), now=datetime(9999, 12, 31, 12, tzinfo=UTC))
    here.store.create_results(edges(here.jobs["nightly"], [date.fromisoformat(key)]))
    here.broker.publish({"job": "nightly", "key": key}, TICK)

    here.drain()

    assert here.run("nightly", key).state == "success"
    assert here.run("nightly", key).output["documents"] == 2


def test_t3_the_day_that_the_calendar_does_not_end_is_refused(world):
    """A named error, and nothing started."""
    here = world(job(), now=datetime(9999, 12, 31, 12, tzinfo=UTC))

    answer = here.trigger("nightly", key="9999-12-31")

    assert (answer.status, answer.value["reason"], here.runs()) == (400, "INVALID_KEY", [])


def test_t6_a_result_at_midnight_is_in_one_night(world):
    """23:59:59.999999 belongs to the day it ends, 00:00:00 to the next, in one piece and in slices."""
    for name, slices in (("whole", 1), ("parts", 5)):
        here = world(job(name, slices=slices))
        if name == "whole":
            midnight = datetime(2026, 11, 21, tzinfo=UTC)
            here.store.create_results([a_result(created_at=midnight), a_result(created_at=midnight - INSTANT)])
        for key in ("2026-11-20", "2026-11-21"):
            here.broker.publish({"job": name, "key": key})
        here.drain()
        assert [run.output["documents"] for run in here.runs(name)] == [1, 1]


def test_a_job_that_ticks_every_ten_minutes_covers_an_hour_that_comes_twice(world):
    """Its runs go by elapsed time: each result of a day of 25 hours is in one of 150 runs."""
    often = job("often", "daily_summary", schedule="*/10 * * * *", time_zone="Europe/Berlin")
    here = world(often)
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    here.store.create_results([a_result(created_at=start + n * 10 * timedelta(minutes=1)) for n in range(150)])
    for n in range(150):
        here.broker.publish({"job": "often"}, start + (n + 1) * timedelta(minutes=10))
    for message in here.broker.take():
        here.clock.now = message.published_at + timedelta(minutes=3)
        assert here.deliver(message).value["ran"]

    runs = here.runs("often")
    assert [(run.provisional, run.output["documents"]) for run in runs] == [(False, 1)] * 150
    assert [b.interval.start - a.interval.end for a, b in pairwise(runs)] == [timedelta()] * 149
