"""Ticks and intervals: contiguous over every night on which clocks are changed, to the ends of the calendar."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidRequestError
from shared.jobs import MAX_INTERVALS, Job
from shared.schedules import Schedule, day_bounds

DAILY = Job("nightly", "10 2 * * *", "Etc/UTC", "daily_summary", "")
OFTEN = Job("often", "*/10 * * * *", "Etc/UTC", "reconcile", "")
# Those whose clocks do something that others do not, and some of the rest.
ZONES = [
    *("Etc/UTC", "America/New_York", "Europe/Berlin", "America/Havana", "America/Scoresbysund", "Africa/Cairo"),
    *("Australia/Lord_Howe", "Pacific/Apia", "Asia/Beirut", "America/St_Johns", "America/Nuuk", "Africa/Casablanca"),
    *sorted(available_timezones() - {"localtime"})[::40],
]


def moment(text):
    """Return a moment in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


def outcome(ask):
    """Return the reason of a refusal, and what was answered otherwise."""
    try:
        return None, ask()
    except InvalidRequestError as error:
        return error.reason, None


def following(job, after, count):
    """Return the next ticks."""
    found = []
    for _ in range(count):
        after = job.next_tick(after)
        found.append(after)
    return found


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("schedule", ["10 2 * * *", "30 23 * * *", "30 0 * * *"])
def test_a_year_has_as_many_keys_as_days_and_no_gap(zone, schedule):
    """365 or 366 of them, each the day after the one before, ending where the next begins."""
    job = replace(DAILY, time_zone=zone, schedule=schedule)
    for year, days in ((2024, 366), (2026, 365)):
        first = day_bounds(date(year, 1, 1), zone)[0]
        ticks = following(job, first, days + 5)
        intervals = [job.interval_of_tick(tick) for tick in ticks]

        keys = [interval.key for interval in intervals if interval.key.startswith(str(year))]
        assert keys == [(date(year, 1, 1) + timedelta(days=n)).isoformat() for n in range(days)]
        assert all(a.end == b.start for a, b in pairwise(intervals))
        assert all(timedelta(hours=22) < i.end - i.start < timedelta(hours=26) for i in intervals)
        assert all(interval.end <= tick for interval, tick in zip(intervals, ticks, strict=True))


NIGHTS = [
    ("America/New_York", "2024-03-10", 23),
    ("America/New_York", "2024-11-03", 25),
    ("Europe/Berlin", "2026-03-29", 23),
    ("Europe/Berlin", "2026-10-25", 25),
    ("America/Havana", "2026-03-08", 23),
    ("America/Havana", "2026-11-01", 25),
    ("America/Scoresbysund", "2025-03-29", 23),
    ("Asia/Beirut", "2026-03-29", 23),
    ("Australia/Lord_Howe", "2026-04-05", 24.5),
]


@pytest.mark.parametrize(("zone", "day", "hours"), NIGHTS)
@pytest.mark.parametrize("schedule", ["*/10 * * * *", "0 * * * *", "0 */6 * * *", "0 0,6,12,18 * * *", "30 1,2 * * *"])
def test_intervals_meet_over_a_night_on_which_clocks_are_changed(zone, day, hours, schedule):
    """None is empty, none overlaps another, and each is found again by its key."""
    job = replace(OFTEN, time_zone=zone, schedule=schedule)
    start, end = day_bounds(date.fromisoformat(day), zone)
    ticks = job.ticks(start - timedelta(days=1), end + timedelta(days=1), 10_000)
    intervals = [job.interval_of_tick(tick) for tick in ticks]

    assert end - start == timedelta(hours=hours)
    assert all(a.end == b.start for a, b in pairwise(intervals))
    assert all(interval.start < interval.end == tick for interval, tick in zip(intervals, ticks, strict=True))
    assert [job.interval(interval.key) for interval in intervals] == intervals
    assert [interval.key for interval in intervals] == sorted({interval.key for interval in intervals})
    assert ticks == following(job, start - timedelta(days=1), len(ticks))


@pytest.mark.parametrize(("zone", "day", "hours"), NIGHTS)
def test_a_job_of_every_ten_minutes_goes_by_elapsed_time(zone, day, hours):
    """Six an hour, the hour that comes twice included, none in the one that is skipped."""
    job = replace(OFTEN, time_zone=zone)
    start, end = day_bounds(date.fromisoformat(day), zone)

    ticks = job.ticks(start - timedelta(seconds=1), end - timedelta(seconds=1), 1000)

    assert len(ticks) == hours * 6


