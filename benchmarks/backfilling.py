"""A year of nights over many results: `python -m scheduler backfill`, as anybody would ask for it."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from shared.config import read_settings

from .children import run
from .databases.rows import Times
from .delivered import delivered
from .errors import MeasurementError, WrongAnswerError
from .subjects import function_source

BACKFILL = "backfill"
DAYS = 365
_FIRST = datetime(2025, 1, 1, tzinfo=UTC)
_JOB = "nightly"
_MAX_SECONDS = 7200.0


@dataclass(frozen=True, slots=True)
class Backfilled:
    """One backfill.

    Attributes:
        days, results: Over how many.
        threads: How many requests the function works on at once.
        seconds: From the start of the command to its end.
        said: The command's own last lines: its progress bar as it stood then, and what it came to.
    """

    days: int
    results: int
    threads: int
    seconds: float
    said: str


def times_of_year(results: int) -> Times:
    """Return when so many results are made to fill the days."""
    return Times(_FIRST, int(timedelta(days=DAYS) / timedelta(microseconds=1)) // results)


def backfilled(env: Mapping[str, str], results: int, folder: Path) -> Backfilled:
    """Run the nightly job for every day.

    Args:
        env: Where the store is; filled at `times_of_year`.
        results: How many it holds.
        folder: Takes what the broker and the function write.

    Raises:
        WrongAnswerError: A day has no run that succeeded, or together they covered more or fewer results.
        MeasurementError: The function did not start, or the command failed.
    """
    last = (_FIRST + timedelta(days=DAYS - 1)).date().isoformat()
    with delivered(function_source("nightly_transform"), env, folder) as function:
        command = [sys.executable, "-m", "scheduler", "backfill", _JOB]
        command += ["--from", _FIRST.date().isoformat(), "--to", last]
        ended = run(command, {"NIGHTLY_TRANSFORM_URL": function.url}, _MAX_SECONDS)
        runs = function.listed("runs", job=_JOB)
    succeeded = [found for found in runs if found["state"] == "success"]
    documents = sum(found["output"]["documents"] for found in succeeded)
    if (len(succeeded), documents) != (DAYS, results):
        raise WrongAnswerError(f"backfill: {len(succeeded)} days of {DAYS}, {documents} results of {results}")
    return Backfilled(DAYS, results, read_settings().threads, ended.seconds, last_lines(ended.output))


def last_lines(output: str) -> str:
    """Return the progress bar when it was full, and the line after it.

    Raises:
        MeasurementError: There is no such bar.
    """
    lines = [line.rstrip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    full = [number for number, line in enumerate(lines) if f"{DAYS}/{DAYS}" in line]
    if not full:
        raise MeasurementError(f"backfill: no progress bar reached {DAYS} of {DAYS}:\n{output[-2000:]}")
    return "\n".join(lines[full[-1] :])
