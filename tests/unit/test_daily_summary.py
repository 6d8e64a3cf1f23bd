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

from functions.nightly_transform.transforms.daily_summary import transform
from functions.nightly_transform.transforms.histograms import VALUE_EDGES
from shared.jobs import Job
from shared.records import SummaryDocument
from shared.stores import open_store
from tests.contract.factories import a_result

JOB = Job("nightly", "10 2 * * *", "Etc/UTC", "daily_summary", "")
MICROSECOND = timedelta(microseconds=1)
mixed = st.sampled_from([1e300, -1e300, 1e-300, -1e-300, 0.1, 0.0, -0.0, 0, 1]) | st.floats(-1e300, 1e300)
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
        partials.append(kept(transform.fold(iter(inside))))
    random.Random(seed).shuffle(partials)
    return json.dumps(transform.merge(interval, partials), allow_nan=False).encode()


def kept(partial):
    """Return a partial as it comes back from the store."""
    return json.loads(json.dumps(partial, allow_nan=False))


def stored_rows(store, interval):
    """Return the rows of what a store holds of an interval."""
    partial = transform.fold(store.read_summaries(interval.start, interval.end))
    return json.loads(json.dumps(transform.merge(interval, [kept(partial)])))


@pytest.mark.parametrize("slices", [1, 24, 240])
@pytest.mark.parametrize("seed", range(4))
def test_the_rows_are_the_same_bytes_for_any_slices_in_any_order(slices, seed):
    """Cutting and ordering are the engine's business and leave no trace in the answer."""
    interval = JOB.interval("2026-11-21")
    found = documents(interval, 400, seed)

    assert rows(interval, found, slices, seed=slices + seed) == rows(interval, found, 1)


@settings(max_examples=60, deadline=None, database=None)
@given(
    st.lists(st.tuples(st.sampled_from(["scores", "values"]), st.lists(mixed, max_size=4)), max_size=40),
    st.sampled_from([24, 240]),
    st.integers(),
)
def test_numbers_of_any_magnitude_leave_the_same_bytes(groups, slices, seed):
    """From 1e-300 to 1e300, negative, either zero: neither the cut nor the order shows, nor the trip through JSON."""
    interval = JOB.interval("2026-11-21")
    step = (interval.end - interval.start) / 41
    found = [
        SummaryDocument(interval.start + step * n, "m", "1", {"count": len(numbers), kind: numbers})
        for n, (kind, numbers) in enumerate(groups)
    ]

    assert rows(interval, found, slices, seed) == rows(interval, found, 1)


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
            "histogram": counted_one_by_one(numbers, VALUE_EDGES),
        }


@pytest.mark.parametrize(
    ("score", "name"),
    [
        (-0.5, "-inf"), (0, "-inf"), (-0.0, "-inf"), (0.1, "0.1"), (0.0999, "-inf"), (0.9, "0.9"), (0.95, "0.95"),
        (0.9899, "0.95"), (0.99, "0.99"), (1, "0.99"), (7.5, "0.99"), (0.30000000000000004, "0.3"),
    ],
)  # fmt: skip
def test_a_score_is_counted_under_the_edge_below_it(score, name):
    """Tenths, the last one finer; a bin includes its lower edge."""
    interval = JOB.interval("2026-11-21")
    found = [SummaryDocument(interval.start, "m", "1", {"count": 1, "classes": ["a"], "scores": [score]})]

    (row,) = transform.merge(interval, [transform.fold(iter(found))])

    assert row["top_scores"] == {name: 1}


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0, "-5.421010862427522e-20"), (1e-300, "-5.421010862427522e-20"), (1, "1.0"), (1.124, "1.0"),
        (1.125, "1.125"), (-1, "-1.0"), (-1.05, "-1.125"), (-1e300, "-inf"), (1e300, "1.8446744073709552e+19"),
        (150, "144.0"),
        (2**64 - 1, "1.8446744073709552e+19"),
    ],
)  # fmt: skip
def test_a_value_is_counted_in_a_bin_an_eighth_of_it_wide(value, name):
    """Eight bins from each power of two to the next; around zero, and beyond 2**64, one."""
    interval = JOB.interval("2026-11-21")
    found = [SummaryDocument(interval.start, "m", "1", {"count": 1, "values": [value]})]

    (row,) = transform.merge(interval, [transform.fold(iter(found))])

    assert row["values"]["histogram"] == {name: 1}


def counted_one_by_one(numbers, edges):
    """Count numbers by the highest edge that is not above them."""
    found = Counter(max((edge for edge in edges if edge <= number), default=float("-inf")) for number in numbers)
    return {str(edge): count for edge, count in found.items()}


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
    intervals = [job.interval(day.isoformat()) for day in days]
    chance = random.Random(zone)
    span = intervals[-1].end - intervals[0].start
    moments = [moment for i in intervals for moment in (i.start, i.end - MICROSECOND)]
    moments += [intervals[0].start + span * chance.random() for _ in range(300)]
    moments += [moment.replace(minute=0, second=0, microsecond=0) for moment in moments[-50:]]
    moments = [moment for moment in moments if intervals[0].start <= moment < intervals[-1].end]
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    for start in range(0, len(moments), 500):
        store.create_results([a_result(created_at=moment) for moment in moments[start : start + 500]])

    days_rows = [stored_rows(store, interval) for interval in intervals]

    store.close()
    local_days = Counter(moment.astimezone(ZoneInfo(zone)).date().isoformat() for moment in moments)
    assert {row["date"]: row["results"] for rows in days_rows for row in rows} == dict(local_days)
    assert sum(local_days.values()) == len(moments)


def test_the_last_microsecond_and_the_first_are_of_two_days(tmp_path):
    """23:59:59.999999 belongs to the day that ends, 00:00:00 to the one that begins."""
    store = open_store(f"sqlite:///{tmp_path}/x.db")
    midnight = datetime(2026, 11, 22, tzinfo=UTC)
    store.create_results([a_result(created_at=midnight - MICROSECOND), a_result(created_at=midnight)])

    found = [stored_rows(store, JOB.interval(f"2026-11-{day}")) for day in (21, 22, 23)]

    store.close()
    assert [[row["results"] for row in rows] for rows in found] == [[1], [1], []]
