"""drift: whether a day's predictions are distributed as those of the week before, and as those on the training data.

A row for each model version that answered on the day, from the summaries that `nightly` wrote: the population
stability index (see psi.py) of its classes, of its top scores, or of its values in deciles of what was expected; and a
verdict, "stable", "moderate" or "significant", the worst of them, or "not enough data". What a model answers on its
training data its model.json says, see distributions.py.

Params:
    job: Whose summaries; `nightly` unless told.
    days: How many days before the run's make up the week, 1 to 90; 7 unless told.
    moderate, significant: From which index on the verdict is that; 0.1 and 0.25 unless told.
    predictions_per_bin: Fewer are not enough data; 20 unless told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from shared.config import BUNDLED_MODELS, read_settings
from shared.errors import InvalidRequestError, NotFoundError
from shared.runs import Row, RunQuery

from ..contract import Context
from .distributions import CLASSES, TOP_SCORES, VALUES, Distribution, Key, distributions_of, key_of, read_baselines
from .params import Params
from .psi import by_decile, by_name, enough, psi

_PARAMS = ("job", "days", "moderate", "significant", "predictions_per_bin")
_NOT_ENOUGH = "not enough data"
_ALIGNED = {CLASSES: by_name, TOP_SCORES: by_name, VALUES: by_decile}
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Limits:
    moderate: float
    significant: float
    per_bin: int

    def verdict(self, index: float) -> str:
        if index >= self.significant:
            return "significant"
        return "moderate" if index >= self.moderate else "stable"


class Drift:
    """The task; see this module.

    Args:
        baselines: Reads what each model version answers on its training data.
    """

    def __init__(self, baselines: Callable[[], Mapping[Key, Distribution]]) -> None:
        self._baselines = baselines

    def __call__(self, context: Context) -> list[Row]:
        """Compare the run's day."""
        params = Params(context.run.params, _PARAMS)
        job, days = params.text("job", "nightly"), params.number("days", 7, 1, 90)
        limits = _Limits(
            params.number("moderate", 0.1, 0.0, 1000.0),
            params.number("significant", 0.25, 0.0, 1000.0),
            params.number("predictions_per_bin", 20, 1, 1_000_000),
        )
        today, found = _day(context.run.key), _summaries(context, job, days)
        if today.isoformat() not in found:
            raise NotFoundError(f"there is no summary of {job} for {today}: drift runs after it", reason="NO_SUMMARY")
        current = distributions_of(found.pop(today.isoformat()))
        previous = distributions_of(row for day_rows in found.values() for row in day_rows)
        training = self._baselines()
        rows: list[Row] = []
        for key, distribution in current.items():
            sides = {"previous": previous.get(key), "training": training.get(key)}
            comparisons = {name: _compared(expected, distribution, limits) for name, expected in sides.items()}
            rows.append(
                {
                    "date": context.run.key,
                    "model": key[0],
                    "version": key[1],
                    "predictions": distribution.predictions,
                    "verdict": _worst([comparison["verdict"] for comparison in comparisons.values() if comparison]),
                    "previous_days": sum(key in map(key_of, day_rows) for day_rows in found.values()),
                    **comparisons,
                }
            )
        return rows


def _day(key: str) -> date:
    try:
        return date.fromisoformat(key)
    except ValueError:
        raise InvalidRequestError(f"drift compares days, {key} is none", reason="INVALID_KEY") from None


def _summaries(context: Context, job: str, days: int) -> dict[str, tuple[Row, ...]]:
    """Return the rows of the run's day and of those before it, by day."""
    today = _day(context.run.key)
    try:
        query = RunQuery(job, (today - days * _DAY).isoformat(), (today + _DAY).isoformat())
    except OverflowError:
        raise InvalidRequestError(
            f"there are no {days} days before {today.isoformat()}", reason="INVALID_KEY"
        ) from None
    return {summary.key: summary.rows for summary in context.store.list_summaries(query, after=None, limit=days + 1)}


def _compared(expected: Distribution | None, actual: Distribution, limits: _Limits) -> dict[str, Any] | None:
    """Return the indexes, None where there is too little to compare, and the worst verdict."""
    if expected is None:
        return None
    indexes: dict[str, float | None] = {}
    for name, aligned in _ALIGNED.items():
        before, now = expected.counts[name], actual.counts[name]
        # What is on one side alone was declared differently then, and says nothing about the predictions.
        if before and now:
            sides = aligned(before, now)
            indexes[name] = round(psi(*sides), 6) if enough(*sides, limits.per_bin) else None
    verdicts = [limits.verdict(index) if index is not None else _NOT_ENOUGH for index in indexes.values()]
    return {"predictions": expected.predictions, "psi": indexes, "verdict": _worst(verdicts)}


def _worst(verdicts: Sequence[str]) -> str:
    order = (_NOT_ENOUGH, "stable", "moderate", "significant")
    return max(verdicts, key=order.index, default=_NOT_ENOUGH)


def _bundled_baselines() -> Mapping[Key, Distribution]:
    # A bucket's models are predict's to read, so the included declarations stand in.
    models_dir = read_settings().models_dir
    return read_baselines(models_dir if isinstance(models_dir, Path) else BUNDLED_MODELS)


task = Drift(_bundled_baselines)
