"""The local scheduler fires each job when its schedule ticks, once."""

import queue
import time
from datetime import UTC, datetime, timedelta

from scheduler.clock import LocalScheduler
from shared.jobs import Job


class Published:
    """Takes the scheduler's messages and hands them to the test."""

    def __init__(self):
        self.messages = queue.Queue()

    def publish(self, message, publish_time):
        """Keep a message."""
        self.messages.put((message, publish_time))


def job(job_id, schedule):
    """A job of daily schedule in UTC."""
    return Job(job_id, schedule, "Etc/UTC", "daily_summary", "")


def clock_from(start):
    """A clock that shows `start` now and runs on at normal speed."""
    begun = time.monotonic()
    return lambda: start + timedelta(seconds=time.monotonic() - begun)


def test_a_job_fires_at_its_tick_and_not_before():
    """The message carries the job's id; its publish time is at or after the tick."""
    tick = datetime(2026, 11, 23, 2, 10, tzinfo=UTC)
    published = Published()
    scheduler = LocalScheduler([job("nightly", "10 2 * * *")], published, clock_from(tick - timedelta(seconds=0.5)))

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
    scheduler = LocalScheduler(jobs, published, clock_from(tick - timedelta(seconds=0.3)))

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
    scheduler = LocalScheduler(
        [job("nightly", "10 2 * * *")], published, lambda: next(moments, start + timedelta(days=3))
    )

    scheduler.start()
    _, publish_time = published.messages.get(timeout=20)
    scheduler.stop()

    assert publish_time == start + timedelta(days=3)
    assert published.messages.empty()


def test_stopping_does_not_wait_for_the_next_tick():
    """The night may be hours away."""
    scheduler = LocalScheduler([job("nightly", "10 2 * * *")], Published(), lambda: datetime(2026, 1, 1, tzinfo=UTC))

    scheduler.start()
    scheduler.stop()

    assert not scheduler.running()
