"""The local scheduler fires each job when its schedule ticks, once."""

import json
import queue
import time
from datetime import UTC, datetime, timedelta

from scheduler.clock import LocalScheduler
from shared.errors import ServiceError
from shared.jobs import Job


class Published:
    """Takes the scheduler's messages and hands them to the test."""

    def __init__(self, *failures):
        self.messages = queue.Queue()
        self.failures = list(failures)

    def publish(self, data, publish_time):
        """Keep a message, or fail as told."""
        if self.failures:
            raise self.failures.pop(0)
        self.messages.put((json.loads(data), publish_time))


def scheduler_of(jobs, published, now, said=None):
    """Return a scheduler that publishes to the test."""
    return LocalScheduler(jobs, published.publish, now, (said if said is not None else []).append)


def job(job_id, schedule, **settings):
    """A job in UTC."""
    return Job(job_id, schedule, "Etc/UTC", "daily_summary", "", **settings)


def clock_from(start):
    """A clock that shows `start` now and runs on at normal speed."""
    begun = time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - begun)


def test_a_job_fires_at_its_tick_and_not_before():
    """The message carries the job's id; its publish time is at or after the tick."""
    tick = datetime(2026, 11, 23, 2, 10, tzinfo=UTC)
    published = Published()
    scheduler = scheduler_of([job("nightly", "10 2 * * *")], published, clock_from(tick - timedelta(seconds=0.5)))

    scheduler.start()
    message, publish_time = published.messages.get(timeout=20)
    scheduler.stop()

    assert message == {"job": "nightly"}
    assert tick <= publish_time < tick + timedelta(minutes=1)
    assert published.messages.empty()


def test_jobs_of_one_tick_all_fire_and_others_wait():
    """Each job has its own schedule."""
    tick = datetime(2026, 11, 23, 2, 10, tzinfo=UTC)
    published = Published()
    jobs = [job("a", "10 2 * * *"), job("b", "10 2 * * *"), job("c", "11 2 * * *")]
    scheduler = scheduler_of(jobs, published, clock_from(tick - timedelta(seconds=0.3)))

    scheduler.start()
    fired = {published.messages.get(timeout=20)[0]["job"] for _ in range(2)}
    scheduler.stop()

    assert fired == {"a", "b"}
    assert published.messages.empty()


def test_ticks_missed_while_asleep_fire_once():
    """A clock that jumps three days gives one late message, not three."""
    start = datetime(2026, 11, 23, 2, 9, 59, 900000, tzinfo=UTC)
    moments = iter([start, start])
    published = Published()
    scheduler = scheduler_of(
        [job("nightly", "10 2 * * *")], published, lambda: next(moments, start + timedelta(days=3))
    )

    scheduler.start()
    _, publish_time = published.messages.get(timeout=20)
    scheduler.stop()

    assert publish_time == start + timedelta(days=3)
    assert published.messages.empty()


def test_stopping_does_not_wait_for_the_next_tick():
    """The night may be hours away."""
    scheduler = scheduler_of([job("nightly", "10 2 * * *")], Published(), lambda: datetime(2026, 1, 1, tzinfo=UTC))

    scheduler.start()
    scheduler.stop()

    assert not scheduler.running()


def test_a_job_ticks_as_often_as_it_says():
    """Every ten minutes, each tick once, whatever else is on the schedule."""
    start = datetime(2026, 11, 23, 2, 9, 59, tzinfo=UTC)
    moments = (start + timedelta(minutes=5 * number) for number in range(10**6))
    published = Published()
    reconcile, nightly = job("reconcile", "*/10 * * * *"), job("nightly", "10 2 * * *")
    scheduler = scheduler_of([reconcile, nightly], published, moments.__next__)

    scheduler.start()
    fired = [published.messages.get(timeout=20) for _ in range(5)]
    scheduler.stop()

    ticks = sorted((message["job"], f"{reconcile.last_tick(moment):%H:%M}") for message, moment in fired)
    assert ticks == [("nightly", "02:10"), *(("reconcile", f"02:{minute}") for minute in (10, 20, 30, 40))]


def test_a_job_that_is_paused_in_the_file_does_not_tick():
    """As Cloud Scheduler keeps it."""
    tick = datetime(2026, 11, 23, 2, 10, tzinfo=UTC)
    published = Published()
    jobs = [job("a", "10 2 * * *", paused=True), job("b", "10 2 * * *")]
    scheduler = scheduler_of(jobs, published, clock_from(tick - timedelta(seconds=0.3)))

    scheduler.start()
    message, _ = published.messages.get(timeout=20)
    scheduler.stop()

    assert message == {"job": "b"}
    assert published.messages.empty()


def test_a_message_that_could_not_be_published_is_published_later():
    """The schedule goes on, and says what happened."""
    start = datetime(2026, 11, 23, 2, 9, 59, tzinfo=UTC)
    moments = (start + timedelta(seconds=6 * number) for number in range(10**6))
    published, said = Published(ServiceError("no Pub/Sub"), OSError("disk full")), []
    scheduler = scheduler_of([job("nightly", "10 2 * * *")], published, moments.__next__, said)

    scheduler.start()
    message, publish_time = published.messages.get(timeout=20)
    scheduler.stop()

    assert message == {"job": "nightly"}
    assert timedelta(seconds=10) <= publish_time - start < timedelta(minutes=1)
    assert [line.rpartition(": ")[2] for line in said] == ["no Pub/Sub", "disk full"]
