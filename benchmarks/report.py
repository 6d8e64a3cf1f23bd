"""Figures from the rounds: the table, the aims, and the same as JSON."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from .load import Load
from .measure import CLIENTS, Pair, Sample

AIM_FUNCTION = "predict"
MAX_FIRST_ANSWER_RATIO = 1.5
MAX_MEMORY_BYTES = 120_000_000
MIN_RATE_SHARE = 0.6

Figure = Callable[[Sample], float]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: medians over the rounds; ratios are medians of each round's own ratio."""

    function: str
    first_answer_seconds: float
    first_answer_ratio: float
    memory_bytes: float
    one_client_median_seconds: float
    one_client_p99_seconds: float
    requests_per_second: float
    rate_share: float


@dataclass(frozen=True, slots=True)
class Aim:
    """One thing a function is meant to reach, and whether it did."""

    text: str
    met: bool
    figures: str


def rows(pairs: Mapping[str, Sequence[Pair]]) -> list[Row]:
    """Return hello-world's row, over the rounds of all functions, and a row a function."""
    every = [pair for of_one in pairs.values() for pair in of_one]
    hello = [Pair(pair.hello, pair.hello) for pair in every]
    return [_row("hello-world", hello), *(_row(name, of_one) for name, of_one in pairs.items())]


def table(lines: Sequence[Row]) -> Table:
    """Return the table as it is printed."""
    shown = Table()
    shown.add_column("function")
    for heading in ("first answer s\n(x hello)", "memory\nMB", "one client\nmedian ms", "one client\np99 ms"):
        shown.add_column(heading, justify="right")
    shown.add_column(f"{CLIENTS} clients req/s\n(share of hello)", justify="right")
    for row in lines:
        shown.add_row(
            row.function,
            f"{row.first_answer_seconds:.2f} ({row.first_answer_ratio:.2f} x)",
            f"{row.memory_bytes / 1e6:.0f}",
            f"{1000 * row.one_client_median_seconds:.2f}",
            f"{1000 * row.one_client_p99_seconds:.2f}",
            f"{row.requests_per_second:,.0f} ({row.rate_share:.0%})",
        )
    return shown


def aims(pairs: Mapping[str, Sequence[Pair]]) -> list[Aim]:
    """Return what predict is meant to reach and what it reached; empty if it was not measured."""
    measured = pairs.get(AIM_FUNCTION)
    if not measured:
        return []
    starts, rates = _ratios(measured, _first_answer), _ratios(measured, _rate)
    start, rate = statistics.median(starts), statistics.median(rates)
    memory = statistics.median(pair.subject.memory_bytes for pair in measured)
    return [
        Aim(
            f"{AIM_FUNCTION}'s first prediction within {MAX_FIRST_ANSWER_RATIO} times hello-world's first answer",
            start <= MAX_FIRST_ANSWER_RATIO,
            f"{start:.2f} times (rounds {min(starts):.2f} to {max(starts):.2f})",
        ),
        Aim(
            f"{AIM_FUNCTION} in under {MAX_MEMORY_BYTES / 1e6:.0f} MB",
            memory < MAX_MEMORY_BYTES,
            f"{memory / 1e6:.0f} MB",
        ),
        Aim(
            f"{AIM_FUNCTION} at {CLIENTS} clients at least {MIN_RATE_SHARE:.0%} of hello-world's rate",
            rate >= MIN_RATE_SHARE,
            f"{rate:.0%} (rounds {min(rates):.0%} to {max(rates):.0%})",
        ),
    ]


def checked(pairs: Mapping[str, Sequence[Pair]]) -> str:
    """Say how many answers stand behind the figures, and how many connections broke."""
    loads = [
        load
        for of_one in pairs.values()
        for pair in of_one
        for sample in (pair.hello, pair.subject)
        for load in (sample.one_client, sample.many_clients)
    ]
    answers, errors = sum(load.answers for load in loads), sum(load.errors for load in loads)
    return f"{answers:,} answers, each checked; 0 wrong, {errors} broken connections"


def document(header: Mapping[str, Any], pairs: Mapping[str, Sequence[Pair]]) -> dict[str, Any]:
    """Return everything for a file: the header, the table, the aims, and each round's own figures."""
    return {
        **header,
        "rows": [asdict(row) for row in rows(pairs)],
        "aims": [asdict(aim) for aim in aims(pairs)],
        "rounds": {
            name: [{"hello": _sample(pair.hello), "function": _sample(pair.subject)} for pair in of_one]
            for name, of_one in pairs.items()
        },
    }


def _row(name: str, pairs: Sequence[Pair]) -> Row:
    def median(figure: Figure) -> float:
        return statistics.median(figure(pair.subject) for pair in pairs)

    return Row(
        function=name,
        first_answer_seconds=median(_first_answer),
        first_answer_ratio=statistics.median(_ratios(pairs, _first_answer)),
        memory_bytes=median(lambda sample: sample.memory_bytes),
        one_client_median_seconds=median(lambda sample: sample.one_client.median_seconds),
        one_client_p99_seconds=median(lambda sample: sample.one_client.p99_seconds),
        requests_per_second=median(_rate),
        rate_share=statistics.median(_ratios(pairs, _rate)),
    )


def _ratios(pairs: Sequence[Pair], figure: Figure) -> list[float]:
    return [figure(pair.subject) / figure(pair.hello) for pair in pairs]


def _first_answer(sample: Sample) -> float:
    return sample.first_answer_seconds


def _rate(sample: Sample) -> float:
    return sample.many_clients.requests_per_second


def _sample(sample: Sample) -> dict[str, Any]:
    return {
        "first_answer_seconds": sample.first_answer_seconds,
        "memory_bytes": sample.memory_bytes,
        "one_client": _load(sample.one_client),
        f"{CLIENTS}_clients": _load(sample.many_clients),
    }


def _load(load: Load) -> dict[str, Any]:
    return {
        "answers": load.answers,
        "seconds": load.seconds,
        "requests_per_second": load.requests_per_second,
        "median_seconds": load.median_seconds,
        "p99_seconds": load.p99_seconds,
        "errors": load.errors,
        "reconnects": load.reconnects,
    }
