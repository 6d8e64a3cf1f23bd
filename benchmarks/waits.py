"""How long runs were waited for, here and in Airflow."""

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waits:
    """What one of the two took, in seconds.

    Attributes:
        test: One run of one day in a process, from the command's start to its end.
        message: From when a run was asked for until it began, of each.
        tick: From when the schedule fired until the run began, of each.
    """

    test: float
    message: list[float]
    tick: list[float]


@dataclass(frozen=True, slots=True)
class Ticked:
    """Both, in one round."""

    ours: Waits
    airflow: Waits


def times_sooner(rounds: Sequence[Ticked], wait: Callable[[Waits], float]) -> list[float]:
    """Return, of each round, how many times as long Airflow took."""
    return [wait(each.airflow) / wait(each.ours) for each in rounds]


def whole_seconds(waits: Waits) -> float:
    """Return one of three figures: the whole of a test."""
    return waits.test


def message_seconds(waits: Waits) -> float:
    """Return another: the median from asking to beginning."""
    return statistics.median(waits.message)


def tick_seconds(waits: Waits) -> float:
    """Return the third: the median from the schedule's time to beginning."""
    return statistics.median(waits.tick)
