"""daily_summary: what each model version answered in a day, how surely, and when most."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from shared.records import SummaryDocument
from shared.runs import Interval, Row

from .tally import Tally

_HOUR = timedelta(hours=1)
# Every zone's offset is a whole number of these, so they add up to the hours of any local day.
_QUARTER = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Results and predictions that are counted together: one by one takes ten times as long, and of more than these the
# garbage collector would look through each again and again.
_AT_ONCE = 512


class DailySummary:
    """Per model and version: results, predictions and the busiest hour; and as the model declares, see `summary` in
    its model.json, predictions per class with the mean top score, or the values' count, min, mean and max, each with
    their histogram.
    """

    def fold(self, documents: Iterator[SummaryDocument]) -> list[Any]:
        """Count the documents of one slice, by model and version."""
        tallies: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        waiting: defaultdict[tuple[str, str], list[SummaryDocument]] = defaultdict(list)
        held = 0
        for document in documents:
            waiting[document.model, document.version].append(document)
            held += 1 + document.summary["count"]
            if held >= _AT_ONCE:
                _count(waiting, tallies)
                held = 0
        _count(waiting, tallies)
        return [{"model": model, "version": version, **tally.to_json()} for (model, version), tally in tallies.items()]

    def merge(self, interval: Interval, partials: Sequence[Any]) -> list[Row]:
        """Add the tallies up and write one row a model version, sorted by name and version."""
        totals: defaultdict[tuple[str, str], Tally] = defaultdict(Tally)
        for partial in partials:
            for entry in partial:
                totals[entry["model"], entry["version"]].add(entry)
        return [_row(interval, *key, totals[key]) for key in sorted(totals, key=_by_version)]


def _count(
    waiting: defaultdict[tuple[str, str], list[SummaryDocument]], tallies: Mapping[tuple[str, str], Tally]
) -> None:
    for key, documents in waiting.items():
        quarters = [(document.created_at - _EPOCH) // _QUARTER for document in documents]
        tallies[key].take([document.summary for document in documents], quarters)
    waiting.clear()


def _by_version(key: tuple[str, str]) -> tuple[str, int, str]:
    model, version = key
    # A superscript is a digit too, but no number.
    return model, int(version) if version.isascii() and version.isdigit() else -1, version


def _busiest(interval: Interval, quarters: Mapping[int, int]) -> str:
    # Hours from the interval's start: unlike the clock's they neither repeat nor vanish when it is changed.
    hours: Counter[int] = Counter()
    for quarter, count in quarters.items():
        hours[(_EPOCH + quarter * _QUARTER - interval.start) // _HOUR] += count
    # Of equally busy hours the first.
    busiest = min(hours, key=lambda hour: (-hours[hour], hour))
    start = interval.start + busiest * _HOUR
    return start.astimezone(ZoneInfo(interval.time_zone)).isoformat(timespec="minutes")


def _row(interval: Interval, model: str, version: str, tally: Tally) -> Row:
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
        row["mean_top_score"] = tally.scores.mean
        row["top_scores"] = tally.scores.histogram
    if tally.values.count:
        values = tally.values
        row["values"] = {
            "count": values.count,
            "min": values.least,
            "mean": values.mean,
            "max": values.greatest,
            "histogram": values.histogram,
        }
    return row


transform = DailySummary()
