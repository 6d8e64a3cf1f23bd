"""daily_summary: the same rows, byte for byte, however a day is cut, and every result in exactly one day."""

import json
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.nightly_transform.runner import Runner
from functions.nightly_transform.transforms.daily_summary import transform
from shared.jobs import Job
from shared.records import RunQuery, SummaryDocument
from shared.stores import open_store
from tests.contract.factories import a_result

JOB = Job("nightly", "10 2 * * *", "Etc/UTC", "daily_summary", "")
MICROSECOND = timedelta(microseconds=1)
finite = st.floats(allow_nan=False, allow_infinity=False)
SCORES = [0.1, 1e300, 1e-300, -1e300, 5e-324, 0, 0.0, -0.0, 1, 1.0, 2**60, 0.30000000000000004]


def documents(interval, count, seed=0):
    """Return summaries of many kinds spread over an interval, its edges included."""
    chance = random.Random(seed)
    length = interval.end - interval.start
    moments = [interval.start, interval.end - MICROSECOND]
    moments += [interval.start + length * chance.random() for _ in range(count - 2)]
    found = []
    for moment in sorted(moments):
        count = chance.randrange(3)
        summary = {"count": count}
        kind = chance.choice(["classes", "scores", "values", "none"])
        if kind in ("classes", "scores"):
            summary["classes"] = [chance.choice("abc") for _ in range(count)]
        if kind in ("scores", "values"):
            summary[kind] = [chance.choice(SCORES) for _ in range(count)]
        version = chance.choice(["1", "2", "10", "01", "v", "²", "٣"])
        found.append(SummaryDocument(moment, chance.choice(["m", "n"]), version, summary))
    return found


def rows(interval, found, slices, seed=None):
    """Return the rows as bytes when the interval is cut into so many slices, folded in any order."""
    length = interval.end - interval.start
    borders = [interval.start + length * n // slices for n in range(slices + 1)]
    partials = []
    for start, end in pairwise(borders):
        inside = [document for document in found if start <= document.created_at < end]
        random.Random(seed).shuffle(inside)
        partials.append(transform.fold(iter(inside)))
    random.Random(seed).shuffle(partials)
    return json.dumps(transform.merge(interval, partials), allow_nan=False).encode()


@pytest.mark.parametrize("slices", [1, 24, 240])
@pytest.mark.parametrize("seed", range(4))
def test_the_rows_are_the_same_bytes_for_any_slices_in_any_order(slices, seed):
    """Cutting and ordering are the engine's business and leave no trace in the answer."""
    interval = JOB.interval("2026-11-21")
    found = documents(interval, 400, seed)

    assert rows(interval, found, slices, seed=slices + seed) == rows(interval, found, 1)


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.lists(finite | st.sampled_from(SCORES), max_size=4), max_size=30), st.integers())
def test_the_mean_is_exact_and_the_extremes_are_real(groups, seed):
    """A value model's row agrees with fractions, whatever the magnitudes."""
    interval = JOB.interval("2026-11-21")
    found = [
        SummaryDocument(interval.start + timedelta(hours=n % 24), "m", "1", {"count": len(group), "values": group})
        for n, group in enumerate(groups)
    ]
    numbers = [number for group in groups for number in group]

    result = json.loads(rows(interval, found, 24, seed))

    assert [row["results"] for row in result] == ([len(groups)] if groups else [])
    if numbers:
        assert result[0]["values"] == {
            "count": len(numbers),
            "min": min(numbers),
            "mean": float(sum(map(Fraction, numbers)) / len(numbers)),
            "max": max(numbers),
        }


def test_counts_alone_where_nothing_is_declared():
    """A row says nothing about classes, scores or values that were never there."""
    interval = JOB.interval("2026-11-21")
    found = [SummaryDocument(interval.start, "m", "1", {"count": 3})]

    assert transform.merge(interval, [transform.fold(iter(found))]) == [
        {
            "date": "2026-11-21",
            "model": "m",
            "version": "1",
            "results": 1,
            "predictions": 3,
            "busiest_hour": "2026-11-21T00:00+00:00",
        }
    ]


def test_rows_come_by_model_and_by_version_as_a_number():
    """Version 10 stands after version 2; what is no number comes first, a superscript included."""
    interval = JOB.interval("2026-11-21")
    found = [
        SummaryDocument(interval.start, model, version, {"count": 1})
        for model in ("b", "a")
        for version in ("10", "2", "01", "1", "beta", "²")
    ]

    result = transform.merge(interval, [transform.fold(iter(found))])

    assert [row["version"] for row in result] == ["beta", "²", "01", "1", "2", "10"] * 2
    assert [row["model"] for row in result] == ["a"] * 6 + ["b"] * 6


def test_a_day_without_results_has_no_rows():
    """Nothing happened is said by an empty list."""
    interval = JOB.interval("2026-11-21")

    assert transform.merge(interval, []) == transform.merge(interval, [transform.fold(iter([]))]) == []


