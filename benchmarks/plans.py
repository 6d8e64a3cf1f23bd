"""How long everything is measured, and on how much."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything is measured.

    Attributes:
        rounds: Of everything: a function and what it is compared with, one after the other.
        starts: Starts a round, of which the median counts; one of what starts slowly.
        warm_seconds, one_client_seconds, many_clients_seconds: Of each load; the first is not counted.
        many_results: How many results are kept where listing, fanning out and a backfill over many are measured.
        summary_results: How many are summarised, from few to many.
        messages, ticks: How often a round waits for a run to begin: one that is asked for, one that a schedule starts.
    """

    rounds: int
    starts: int
    warm_seconds: float
    one_client_seconds: float
    many_clients_seconds: float
    many_results: int
    summary_results: tuple[int, ...]
    messages: int
    ticks: int


NORMAL = Plan(
    rounds=3,
    starts=3,
    warm_seconds=0.4,
    one_client_seconds=1.5,
    many_clients_seconds=2.5,
    many_results=1_000_000,
    summary_results=(10_000, 100_000, 1_000_000),
    messages=5,
    ticks=2,
)
QUICK = Plan(
    rounds=1,
    starts=1,
    warm_seconds=0.1,
    one_client_seconds=0.4,
    many_clients_seconds=0.6,
    many_results=100_000,
    summary_results=(10_000, 100_000),
    messages=2,
    ticks=1,
)
