"""daily_summary: what each model version answered in a day, how surely, and when most."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from shared.records import Interval, Row, SummaryDocument

from .exact import exact, mean

_HOUR = timedelta(hours=1)
# Every zone's offset is a whole number of these, so they add up to the hours of any local day.
_QUARTER = timedelta(minutes=15)


@dataclass(slots=True)
class _Tally:
    """Exact counts of one model version; adding tallies in any order gives the same."""

    results: int = 0
    predictions: int = 0
    classes: Counter[str] = field(default_factory=Counter)
    quarters: Counter[datetime] = field(default_factory=Counter)
    scores: "_Numbers" = field(default_factory=lambda: _Numbers())
    values: "_Numbers" = field(default_factory=lambda: _Numbers())

    def add(self, other: "_Tally") -> None:
        self.results += other.results
        self.predictions += other.predictions
        self.classes.update(other.classes)
        self.quarters.update(other.quarters)
        self.scores.add(other.scores)
        self.values.add(other.values)


@dataclass(slots=True)
class _Numbers:
    """Count, exact sum and extremes of some numbers."""

    count: int = 0
    total: int = 0
    least: float | None = None
    greatest: float | None = None

    def take(self, given: Sequence[float]) -> None:
        # One spelling a number: of 1 and 1.0, or of 0.0 and -0.0, the first to come would be kept as an extreme.
        numbers = [float(number) + 0.0 for number in given]
        if numbers:
            self.add(_Numbers(len(numbers), sum(map(exact, numbers)), min(numbers), max(numbers)))

    def add(self, other: "_Numbers") -> None:
        self.count += other.count
        self.total += other.total
        self.least = min((x for x in (self.least, other.least) if x is not None), default=None)
        self.greatest = max((x for x in (self.greatest, other.greatest) if x is not None), default=None)


class DailySummary:
    """Per model and version: results, predictions, predictions per class with the mean top score, or the values'
    count, min, mean and max, and the busiest hour; as the model declares, see `summary` in its model.json.
    """

    def slices(self, interval: Interval) -> list[tuple[datetime, datetime]]:
        """Cut at whole hours from the interval's start; a 23 or 25 hour day gives as many slices."""
        hours = -(-(interval.end - interval.start) // _HOUR)
        return [(interval.start + i * _HOUR, min(interval.start + (i + 1) * _HOUR, interval.end)) for i in range(hours)]

    def fold(self, documents: Iterator[SummaryDocument]) -> dict[tuple[str, str], _Tally]:
        """Count the documents of one slice, by (model, version)."""
        tallies: dict[tuple[str, str], _Tally] = {}
        for document in documents:
            tally = tallies.setdefault((document.model, document.version), _Tally())
            tally.results += 1
            tally.predictions += document.summary["count"]
            tally.quarters[_quarter(document.created_at)] += 1
            tally.classes.update(document.summary.get("classes", ()))
            tally.scores.take(document.summary.get("scores", ()))
            tally.values.take(document.summary.get("values", ()))
        return tallies

    def merge(self, interval: Interval, partials: Sequence[object]) -> list[Row]:
        """Add the tallies up and write one row a model version, sorted by name and version."""
        totals: dict[tuple[str, str], _Tally] = {}
        for partial in partials:
            assert isinstance(partial, dict)
            for key, tally in partial.items():
                totals.setdefault(key, _Tally()).add(tally)
        return [_row(interval, *key, totals[key]) for key in sorted(totals, key=_by_version)]


def _by_version(key: tuple[str, str]) -> tuple[str, int, str]:
    model, version = key
    # A superscript is a digit too, but no number.
    return model, int(version) if version.isascii() and version.isdigit() else -1, version


def _quarter(moment: datetime) -> datetime:
    return moment - (moment - datetime.min.replace(tzinfo=UTC)) % _QUARTER


def _busiest(interval: Interval, quarters: Counter[datetime]) -> str:
    # Hours from the day's start: unlike the clock's they neither repeat nor vanish when it is changed.
    hours: Counter[int] = Counter()
    for quarter, count in quarters.items():
        hours[(quarter - interval.start) // _HOUR] += count
    # Of equally busy hours the first.
    busiest = min(hours, key=lambda hour: (-hours[hour], hour))
    start = interval.start + busiest * _HOUR
    return start.astimezone(ZoneInfo(interval.time_zone)).isoformat(timespec="minutes")


def _row(interval: Interval, model: str, version: str, tally: _Tally) -> Row:
    row: Row = {
        "date": interval.key,
        "model": model,
        "version": version,
        "results": tally.results,
        "predictions": tally.predictions,
        "busiest_hour": _busiest(interval, tally.quarters),
    }
    if tally.classes:
        row["classes"] = {name: tally.classes[name] for name in sorted(tally.classes)}
    if tally.scores.count:
        row["mean_top_score"] = mean(tally.scores.total, tally.scores.count)
    if tally.values.count:
        row["values"] = {
            "count": tally.values.count,
            "min": tally.values.least,
            "mean": mean(tally.values.total, tally.values.count),
            "max": tally.values.greatest,
        }
    return row


transform = DailySummary()
