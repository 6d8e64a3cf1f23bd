"""Jobs that run once a day: which day a tick or a key stands for, whatever is done to clocks."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidRequestError, NotFoundError
from shared.jobs import Job, dependants, find_job, read_jobs

JOB = Job("nightly", "10 2 * * *", "Etc/UTC", "daily_summary", "")
ZONES = [
    *("Etc/UTC", "America/New_York", "Europe/Berlin", "America/Havana", "Asia/Kolkata", "Asia/Beirut", "Africa/Cairo"),
    *("Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kwajalein", "America/St_Johns", "America/Scoresbysund"),
]


@pytest.mark.parametrize(
    ("zone", "key", "start", "hours"),
    [
        ("Etc/UTC", "2028-02-29", "2028-02-29T00:00Z", 24),
        ("Etc/UTC", "2026-12-31", "2026-12-31T00:00Z", 24),
        ("Asia/Kolkata", "2026-11-21", "2026-11-20T18:30Z", 24),
        ("America/New_York", "2026-03-08", "2026-03-08T05:00Z", 23),
        ("America/New_York", "2026-11-01", "2026-11-01T04:00Z", 25),
        ("Europe/Berlin", "2026-03-29", "2026-03-28T23:00Z", 23),
        ("Europe/Berlin", "2026-10-25", "2026-10-24T22:00Z", 25),
        ("America/Havana", "2026-03-08", "2026-03-08T05:00Z", 23),
        ("America/Havana", "2026-11-01", "2026-11-01T04:00Z", 25),
        ("Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00Z", 24.5),
    ],
)
def test_a_day_is_from_midnight_to_midnight_of_its_zone(zone, key, start, hours):
    """Days on which the clock is changed have 23 or 25 hours, even where it happens at midnight."""
    interval = replace(JOB, time_zone=zone).interval(key)

    assert interval.start == datetime.fromisoformat(start)
    assert interval.end - interval.start == timedelta(hours=hours)
    assert (interval.key, interval.time_zone) == (key, zone)


@settings(max_examples=150, deadline=None, database=None)
@given(zone=st.sampled_from(ZONES), day=st.dates(date(1971, 1, 1), date(2040, 1, 1)))
def test_days_meet_without_gap_or_overlap(zone, day):
    """Each day ends where the next that exists begins."""
    job = replace(JOB, time_zone=zone)
    try:
        interval = job.interval(day.isoformat())
    except InvalidRequestError:
        return  # a day the zone skipped; the two around it meet, tested below

    after = job.interval_of_tick(interval.end + timedelta(days=1, hours=6))

    assert timedelta(hours=22) < interval.end - interval.start < timedelta(hours=26)
    assert after.start >= interval.end
    assert job.interval_of_tick(interval.end).key == interval.key


def test_a_day_that_a_zone_skipped_is_no_day():
    """Samoa had no 30 December 2011; the tick of the 31st closes the 29th."""
    job = replace(JOB, time_zone="Pacific/Apia")

    with pytest.raises(InvalidRequestError, match="a day that exists"):
        job.interval("2011-12-30")
    closed = job.interval_of_tick(datetime(2011, 12, 31, 2, 10, tzinfo=ZoneInfo("Pacific/Apia")))

    assert closed == job.interval("2011-12-29")
    assert closed.end == job.interval("2011-12-31").start


@pytest.mark.parametrize(
    ("at", "tick"),
    [
        ("2026-11-22T02:10:00Z", "2026-11-22T02:10:00Z"),
        ("2026-11-22T02:09:59.999999Z", "2026-11-21T02:10:00Z"),
        ("2026-11-22T02:10:59Z", "2026-11-22T02:10:00Z"),
        ("2026-11-23T02:09:59Z", "2026-11-22T02:10:00Z"),
    ],
)
def test_the_last_tick_is_at_or_before(at, tick):
    """A tick has happened at the very moment it is due."""
    assert JOB.last_tick(datetime.fromisoformat(at)) == datetime.fromisoformat(tick)


def test_the_next_tick_is_strictly_after():
    """Asked at a tick, the next one is tomorrow's."""
    tick = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)

    assert JOB.next_tick(tick) == tick + timedelta(days=1)
    assert JOB.next_tick(tick - timedelta(seconds=1)) == tick


@pytest.mark.parametrize("schedule", ["30 1 * * *", "30 2 * * *", "5 3 * * *"])
@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("America/New_York", date(2026, 3, 6)),
        ("America/New_York", date(2026, 10, 30)),
        ("Europe/Berlin", date(2026, 3, 27)),
    ],
)
def test_every_night_has_one_tick_and_every_day_one_run(schedule, zone, first):
    """In skipped and in repeated hours the schedule fires once, and each tick closes another day."""
    job = replace(JOB, schedule=schedule, time_zone=zone)
    at = datetime.combine(first, datetime.min.time(), ZoneInfo(zone))
    keys = []

    for _ in range(5):
        at = job.next_tick(at)
        assert job.last_tick(at) == at
        assert job.last_tick(at + timedelta(hours=20)) == at
        keys.append(job.interval_of_tick(at).key)

    assert keys == [(first + timedelta(days=n - 1)).isoformat() for n in range(5)]


@settings(max_examples=150, deadline=None, database=None)
@given(
    key=st.text(max_size=12) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", fullmatch=True), zone=st.sampled_from(ZONES)
)
def test_any_text_is_a_day_or_an_invalid_key(key, zone):
    """No key ends in anything but an interval that contains it or INVALID_KEY."""
    try:
        interval = replace(JOB, time_zone=zone).interval(key)
    except InvalidRequestError as error:
        reason = error.reason
    else:
        reason = None if interval.key == key and interval.start < interval.end else "wrong"

    assert reason in (None, "INVALID_KEY")


def test_a_job_that_is_not_there_is_404_with_those_that_are():
    """The message lists the ids."""
    with pytest.raises(NotFoundError, match="one of the jobs drift, nightly"):
        find_job({"nightly": JOB, "drift": JOB}, "x")


def test_the_shipped_jobs_are_right():
    """scheduler/jobs.yaml reads without a problem and has the nightly job."""
    nightly = find_job(read_jobs(), "nightly")

    assert (nightly.transform, nightly.max_attempts) == ("daily_summary", 3)
    assert [job.id for job in dependants(read_jobs(), "nightly")] == ["drift"]
    assert [job.id for job in read_jobs().values() if not job.daily] == ["reconcile"]


def test_the_zones_tested_here_exist():
    """The names above are names of the time zone database."""
    assert set(ZONES) <= available_timezones()


@pytest.mark.parametrize("first", ["0001-01-01", "0001-01-01T00:00Z"])
def test_nothing_begins_before_the_calendar(first):
    """A backfill from its first moment is refused like any wrong key."""
    with pytest.raises(InvalidRequestError) as refused:
        read_jobs()["reconcile"].keys_between(first, "0001-01-02")

    assert refused.value.reason == "INVALID_KEY"