@pytest.mark.parametrize(
    ("zone", "schedule", "after", "expected"),
    [
        # Skipped: the next moment there is, once.
        ("America/New_York", "30 2 * * *", "2024-03-10T00:00Z", ["2024-03-10T07:00Z", "2024-03-11T06:30Z"]),
        ("America/New_York", "0,30 2 * * *", "2024-03-10T00:00Z", ["2024-03-10T07:00Z", "2024-03-11T06:00Z"]),
        ("America/Scoresbysund", "30 23 * * *", "2025-03-29T12:00Z", ["2025-03-30T01:00Z", "2025-03-31T00:30Z"]),
        # Twice: the first time, once.
        ("America/New_York", "30 1 * * *", "2024-11-03T00:00Z", ["2024-11-03T05:30Z", "2024-11-04T06:30Z"]),
        ("America/New_York", "30 1 * * *", "2024-11-03T05:30Z", ["2024-11-04T06:30Z"]),
        ("America/New_York", "30 1 * * *", "2024-11-03T06:10Z", ["2024-11-04T06:30Z"]),
        # A step that comes to one hour a day is a fixed time.
        ("America/Havana", "30 */24 * * *", "2026-11-01T00:00Z", ["2026-11-01T04:30Z", "2026-11-02T05:30Z"]),
    ],
)
def test_a_fixed_time_comes_once_a_night(zone, schedule, after, expected):
    """Whether clocks skip it or show it twice."""
    job = replace(DAILY, time_zone=zone, schedule=schedule)

    assert following(job, moment(after), len(expected)) == [moment(text) for text in expected]


def test_in_the_hour_that_comes_again_the_last_tick_is_the_first_hours():
    """01:10 for the second time is after 01:30 for the first."""
    job = replace(DAILY, time_zone="America/New_York", schedule="30 1 * * *")

    assert job.last_tick(moment("2024-11-03T06:10Z")) == moment("2024-11-03T05:30Z")


def test_a_tick_that_clocks_moved_over_midnight_closes_the_day_it_was_made_for():
    """In Scoresbysund 23:30 of that Saturday is Sunday's first moment; it closes Friday, and the next one Saturday."""
    job = replace(DAILY, time_zone="America/Scoresbysund", schedule="30 23 * * *")
    ticks = following(job, moment("2025-03-29T12:00Z"), 2)

    assert [job.interval_of_tick(tick).key for tick in ticks] == ["2025-03-28", "2025-03-29"]


def test_a_zone_that_skipped_a_day_has_no_tick_for_it():
    """Samoa went from 29 to 31 December 2011."""
    job = replace(DAILY, time_zone="Pacific/Apia")
    ticks = following(job, moment("2011-12-29T00:00Z"), 3)

    assert [job.interval_of_tick(tick).key for tick in ticks] == ["2011-12-28", "2011-12-29", "2011-12-31"]


@settings(max_examples=200, deadline=None, database=None)
@given(
    zone=st.sampled_from(ZONES),
    schedule=st.sampled_from(["10 2 * * *", "*/10 * * * *", "0 */6 * * MON", "30 0,1,2,3,23 * * *", "5 4 1 * *"]),
    at=st.integers(0, 2 * 10**9).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
)
def test_next_and_last_tick_agree_anywhere(zone, schedule, at):
    """Nothing lies between the last tick and the next, and each is found from the other."""
    schedule = Schedule(schedule, zone)

    before, after = schedule.last_tick(at), schedule.next_tick(at)

    assert before <= at < after
    assert schedule.next_tick(before) == after
    assert schedule.last_tick(after - timedelta(microseconds=1)) == before
    assert schedule.newest_ticks(before, after, 5) == [after]


@pytest.mark.parametrize(
    ("job", "key", "start", "end"),
    [
        (OFTEN, "2026-11-21T14:10Z", "2026-11-21T14:10Z", "2026-11-21T14:20Z"),
        (OFTEN, "2026-12-31T23:50Z", "2026-12-31T23:50Z", "2027-01-01T00:00Z"),
        (replace(OFTEN, schedule="0 9,17 * * 1-5"), "2026-11-20T17:00Z", "2026-11-20T17:00Z", "2026-11-23T09:00Z"),
        (replace(OFTEN, schedule="0 9,17 29 2 *"), "2028-02-29T17:00Z", "2028-02-29T17:00Z", "2032-02-29T09:00Z"),
        (replace(OFTEN, time_zone="Asia/Kolkata", schedule="0 * * * *"), "2026-11-21T14:30Z", None, None),
    ],
)
def test_the_key_of_an_interval_is_its_start_in_utc(job, key, start, end):
    """It goes on to the next tick, however far that is."""
    interval = job.interval(key)

    assert interval.key == key
    if start:
        assert (interval.start, interval.end) == (moment(start), moment(end))


