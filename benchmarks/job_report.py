"""What regular jobs took, as tables and lines, and what they were to reach."""

import os
import statistics
from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from .aim import Aim
from .fanning_out import EMPTY_SLICES, MAX_TIMES_INLINE, SLICES
from .figures import percent, times
from .regular_jobs import JobResults
from .summaries import MAX_MEMORY_TIMES, MIN_RATE_SHARE, Summarised
from .waits import Ticked, Waits, message_seconds, tick_seconds, times_sooner, whole_seconds

MIN_TIMES_SOONER = 10.0
_WAITS: dict[str, Callable[[Waits], float]] = {
    "one day in a process of its own, whole": whole_seconds,
    "from asking for a run to its beginning": message_seconds,
    "from the schedule's time to the run's beginning": tick_seconds,
}


def job_tables(jobs: JobResults) -> Iterator[Table]:
    """Yield a table of the summaries and one of the ticks, where they were measured."""
    if jobs.summaries:
        yield _summary_table(jobs)
    if jobs.ticks:
        yield _tick_table(jobs)


def job_lines(jobs: JobResults) -> Iterator[str]:
    """Say what fanning out cost, and what a backfill came to."""
    for name, rounds in jobs.fan_outs.items():
        first = rounds[0]
        inline = statistics.median(each.inline_seconds for each in rounds)
        sliced = statistics.median(each.sliced_seconds for each in rounds)
        yield (
            f"{name}: {first.results:,} results inline in {inline:.2f} s, in {SLICES} slices in {sliced:.2f} s; "
            f"{1000 * statistics.median(each.slice_seconds for each in rounds):+.1f} ms a slice, and "
            f"{1000 * statistics.median(each.empty_slice_seconds for each in rounds):.1f} ms for each of "
            f"{EMPTY_SLICES} empty ones; THREADS {first.threads}, {os.cpu_count()} CPUs"
        )
    for backfill in jobs.backfills:
        yield (
            f"backfill: {backfill.days} runs over {backfill.results:,} results in {backfill.seconds:.1f} s "
            f"({backfill.days / backfill.seconds:.1f} runs/s, {backfill.results / backfill.seconds:,.0f} documents/s); "
            f"THREADS {backfill.threads}, {os.cpu_count()} CPUs. It said:\n{backfill.said}"
        )


def job_aims(jobs: JobResults) -> list[Aim]:
    """Return what was to be reached, and whether it was; the median of the rounds decides."""
    return [
        *(aim for name, rounds in jobs.summaries.items() for aim in _summary_aims(name, rounds)),
        *(
            Aim(
                f"{name}: {SLICES} slices within {MAX_TIMES_INLINE:g} times inline",
                statistics.median(found) <= MAX_TIMES_INLINE,
                times(found),
            )
            for name, rounds in jobs.fan_outs.items()
            for found in [[each.times for each in rounds]]
        ),
        *(_tick_aims(jobs.ticks) if jobs.ticks else ()),
    ]


def _summary_aims(name: str, rounds: Sequence[Sequence[Summarised]]) -> Iterator[Aim]:
    for same in zip(*rounds, strict=True):
        shares = [each.share for each in same]
        yield Aim(
            f"{name}, {same[0].results:,} results: daily_summary at least {MIN_RATE_SHARE:.0%} of the rate of reading",
            statistics.median(shares) >= MIN_RATE_SHARE,
            percent(shares),
        )
    grown = [each[-1].peak_memory_bytes / each[0].peak_memory_bytes for each in rounds]
    yield Aim(
        f"{name}: memory at {rounds[0][-1].results:,} results at most {MAX_MEMORY_TIMES:g} times that at "
        f"{rounds[0][0].results:,}",
        statistics.median(grown) <= MAX_MEMORY_TIMES,
        times(grown),
    )


def _tick_aims(rounds: Sequence[Ticked]) -> Iterator[Aim]:
    for text, wait in _WAITS.items():
        found = times_sooner(rounds, wait)
        yield Aim(
            f"{text}: at least {MIN_TIMES_SOONER:g} times sooner than Airflow",
            statistics.median(found) >= MIN_TIMES_SOONER,
            times(found),
        )


def _summary_table(jobs: JobResults) -> Table:
    shown = Table()
    shown.add_column("daily_summary", no_wrap=True)
    for heading in ("results", "just reading\ndocuments/s", "summarising\ndocuments/s", "share (rounds)", "memory MB"):
        shown.add_column(heading, justify="right")
    for name, rounds in jobs.summaries.items():
        for same in zip(*rounds, strict=True):
            count = same[0].results
            shown.add_row(
                name,
                f"{count:,}",
                f"{count / statistics.median(each.reading_seconds for each in same):,.0f}",
                f"{count / statistics.median(each.summary_seconds for each in same):,.0f}",
                percent([each.share for each in same]),
                f"{statistics.median(each.peak_memory_bytes for each in same) / 1e6:.1f}",
            )
    return shown


def _tick_table(jobs: JobResults) -> Table:
    shown = Table()
    shown.add_column("until a run begins")
    for heading in ("here s", f"Airflow {jobs.airflow} s", "times sooner (rounds)"):
        shown.add_column(heading, justify="right")
    for text, wait in _WAITS.items():
        ours, airflow = ([wait(side) for side in sides] for sides in _sides(jobs.ticks))
        found = times_sooner(jobs.ticks, wait)
        shown.add_row(text, f"{statistics.median(ours):.4f}", f"{statistics.median(airflow):.2f}", times(found))
    return shown


def _sides(rounds: Sequence[Ticked]) -> tuple[list[Waits], list[Waits]]:
    return [each.ours for each in rounds], [each.airflow for each in rounds]
