"""How long everything is measured, and on how much."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything is measured.

    Attributes:
        rounds: Of everything: a function and what it is compared with, one after the other.
        starts: Starts a round, of which the median counts; one of what starts slowly.
        warm_seconds, one_client_seconds, many_clients_seconds: Of each load; the first is not counted.
        many_results: How many results are kept where listing many is measured.
    """

    rounds: int
    starts: int
    warm_seconds: float
    one_client_seconds: float
    many_clients_seconds: float
    many_results: int


NORMAL = Plan(
    rounds=3,
    starts=3,
    warm_seconds=0.4,
    one_client_seconds=1.5,
    many_clients_seconds=2.5,
    many_results=1_000_000,
)
QUICK = Plan(
    rounds=1,
    starts=1,
    warm_seconds=0.1,
    one_client_seconds=0.4,
    many_clients_seconds=0.6,
    many_results=100_000,
)
