"""The benchmarks of regular jobs over few results: what they measure is the real function, and all of its work."""

import pytest

from benchmarks import summaries
from benchmarks.databases.filling import main as fill
from benchmarks.delivered import delivered
from benchmarks.errors import MeasurementError, WrongAnswerError
from benchmarks.fanning_out import fanned_out, times_of_day
from benchmarks.subjects import function_source
from benchmarks.summaries import summarised
from benchmarks.ticks import _message, _tick

RESULTS = 300


@pytest.fixture
def day(tmp_path):
    """Return the environment of a store with a day of results."""
    url = f"sqlite:///{tmp_path}/day.db"
    fill(url, RESULTS, times_of_day(RESULTS))
    return {"STORE_URL": url}


def test_a_day_is_summarised_inline_and_in_slices(day, tmp_path):
    """Through the broker and the function's own handlers: the same rows, over every result."""
    found = fanned_out(day, RESULTS, tmp_path, inline_first=False)

    assert (found.results, found.inline_seconds > 0, found.sliced_seconds > 0) == (RESULTS, True, True)
    assert found.empty_slice_seconds > 0


def test_a_day_of_other_results_is_refused(day, tmp_path):
    """A run that covered less than it should is no figure."""
    with pytest.raises(WrongAnswerError, match=f"{RESULTS} results of {RESULTS + 1}"):
        fanned_out(day, RESULTS + 1, tmp_path, inline_first=True)


def test_every_result_is_read_and_summarised(tmp_path, monkeypatch):
    """In a process of its own, which tells its memory."""
    monkeypatch.setattr(summaries, "_LEAST_RESULTS", RESULTS)
    url = f"sqlite:///{tmp_path}/usual.db"
    fill(url, RESULTS)

    found = summarised(url, RESULTS)

    assert found.results == RESULTS
    assert 0 < found.share < 10
    assert found.peak_memory_bytes > 10_000_000
    with pytest.raises(WrongAnswerError):
        summarised(url, RESULTS + 1)


def test_runs_begin_upon_messages_and_ticks(tmp_path):
    """Both are waited for at the function itself, each a run of its own."""
    env = {"STORE_URL": f"sqlite:///{tmp_path}/ticks.db"}

    with delivered(function_source("nightly_transform"), env, tmp_path) as function:
        waits = [_message(function), _message(function), _tick(function), _tick(function)]
        runs = function.listed("runs")

    assert all(0 < wait < 30 for wait in waits)
    assert {run["job"]: run["fence"] for run in runs}["nightly"] == 2
    assert {run["job"]: run["fence"] for run in runs}["reconcile"] >= 1


def test_a_run_that_does_not_begin_is_told(tmp_path):
    """In time, with what the function wrote."""
    env = {"STORE_URL": f"sqlite:///{tmp_path}/ticks.db"}

    with delivered(function_source("nightly_transform"), env, tmp_path) as function:
        published = function.publish({"job": "nightly", "key": "2026-01-05"})
        with pytest.raises(MeasurementError, match="nightly 2026-01-06 did not end"):
            function.ended("nightly", "2026-01-06", published, 0.3)
