"""Query parameters into a query of the store."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.errors import InvalidRequestError
from shared.records import ResultQuery
from shared.strict_json import check_text

FILTERS = ("model", "version", "since", "until", "order")
# As long as store-result takes them: what is longer is nowhere, and some databases fail at it.
_MAX_CHARS = {"model": 128, "version": 64}
_MAX_LABEL_CHARS = 256
_LABEL = re.compile(r"label\.[A-Za-z][A-Za-z0-9_.-]{0,62}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)


def query_of(values: Mapping[str, str]) -> ResultQuery:
    """Return what is asked for.

    Raises:
        InvalidRequestError: reason TOO_MANY_LABELS, VERSION_WITHOUT_MODEL, INVALID_ORDER, INVALID_LABEL, INVALID_TIME,
            INVALID_TEXT or FILTER_TOO_LONG.
    """
    labels = [(name.removeprefix("label."), text) for name, text in values.items() if name.startswith("label.")]
    if len(labels) > 1:
        raise InvalidRequestError("expected at most one label filter", reason="TOO_MANY_LABELS")
    if "version" in values and "model" not in values:
        raise InvalidRequestError("version: expected together with model", reason="VERSION_WITHOUT_MODEL")
    order = values.get("order", "desc")
    if order not in ("desc", "asc"):
        raise InvalidRequestError("order: expected desc or asc", reason="INVALID_ORDER")
    for name, text in values.items():
        _check(name, text)
    return ResultQuery(
        model=values.get("model"),
        version=values.get("version"),
        since=_moment(values, "since"),
        until=_moment(values, "until"),
        label=labels[0] if labels else None,
        order="asc" if order == "asc" else "desc",
    )


def question_of(query: ResultQuery) -> dict[str, Any]:
    """Return what a page token is bound to."""
    since, until = (moment.isoformat() if moment else None for moment in (query.since, query.until))
    label = list(query.label) if query.label else None
    return {"q": [query.model, query.version, since, until, label, query.order]}


def flag(values: Mapping[str, str], name: str) -> bool:
    """Return whether a parameter says true; without it, it does not.

    Raises:
        InvalidRequestError: reason INVALID_FLAG.
    """
    if values.get(name, "false") not in ("true", "false"):
        raise InvalidRequestError(f"{name}: expected true or false", reason="INVALID_FLAG")
    return values.get(name) == "true"


def _check(name: str, text: str) -> None:
    is_label = name.startswith("label.")
    if is_label and not _LABEL.fullmatch(name):
        raise InvalidRequestError(
            "label.: expected a name of a letter, then up to 62 of A-Z a-z 0-9 _ . -", reason="INVALID_LABEL"
        )
    check_text(text, name)
    most = _MAX_LABEL_CHARS if is_label else _MAX_CHARS.get(name)
    if most and len(text) > most:
        raise InvalidRequestError(
            f"{name}: expected at most {most} characters, got {len(text)}", reason="FILTER_TOO_LONG"
        )


def _moment(values: Mapping[str, str], name: str) -> datetime | None:
    if name not in values:
        return None
    try:
        if not _TIME.fullmatch(values[name]):
            raise ValueError
        moment = datetime.fromisoformat(values[name])
        return moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidRequestError(
            f"{name}: expected a time such as 2026-11-21T00:00:00Z; the + of an offset is written %2B",
            reason="INVALID_TIME",
        ) from None
