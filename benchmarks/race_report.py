"""The tables of the races, what they were to reach, and the line about the stream."""

import statistics
from collections.abc import Iterator, Sequence

from rich.table import Table

from .aim import Aim
from .figures import times
from .races import Race, Task
from .streaming import EARLY_ROWS, Streamed

# Of a memory that does not grow with what is sent: what an allocator keeps moves by a few per cent.
MAX_MEMORY_TIMES = 1.1


def race_table(race: Race) -> Table:
    """Return a line for each task and entrant: medians over the rounds, ratios those of each round's own."""
    shown = Table(title=race.name, title_justify="left")
    shown.add_column("task", no_wrap=True)
    shown.add_column("", no_wrap=True)
    for heading in ("median ms", "a second", "times (rounds)"):
        shown.add_column(heading, justify="right")
    for name in dict.fromkeys(task.name for entrant in race.entrants for task in entrant.tasks):
        shown.add_section()
        for entrant in race.entrants:
            for task in entrant.tasks:
                if task.name == name:
                    shown.add_row(*_cells(race, entrant.name, task))
    return shown


def race_aims(races: Sequence[Race]) -> list[Aim]:
    """Return what was to be reached, and whether it was; the median of the rounds decides."""
    return [
        Aim(
            f"{race.name}, {task.name}: {comparison.subject} within {comparison.max_times:g} times {comparison.base}",
            statistics.median(found) <= comparison.max_times,
            times(found),
        )
        for race in races
        for comparison in race.comparisons
        if comparison.max_times is not None
        for task in race.compared(comparison)
        for found in [race.times(comparison, task)]
    ]


def stream_aims(streams: Sequence[Streamed]) -> list[Aim]:
    """Return whether the memory stayed flat."""
    return [
        Aim(
            f"memory while {stream.rows:,} results are streamed as CSV at most {MAX_MEMORY_TIMES:g} times that after "
            f"{EARLY_ROWS:,}",
            stream.peak_memory_bytes <= MAX_MEMORY_TIMES * stream.early_memory_bytes,
            f"{stream.peak_memory_bytes / stream.early_memory_bytes:.2f} times",
        )
        for stream in streams
    ]


def stream_lines(streams: Sequence[Streamed]) -> list[str]:
    """Say how fast a stream came and in what memory."""
    return [
        f"csv: {stream.rows:,} results, each row counted, {stream.size_bytes / 1e6:,.0f} MB in {stream.seconds:.1f} s "
        f"({stream.rows / stream.seconds:,.0f} rows/s, {stream.size_bytes / 1e6 / stream.seconds:.1f} MB/s); memory "
        f"{stream.early_memory_bytes / 1e6:.1f} MB after {EARLY_ROWS:,} rows, at most "
        f"{stream.peak_memory_bytes / 1e6:.1f} MB in {stream.samples} looks"
        for stream in streams
    ]


def _cells(race: Race, entrant: str, task: Task) -> Iterator[str]:
    loads = race.loads(entrant, task)
    rate = statistics.median(load.requests_per_second for load in loads) * task.units_a_call
    yield task.name
    yield entrant
    yield f"{1000 * statistics.median(load.median_seconds for load in loads):.2f}"
    yield f"{rate:,.0f} {task.unit}"
    yield "\n".join(
        f"{statistics.median(found):.2f} x {comparison.label} ({min(found):.2f} to {max(found):.2f})"
        for comparison in race.comparisons
        if comparison.subject == entrant and task in race.compared(comparison)
        for found in [race.times(comparison, task)]
    )
