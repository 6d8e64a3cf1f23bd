"""Single figures of a sample, ratios within rounds, and how they are written."""

import statistics
from collections.abc import Callable, Sequence

from .results import Pair, Sample

Figure = Callable[[Sample], float]


def first_answer(sample: Sample) -> float:
    """Return the time from start to first answer, in seconds."""
    return sample.first_answer_seconds


def memory(sample: Sample) -> float:
    """Return the memory, in bytes."""
    return sample.memory_bytes


def one_client_median(sample: Sample) -> float:
    """Return one client's median latency, in seconds."""
    return sample.one_client.median_seconds


def rate(sample: Sample) -> float:
    """Return the answers a second that many clients together get."""
    return sample.many_clients.requests_per_second


def median_of(pairs: Sequence[Pair], figure: Figure) -> float:
    """Return the median over the rounds."""
    return statistics.median(figure(pair.subject) for pair in pairs)


def ratios(pairs: Sequence[Pair], figure: Figure) -> list[float]:
    """Return each round's ratio to what the function is compared with."""
    return [figure(pair.subject) / figure(pair.base) for pair in pairs]


def ratios_between(pairs: Sequence[Pair], others: Sequence[Pair], figure: Figure) -> list[float]:
    """Return each round's ratio of one function to another."""
    return [figure(pair.subject) / figure(other.subject) for pair, other in zip(pairs, others, strict=True)]


def times(values: Sequence[float]) -> str:
    """Write the median of ratios and how far the rounds lie apart."""
    return f"{statistics.median(values):.2f} times (rounds {min(values):.2f} to {max(values):.2f})"


def percent(values: Sequence[float]) -> str:
    """Write the same as shares."""
    return f"{statistics.median(values):.0%} (rounds {min(values):.0%} to {max(values):.0%})"
