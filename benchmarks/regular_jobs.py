"""Measures regular jobs: summaries, fanning out, ticks beside Apache Airflow's, and a year's backfill."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .airflow import installation
from .backfilling import BACKFILL, Backfilled, backfilled, times_of_year
from .databases import postgresql
from .databases.places import Places
from .databases.postgresql import store_url
from .databases.rows import USUAL_TIMES, Times
from .fanning_out import FannedOut, fanned_out, times_of_day
from .plans import Plan
from .summaries import Summarised, summarised
from .ticks import TICK, Ticking
from .waits import Ticked

SUMMARIES = ("summary-sqlite", "summary-postgresql")
FAN_OUTS = ("fan-out-sqlite", "fan-out-postgresql")
NAMES = (*SUMMARIES, *FAN_OUTS, TICK, BACKFILL)


@dataclass(slots=True)
class JobResults:
    """What was measured, each round's by the name that `--only` takes.

    Attributes:
        summaries: In each round, few results first.
        airflow: Which version of it.
    """

    summaries: dict[str, list[list[Summarised]]] = field(default_factory=dict)
    fan_outs: dict[str, list[FannedOut]] = field(default_factory=dict)
    ticks: list[Ticked] = field(default_factory=list)
    airflow: str = ""
    backfills: list[Backfilled] = field(default_factory=list)


def missing(name: str) -> str | None:
    """Return why something cannot be measured here, or None if it can."""
    if name in (SUMMARIES[1], FAN_OUTS[1]):
        return postgresql.missing()
    return installation.missing() if name == TICK else None


def run_jobs(names: Sequence[str], plan: Plan, progress: Callable[[str], None]) -> JobResults:
    """Measure some of `NAMES`.

    Raises:
        WrongAnswerError: A run covered something else than it should.
        MeasurementError: Something could not be started, filled or reached.
    """
    results = JobResults()
    with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        places = Places(_made(folder / "stores"), progress, stack)
        ticking = Ticking(_made(folder / TICK), plan, progress) if TICK in names else None
        for number in range(plan.rounds):
            for each in [each for each in NAMES if each in names and each != BACKFILL]:
                label = f"round {number + 1} of {plan.rounds}: {each}"
                progress(label)
                if each in SUMMARIES:
                    results.summaries.setdefault(each, []).append(_summaries(each, places, plan))
                elif each in FAN_OUTS:
                    results.fan_outs.setdefault(each, []).append(_fan_out(each, places, plan, folder, number))
                elif ticking:
                    results.ticks.append(ticking.round())
                    results.airflow = installation.version()
        if BACKFILL in names:
            url = _filled(BACKFILL, places, plan.many_results, times_of_year(plan.many_results))
            progress(f"a backfill over {plan.many_results:,} results")
            results.backfills.append(backfilled({"STORE_URL": url}, plan.many_results, _made(folder / BACKFILL)))
    return results


def _summaries(name: str, places: Places, plan: Plan) -> list[Summarised]:
    return [summarised(_filled(name, places, count, USUAL_TIMES), count) for count in plan.summary_results]


def _fan_out(name: str, places: Places, plan: Plan, folder: Path, number: int) -> FannedOut:
    url = _filled(name, places, plan.many_results, times_of_day(plan.many_results))
    work = _made(folder / f"{name}-{number}")
    return fanned_out({"STORE_URL": url}, plan.many_results, work, inline_first=number % 2 == 0)


def _filled(name: str, places: Places, count: int, times: Times) -> str:
    """Return the URL of a filled store, as STORE_URL has it."""
    if name.endswith("postgresql"):
        return store_url(places.filled_postgresql(count, times))
    return f"sqlite:///{places.filled_sqlite(count, times)}"


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
