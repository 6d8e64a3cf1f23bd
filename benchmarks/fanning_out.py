"""daily_summary over one day, inline and in slices: the same messages, the same function, the same results."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from shared.config import read_settings

from .databases.rows import Times
from .delivered import Delivered, delivered
from .errors import WrongAnswerError
from .storing import raw_source

SLICES, EMPTY_SLICES = 24, 240
MAX_TIMES_INLINE = 1.3
_DAY, _DAY_BEFORE = datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 5, 31, tzinfo=UTC)
_MAX_SECONDS = 1800.0


@dataclass(frozen=True, slots=True)
class FannedOut:
    """One round.

    Attributes:
        results: Of the day.
        threads: How many requests the function works on at once.
        inline_seconds, sliced_seconds: From publishing the message to the end of the run, in one piece and in 24.
        empty_inline_seconds, empty_seconds: The same over a day without results, in one piece and in 240.
    """

    results: int
    threads: int
    inline_seconds: float
    sliced_seconds: float
    empty_inline_seconds: float
    empty_seconds: float

    @property
    def times(self) -> float:
        """How many times as long as inline the slices took."""
        return self.sliced_seconds / self.inline_seconds

    @property
    def slice_seconds(self) -> float:
        """What a slice of 24 costs on top; negative if slices were worked on at once."""
        return (self.sliced_seconds - self.inline_seconds) / SLICES

    @property
    def empty_slice_seconds(self) -> float:
        """What a slice costs that holds nothing."""
        return (self.empty_seconds - self.empty_inline_seconds) / EMPTY_SLICES


def times_of_day(results: int) -> Times:
    """Return when so many results are made to fill the day."""
    return Times(_DAY, int(timedelta(days=1) / timedelta(microseconds=1)) // results)


def fanned_out(env: Mapping[str, str], results: int, folder: Path, *, inline_first: bool) -> FannedOut:
    """Measure once.

    Args:
        env: Where the store is; filled at `times_of_day`.
        results: How many it holds.
        folder: Takes what the broker and the function write.
        inline_first: Which of the two comes first.

    Raises:
        WrongAnswerError: A run covered more or fewer results, or other rows came of the slices.
        MeasurementError: The function did not start, or a run did not end well.
    """
    with delivered(raw_source("sliced"), env, folder) as function:
        for slices in (1, SLICES):  # imports and connections, for both alike
            _seconds(function, slices, _DAY_BEFORE, 0)
        order = (1, SLICES) if inline_first else (SLICES, 1)
        seconds = {slices: _seconds(function, slices, _DAY, results) for slices in order}
        rows = [_rows(function, slices) for slices in order]
        if rows[0] != rows[1]:
            raise WrongAnswerError(f"daily_summary: other rows in {SLICES} slices than inline")
        empty = {slices: _seconds(function, slices, _DAY_BEFORE, 0) for slices in (1, EMPTY_SLICES)}
    return FannedOut(results, read_settings().threads, seconds[1], seconds[SLICES], empty[1], empty[EMPTY_SLICES])


def _seconds(function: Delivered, slices: int, day: datetime, results: int) -> float:
    job, key = f"slices-{slices}", day.date().isoformat()
    published = function.publish({"job": job, "key": key, "force": True})
    run = function.ended(job, key, published, _MAX_SECONDS)
    if run["output"]["documents"] != results:
        raise WrongAnswerError(f"{job} {key}: {run['output']['documents']} results of {results}")
    return (datetime.fromisoformat(run["ended_at"]) - published).total_seconds()


def _rows(function: Delivered, slices: int) -> list[Any]:
    return [summary["rows"] for summary in function.listed("summaries", job=f"slices-{slices}", since=_key())]


def _key() -> str:
    return _DAY.date().isoformat()