@pytest.mark.parametrize(
    ("zone", "key", "minutes", "hour"),
    [
        ("Etc/UTC", "2026-11-21", [5, 65, 70], "2026-11-21T01:00+00:00"),
        ("Etc/UTC", "2026-11-21", [5, 65], "2026-11-21T00:00+00:00"),
        ("Asia/Kolkata", "2026-11-21", [0, 29, 31, 59, 61, 62], "2026-11-21T00:00+05:30"),
        ("Asia/Kathmandu", "2026-11-21", [1439], "2026-11-21T23:00+05:45"),
        ("America/New_York", "2026-03-08", [125], "2026-03-08T03:00-04:00"),
        ("America/New_York", "2026-11-01", [65], "2026-11-01T01:00-04:00"),
        ("America/New_York", "2026-11-01", [125], "2026-11-01T01:00-05:00"),
        ("America/New_York", "2026-11-01", [24 * 60 + 59], "2026-11-01T23:00-05:00"),
        ("America/Havana", "2026-03-08", [0], "2026-03-08T01:00-04:00"),
        ("Australia/Lord_Howe", "2026-10-04", [10], "2026-10-04T00:00+10:30"),
    ],
)
def test_the_busiest_hour_is_an_hour_of_that_day(zone, key, minutes, hour):
    """Hours are counted from local midnight; of equally busy ones the first, of a repeated one each for itself."""
    interval = replace(JOB, time_zone=zone).interval(key)
    found = [SummaryDocument(interval.start + timedelta(minutes=minute), "m", "1", {"count": 1}) for minute in minutes]

    (row,) = transform.merge(interval, [transform.fold(iter(found))])

    assert row["busiest_hour"] == hour
    assert interval.start <= datetime.fromisoformat(hour) < interval.end


@pytest.mark.parametrize("key", ["2026-03-08", "2026-11-01", "2026-11-21"])
@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Kolkata", "America/Havana", "Australia/Lord_Howe"])
def test_slices_cover_the_day_without_overlap(zone, key):
    """Each slice begins where the one before ended, whatever the length of the day."""
    interval = replace(JOB, time_zone=zone).interval(key)

    slices = transform.slices(interval)

    assert [start for start, _ in slices] + [interval.end] == [interval.start] + [end for _, end in slices]
    assert all(timedelta(0) < end - start <= timedelta(hours=1) for start, end in slices)


@pytest.mark.parametrize(
    ("zone", "first"),
    [
        ("America/New_York", date(2026, 3, 7)),
        ("America/New_York", date(2026, 10, 31)),
        ("Europe/Berlin", date(2026, 3, 28)),
        ("Europe/Berlin", date(2026, 10, 24)),
        ("America/Havana", date(2026, 3, 7)),
        ("America/Havana", date(2026, 10, 31)),
        ("Asia/Kolkata", date(2026, 11, 20)),
    ],
)
def test_consecutive_days_share_out_every_result(tmp_path, zone, first):
    """Over nights on which the clock is changed, each stored result is in exactly one day's summary."""
    job = replace(JOB, time_zone=zone)
    days = [first + timedelta(days=n) for n in range(3)]
    intervals = [job.interval_of_day(day) for day in days]
    chance = random.Random(zone)
    span = intervals[-1].end - intervals[0].start
    moments = [moment for i in intervals for moment in (i.start, i.end - MICROSECOND)]
    moments += [intervals[0].start + span * chance.random() for _ in range(300)]
    moments += [moment.replace(minute=0, second=0, microsecond=0) for moment in moments[-50:]]
    moments = [moment for moment in moments if intervals[0].start <= moment < intervals[-1].end]
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    for start in range(0, len(moments), 500):
        store.create_results([a_result(created_at=moment) for moment in moments[start : start + 500]])
    runner = Runner(store, lambda: datetime(2027, 1, 1, tzinfo=UTC))

    for interval in intervals:
        runner.run(job, interval, "manual", {}, force=False)

    summaries = store.list_summaries(RunQuery(), after=None, limit=9)
    store.close()
    local_days = Counter(moment.astimezone(ZoneInfo(zone)).date().isoformat() for moment in moments)
    assert {summary.key: summary.rows[0]["results"] for summary in summaries} == dict(local_days)
    assert sum(local_days.values()) == len(moments)


def test_the_last_microsecond_and_the_first_are_of_two_days(tmp_path):
    """23:59:59.999999 belongs to the day that ends, 00:00:00 to the one that begins."""
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    store.create_results([a_result(created_at=midnight - MICROSECOND), a_result(created_at=midnight)])
    runner = Runner(store, lambda: datetime(2027, 1, 1, tzinfo=UTC))

    for key in ("2026-11-21", "2026-11-22", "2026-11-23"):
        runner.run(JOB, JOB.interval(key), "manual", {}, force=False)

    found = store.list_summaries(RunQuery(), after=None, limit=9)
    store.close()
    assert [(s.key[-2:], [row["results"] for row in s.rows]) for s in found] == [("23", []), ("22", [1]), ("21", [1])]
