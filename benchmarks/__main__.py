"""python -m benchmarks: measure the functions beside a hello-world function, other ways to serve, and raw clients."""

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from .aims import aims
from .contests import NAMES as FUNCTIONS
from .document import document
from .errors import MeasurementError
from .job_report import job_lines, job_tables
from .measure import Bench
from .plans import NORMAL, QUICK, Plan
from .race_report import race_table, stream_lines
from .racing import NAMES as RACES
from .racing import missing as missing_for_race
from .racing import run_races
from .regular_jobs import NAMES as JOBS
from .regular_jobs import missing as missing_for_job
from .regular_jobs import run_jobs
from .report import checked, rows, table, two_ways_table
from .results import Results

NAMES = (*FUNCTIONS, *RACES, *JOBS)
_WIDTH_CHARS = 120


def main(arguments: list[str]) -> int:
    """Run the command.

    Returns:
        0 whatever the figures are; 1 if something could not be measured, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    plan = QUICK if options.quick else NORMAL
    plan = dataclasses.replace(plan, rounds=options.rounds or plan.rounds)
    console = Console(width=_WIDTH_CHARS, highlight=False)
    header = _header(plan)
    console.print(" | ".join(f"{name} {value}" for name, value in header.items()), soft_wrap=True)
    progress = Console(stderr=True, highlight=False)
    try:
        names = _measurable(options.only, console)
        with progress.status("starting") as status:
            results = Bench(plan, status.update).run(names)
            results.races, results.streams = run_races(names, plan, status.update)
            results.jobs = run_jobs(names, plan, status.update)
    except MeasurementError as error:
        progress.print(f"Could not measure: {error}", markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    _print(console, results)
    if options.json:
        options.json.write_text(json.dumps(document(header, results), indent=2) + "\n", "utf-8")
    return 0


def missing(name: str) -> str | None:
    """Return why something cannot be measured here, or None if it can."""
    return missing_for_job(name) if name in JOBS else missing_for_race(name)


def _measurable(chosen: Sequence[str] | None, console: Console) -> Sequence[str]:
    """Return what was chosen, or all that can be measured here, and say what cannot and why.

    Raises:
        MeasurementError: What was chosen cannot be measured.
    """
    reasons = {name: reason for name in chosen or NAMES if (reason := missing(name))}
    if reasons and chosen:
        raise MeasurementError("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
    if reasons:
        console.print("left out: " + "; ".join(f"{name}: {reason}" for name, reason in reasons.items()), soft_wrap=True)
    return [name for name in chosen or NAMES if name not in reasons]


def _print(console: Console, results: Results) -> None:
    if lines := rows(results):
        console.print(table(lines))
    if results.two_ways:
        console.print(two_ways_table(list(results.two_ways.values())))
    for race in results.races:
        console.print(race_table(race))
        for remark in race.remarks:
            console.print(remark, soft_wrap=True)
    for line in stream_lines(results.streams):
        console.print(line, soft_wrap=True)
    for shown in job_tables(results.jobs):
        console.print(shown)
    for line in job_lines(results.jobs):
        console.print(line, soft_wrap=True)
    for aim in aims(results):
        console.print(f"{'met    ' if aim.met else 'not met'}  {aim.text}: {aim.figures}", soft_wrap=True)
    console.print(checked(results))


def _header(plan: Plan) -> dict[str, Any]:
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "CPUs": os.cpu_count(),
        # Of the last minute: near or above the CPUs, others are working here and the figures are theirs too.
        "load before": round(os.getloadavg()[0], 1),
        "Python": platform.python_version(),
        "rounds": plan.rounds,
        "results listed": f"{plan.many_results:,}",
        "log lines": "to a file",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=_positive, metavar="N", help=f"rounds (default {NORMAL.rounds}; quick: 1)")
    parser.add_argument("--quick", action="store_true", help="a few seconds a function: does it work at all")
    parser.add_argument("--only", type=_chosen, metavar="NAME,...", help=", ".join(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything to a file as well")
    return parser


def _chosen(text: str) -> list[str]:
    names = list(dict.fromkeys(text.split(",")))
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected some of {', '.join(NAMES)}; got {', '.join(unknown)}")
    return names


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
