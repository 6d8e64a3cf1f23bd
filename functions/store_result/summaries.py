"""What transforms need of a result, worked out once when it is stored: one class and score, or value, a prediction."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shared.errors import InvalidRequestError
from shared.log import log_event

# More predictions than any result can hold.
_MAX_COUNT = 1_000_000_000

# {(model, version): the `summary` of its model.json}, e.g. {"class": "digit", "scores": "probabilities"}.
Declarations = Mapping[tuple[str, str], Mapping[str, str]]


def read_declarations(models_dir: Path) -> Declarations:
    """Read which outputs each model version declares for summaries; versions that declare none are left out."""
    declarations = {}
    for path in sorted(models_dir.glob("*/*/model.json")):
        try:
            declared = json.loads(path.read_text("utf-8")).get("summary")
        except (OSError, ValueError, AttributeError):
            log_event("ERROR", f"{path.parent.parent.name}/{path.parent.name}/model.json: cannot be read")
            continue
        if isinstance(declared, dict) and all(isinstance(output, str) for output in declared.values()):
            declarations[path.parent.parent.name, path.parent.name] = declared
    return declarations


def summarise(predictions: Any, declared: Mapping[str, str] | None) -> dict[str, Any]:
    """Reduce predictions to what jobs count.

    Args:
        predictions: The answer's value: rows (a list) or columns (an object of lists), as predict writes them.
        declared: `{"class": output, "scores": output}` or `{"value": output}`, or None.

    Returns:
        `{"count": n}`, with `classes` (text) and `scores` (each the largest of its row), or with `values`, one
        for each prediction; without these where the predictions do not hold what was declared.
    """
    count = _count(predictions)
    columns = {role: _column(predictions, output, declared) for role, output in (declared or {}).items()}
    classes, values = (_flat(columns.get(role)) for role in ("class", "value"))
    scores = [_top(row) for row in columns.get("scores") or []]
    if classes is not None and len(classes) == count and all(_is_label(c) for c in classes):
        summary = {"count": count, "classes": [str(c) for c in classes]}
        return {**summary, "scores": scores} if len(scores) == count and None not in scores else summary
    if values is not None and len(values) == count and all(_is_number(v) for v in values):
        return {"count": count, "values": values}
    return {"count": count}


def check_summary(summary: Any, where: str) -> dict[str, Any]:
    """Check a summary that the caller worked out; `where` names it in messages.

    Raises:
        InvalidRequestError: reason INVALID_SUMMARY.
    """
    known = {"count", "classes", "scores", "values"}
    fits = isinstance(summary, dict) and summary.keys() <= known and _is_count(summary.get("count"))
    if fits:
        lists = [summary[name] for name in known - {"count"} if name in summary]
        fits = all(isinstance(items, list) and len(items) == summary["count"] for items in lists)
        fits = fits and all(isinstance(c, str) for c in summary.get("classes", []))
        fits = fits and all(_is_number(v) for name in ("scores", "values") for v in summary.get(name, []))
    if not fits:
        raise InvalidRequestError(
            f"{where}: expected count, a whole number, and lists of that length: classes of strings, scores or "
            "values of numbers",
            reason="INVALID_SUMMARY",
        )
    checked: dict[str, Any] = summary
    return checked


def _count(predictions: Any) -> int:
    if isinstance(predictions, list):
        return len(predictions)
    if isinstance(predictions, dict):
        return max((len(column) for column in predictions.values() if isinstance(column, list)), default=1)
    return 1


def _column(predictions: Any, output: str, declared: Mapping[str, str] | None) -> list[Any] | None:
    if isinstance(predictions, dict):
        column = predictions.get(output)
        return column if isinstance(column, list) else None
    if not isinstance(predictions, list):
        return None
    # A model with one output answers bare values, whatever the output is called.
    if all(not isinstance(row, dict) for row in predictions):
        return predictions if declared and len(set(declared.values())) == 1 else None
    rows = [row.get(output) if isinstance(row, dict) else None for row in predictions]
    return None if None in rows else rows


def _flat(column: list[Any] | None) -> list[Any] | None:
    # Keras' Dense(1) answers each value as a list of one.
    if column and all(isinstance(row, list) and len(row) == 1 for row in column):
        return [row[0] for row in column]
    return column


def _top(row: Any) -> float | None:
    scores = row if isinstance(row, list) else [row]
    return max(scores) if scores and all(_is_number(score) for score in scores) else None


def _is_label(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool))


def _is_number(value: Any) -> bool:
    # An integer beyond the doubles is no number that a mean could be taken of.
    return type(value) in (int, float) and -sys.float_info.max <= value <= sys.float_info.max


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MAX_COUNT