@pytest.mark.parametrize(
    "key",
    [
        *("2026-11-21", "2026-11-21T14:11Z", "2026-11-21T14:10", "2026-11-21T14:10:00Z", "2026-11-21T14:10+00:00"),
        *("2026-02-30T14:10Z", "2026-11-21T24:00Z", "", "nightly", "٢٠٢٦-11-21T14:10Z", "2026-11-21T14:10Z\n"),
        *("0000-01-01T00:00Z", "10000-01-01T00:00Z", "9999-12-31T23:50Z"),
    ],
)
def test_a_key_that_is_not_when_an_interval_begins_is_refused(key):
    """Seconds, other zones, days and times between two ticks among them; and what has no end in the calendar."""
    with pytest.raises(InvalidRequestError, match="the UTC time of a tick") as raised:
        OFTEN.interval(key)

    assert raised.value.reason == "INVALID_KEY"


@settings(max_examples=200, deadline=None, database=None)
@given(
    key=st.text(max_size=20) | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]0Z)?", fullmatch=True),
    zone=st.sampled_from(ZONES),
    schedule=st.sampled_from(["10 2 * * *", "*/10 * * * *", "0 0,12 * * *", "0 0,12 29 2 *"]),
)
def test_any_text_is_an_interval_or_an_invalid_key(key, zone, schedule):
    """From the year 1 to 9999, in every zone."""
    job = replace(DAILY, schedule=schedule, time_zone=zone, deadline_minutes=10080)
    reason, interval = outcome(lambda: job.interval(key))

    assert reason in (None, "INVALID_KEY")
    if interval:
        assert interval.key == key
        assert interval.start < interval.end
        assert job.deadline_at(interval) is None or job.deadline_at(interval) > interval.end


@pytest.mark.parametrize("job", [DAILY, OFTEN, replace(DAILY, schedule="0 3 29 2 *")])
def test_the_calendars_ends_are_answered_and_not_crashed_into(job):
    """Before the first tick there is none, and after the last."""
    for zone in ("Etc/UTC", "Asia/Kolkata", "America/New_York"):
        there = replace(job, time_zone=zone)
        for at in map(moment, ("0001-01-01T00:00Z", "0001-01-02T12:00Z", "9999-12-30T00:00Z", "9999-12-31T23:59Z")):
            for ask in (
                there.next_tick,
                there.last_tick,
                lambda at, job=there: job.interval_of_tick(job.last_tick(at)),
            ):
                reason, _ = outcome(lambda ask=ask, at=at: ask(at))
                assert reason in (None, "NO_TICK")
            assert there.ticks(at, at, 5) == []


def test_of_too_many_ticks_the_newest_are_kept():
    """A month's outage of a job of every ten minutes is bounded, in time as well."""
    until = moment("2026-11-21T14:15Z")

    ticks = OFTEN.ticks(until - timedelta(days=3650), until, 3)

    assert ticks == [moment(f"2026-11-21T{clock}Z") for clock in ("13:50", "14:00", "14:10")]


def test_ticks_are_after_the_first_moment_and_up_to_the_last():
    """What ticked at `after` has been seen; what ticks at `until` has happened."""
    first, last = moment("2026-11-20T02:10Z"), moment("2026-11-22T02:10Z")

    assert DAILY.ticks(first, last, 10) == [moment("2026-11-21T02:10Z"), last]
    assert DAILY.ticks(last, last, 10) == []
    assert replace(DAILY, schedule="0 3 29 2 *").ticks(moment("2023-01-01T00:00Z"), last, 9) == [
        moment("2024-02-29T03:00Z")
    ]


