"""The tables that are printed, and how many answers stand behind them."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from .contests import CLIENTS
from .figures import first_answer, median_of, memory, one_client_median, rate, ratios
from .in_process import ProcessSample
from .results import Pair, Results, TwoWays


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: medians over the rounds; ratios are medians of each round's own ratio.

    A model called in process has no hello-world beside it and no clients: None.
    """

    function: str
    first_answer_seconds: float
    first_answer_ratio: float | None
    memory_bytes: float
    one_client_median_seconds: float
    one_client_p99_seconds: float
    requests_per_second: float | None
    rate_share: float | None


def rows(results: Results) -> list[Row]:
    """Return hello-world's row, over the rounds of all functions, and a row for each function and model called."""
    every = [pair for of_one in results.beside_hello.values() for pair in of_one]
    hello = [Pair(pair.base, pair.base) for pair in every]
    return [
        *([_row("hello-world", hello)] if hello else ()),
        *(_row(name, of_one) for name, of_one in results.beside_hello.items()),
        *(_process_row(name, of_one) for name, of_one in results.in_process.items()),
    ]


def table(lines: Sequence[Row]) -> Table:
    """Return the table as it is printed."""
    shown = Table()
    shown.add_column("function")
    for heading in ("first answer s\n(x hello)", "memory\nMB", "one client\nmedian ms", "one client\np99 ms"):
        shown.add_column(heading, justify="right")
    shown.add_column(f"{CLIENTS} clients req/s\n(share of hello)", justify="right")
    for row in lines:
        ratio = "" if row.first_answer_ratio is None else f" ({row.first_answer_ratio:.2f} x)"
        served = row.requests_per_second is not None
        shown.add_row(
            row.function,
            f"{row.first_answer_seconds:.2f}{ratio}",
            f"{row.memory_bytes / 1e6:.0f}",
            f"{1000 * row.one_client_median_seconds:.{2 if served else 3}f}",
            f"{1000 * row.one_client_p99_seconds:.{2 if served else 3}f}",
            f"{row.requests_per_second:,.0f} ({row.rate_share:.0%})" if served else "",
        )
    return shown


def two_ways_table(rivals: Sequence[TwoWays]) -> Table:
    """Return the second table: the same model and input, served in two ways."""
    shown = Table()
    shown.add_column("two ways to serve")
    for heading in ("one client\nmedian ms", "clients", "req/s", "times"):
        shown.add_column(heading, justify="right")
    for both in rivals:
        base = [Pair(pair.base, pair.base) for pair in both.pairs]
        for name, pairs in ((both.base, base), (both.subject, both.pairs)):
            shown.add_row(
                name,
                f"{1000 * median_of(pairs, one_client_median):.2f}",
                str(both.clients),
                f"{median_of(pairs, rate):,.0f}",
                f"{statistics.median(ratios(pairs, rate)):.2f}",
            )
    return shown


def checked(results: Results) -> str:
    """Say how many answers stand behind the figures, and how many connections broke."""
    every = [*results.beside_hello.values(), *(both.pairs for both in results.two_ways.values())]
    samples = [sample for pairs in every for pair in pairs for sample in (pair.base, pair.subject)]
    loads = [load for sample in samples for load in (sample.one_client, sample.many_clients)]
    loads += [load for race in results.races for laps in race.rounds for load in laps.values()]
    answers, errors = sum(load.answers for load in loads), sum(load.errors for load in loads)
    return f"{answers:,} answers, each checked; 0 wrong, {errors} broken connections"


def _row(name: str, pairs: Sequence[Pair]) -> Row:
    return Row(
        function=name,
        first_answer_seconds=median_of(pairs, first_answer),
        first_answer_ratio=statistics.median(ratios(pairs, first_answer)),
        memory_bytes=median_of(pairs, memory),
        one_client_median_seconds=median_of(pairs, one_client_median),
        one_client_p99_seconds=median_of(pairs, lambda sample: sample.one_client.p99_seconds),
        requests_per_second=median_of(pairs, rate),
        rate_share=statistics.median(ratios(pairs, rate)),
    )


def _process_row(name: str, samples: Sequence[ProcessSample]) -> Row:
    return Row(
        function=name,
        first_answer_seconds=statistics.median(sample.first_answer_seconds for sample in samples),
        first_answer_ratio=None,
        memory_bytes=statistics.median(sample.memory_bytes for sample in samples),
        one_client_median_seconds=statistics.median(sample.calls.median_seconds for sample in samples),
        one_client_p99_seconds=statistics.median(sample.calls.p99_seconds for sample in samples),
        requests_per_second=None,
        rate_share=None,
    )
