"""Exact counts of one model version; adding tallies in any order gives the same, and so does a trip through JSON."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from .exact import exact_sum, mean
from .histograms import SCORE_EDGES, VALUE_EDGES, bins_of, named


@dataclass(slots=True)
class Numbers:
    """Count, exact sum, extremes and histogram of some numbers.

    Attributes:
        edges: Where its bins begin.
        total: In units of 2**-1074.
        bins: Counts by index of the bin.
    """

    edges: Sequence[float]
    count: int = 0
    total: int = 0
    least: float | None = None
    greatest: float | None = None
    bins: Counter[int] = field(default_factory=Counter)

    def take(self, given: Sequence[float]) -> None:
        """Count numbers, integers among them as the doubles next to them."""
        if given:
            numbers = list(map(float, given))
            # One spelling a number: of 0.0 and -0.0, the first to come would be kept as an extreme.
            least, greatest = min(numbers) + 0.0, max(numbers) + 0.0
            self._add(len(numbers), exact_sum(numbers), least, greatest, bins_of(self.edges, numbers))

    def add(self, other: Mapping[str, Any]) -> None:
        """Add what `to_json` wrote."""
        bins = {int(index): count for index, count in other["bins"].items()}
        self._add(other["count"], other["total"], other["least"], other["greatest"], bins)

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        bins = {str(index): count for index, count in self.bins.items()}
        return {
            "count": self.count,
            "total": self.total,
            "least": self.least,
            "greatest": self.greatest,
            "bins": bins,
        }

    @property
    def mean(self) -> float:
        """The double nearest to the true mean."""
        return mean(self.total, self.count)

    @property
    def histogram(self) -> dict[str, int]:
        """Counts by the bin's lower edge."""
        return named(self.edges, self.bins)

    def _add(self, count: int, total: int, least: float, greatest: float, bins: Mapping[int, int]) -> None:
        self.count += count
        self.total += total
        self.least = least if self.least is None else min(self.least, least)
        self.greatest = greatest if self.greatest is None else max(self.greatest, greatest)
        self.bins.update(bins)


@dataclass(slots=True)
class Tally:
    """What a model version answered.

    Attributes:
        quarters: Results by quarter of an hour, counted from 1970.
    """

    results: int = 0
    predictions: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    quarters: Counter[int] = field(default_factory=Counter)
    scores: Numbers = field(default_factory=lambda: Numbers(SCORE_EDGES))
    values: Numbers = field(default_factory=lambda: Numbers(VALUE_EDGES))

    def take(self, summaries: Sequence[Mapping[str, Any]], quarters: Sequence[int]) -> None:
        """Count results by their summaries, and the quarters of an hour in which they were made."""
        self.results += len(summaries)
        self.predictions += sum([summary["count"] for summary in summaries])
        self.quarters.update(quarters)
        self.classes.update(_all(summaries, "classes"))
        self.scores.take(_all(summaries, "scores"))
        self.values.take(_all(summaries, "values"))

    def add(self, other: Mapping[str, Any]) -> None:
        """Add what `to_json` wrote."""
        self.results += other["results"]
        self.predictions += other["predictions"]
        self.classes.update(other["classes"])
        self.quarters.update({int(quarter): count for quarter, count in other["quarters"].items()})
        if other["scores"]:
            self.scores.add(other["scores"])
        if other["values"]:
            self.values.add(other["values"])

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON value; sums are integers of up to some 640 digits."""
        return {
            "results": self.results,
            "predictions": self.predictions,
            "classes": dict(self.classes),
            "quarters": {str(quarter): count for quarter, count in self.quarters.items()},
            "scores": self.scores.to_json() if self.scores.count else None,
            "values": self.values.to_json() if self.values.count else None,
        }


def _all(summaries: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return list(chain.from_iterable([summary[name] for summary in summaries if name in summary]))