@pytest.mark.parametrize(
    ("job", "first", "last", "keys"),
    [
        (DAILY, "2026-02-27", "2026-03-01", ["2026-02-27", "2026-02-28", "2026-03-01"]),
        (DAILY, "2028-02-28", "2028-02-29", ["2028-02-28", "2028-02-29"]),
        (DAILY, "2026-12-31", "2026-12-31", ["2026-12-31"]),
        (replace(DAILY, time_zone="Pacific/Apia"), "2011-12-29", "2011-12-31", ["2011-12-29", "2011-12-31"]),
        (replace(DAILY, schedule="10 2 * * 1"), "2026-11-01", "2026-11-15", ["2026-11-01", "2026-11-08", "2026-11-15"]),
        (replace(DAILY, schedule="10 2 * * 1"), "2026-11-02", "2026-11-07", []),
        (OFTEN, "2026-11-21T14:10Z", "2026-11-21T14:20Z", ["2026-11-21T14:10Z", "2026-11-21T14:20Z"]),
        (
            replace(OFTEN, schedule="0 0,12 * * *", time_zone="Europe/Berlin"),
            "2026-10-25",
            "2026-10-26T11:00Z",
            ["2026-10-24T22:00Z", "2026-10-25T11:00Z", "2026-10-25T23:00Z", "2026-10-26T11:00Z"],
        ),
        (
            replace(OFTEN, schedule="0 0,12 * * *"),
            "2026-11-21",
            "2026-11-21",
            ["2026-11-21T00:00Z", "2026-11-21T12:00Z"],
        ),
    ],
)
def test_a_range_has_both_its_ends(job, first, last, keys):
    """The intervals that the schedule makes; a day stands for all that begin in it."""
    assert [interval.key for interval in job.keys_between(first, last)] == keys


@pytest.mark.parametrize(
    ("job", "first", "last", "reason"),
    [
        (DAILY, "2026-11-22", "2026-11-21", "INVALID_RANGE"),
        (DAILY, "2026-02-30", "2026-03-01", "INVALID_KEY"),
        (DAILY, "2026-02-01", "2026-02-29", "INVALID_KEY"),
        (DAILY, "2026-02-01T00:00Z", "2026-02-03", "INVALID_KEY"),
        (DAILY, "2016-01-01", "2026-11-21", "INVALID_RANGE"),
        (OFTEN, "2026-11-21T14:11Z", "2026-11-21", "INVALID_KEY"),
        (OFTEN, "2026-02-30", "2026-03-01", "INVALID_KEY"),
        (OFTEN, "2026-10-01", "2026-11-01", "INVALID_RANGE"),
        (OFTEN, "2026-11-21T14:20Z", "2026-11-21T14:10Z", "INVALID_RANGE"),
    ],
)
def test_a_range_that_is_wrong_is_named(job, first, last, reason):
    """Reversed, too long, or with an end that is no key."""
    with pytest.raises(InvalidRequestError) as raised:
        job.keys_between(first, last)

    assert raised.value.reason == reason


def test_ten_years_are_a_range_and_the_last_day_of_the_calendar_ends_one():
    """As many intervals as may be asked for at once, to the day."""
    last = date(2026, 11, 21)
    first = last - timedelta(days=MAX_INTERVALS - 1)

    assert len(DAILY.keys_between(first.isoformat(), last.isoformat())) == MAX_INTERVALS
    assert [i.key for i in DAILY.keys_between("9999-12-28", "9999-12-29")] == ["9999-12-28", "9999-12-29"]


def test_back_off_doubles_up_to_an_hour():
    """From the first failure on, however many there were."""
    waits = [DAILY.backoff(attempt).total_seconds() for attempt in (1, 2, 3, 6, 7, 8, 100)]

    assert waits == [60, 120, 240, 1920, 3600, 3600, 3600]
    assert replace(DAILY, backoff_seconds=3600).backoff(1) == timedelta(hours=1)


def test_a_deadline_is_counted_from_the_end_of_the_interval():
    """In minutes, over a night on which clocks are changed too; or there is none."""
    job = replace(DAILY, time_zone="Europe/Berlin", deadline_minutes=360)

    assert job.deadline_at(job.interval("2026-10-25")) == moment("2026-10-26T05:00Z")
    assert DAILY.deadline_at(DAILY.interval("2026-10-25")) is None
    assert replace(DAILY, deadline_minutes=10080).deadline_at(DAILY.interval("9999-12-30")) is None


def test_ticks_are_the_same_for_whoever_asks_in_another_zone():
    """A moment is a moment."""
    at = moment("2026-11-21T14:15Z")

    assert OFTEN.next_tick(at.astimezone(ZoneInfo("Asia/Kolkata"))) == OFTEN.next_tick(at)
    assert OFTEN.last_tick(at.astimezone(ZoneInfo("Pacific/Apia"))) == OFTEN.last_tick(at)
