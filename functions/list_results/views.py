"""How results are shown: which members, in which order, and whether NaN and Infinity become null."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii

from shared.errors import InvalidRequestError
from shared.records import Result

VIEW_PARAMETERS = ("fields", "non_finite")
_SORTED = json.JSONEncoder(sort_keys=True, separators=(",", ":"))

# Members that are text, or null; and those that are JSON already, passed through as they were stored.
_TEXTS: Mapping[str, Callable[[Result], str | None]] = {
    "id": lambda result: result.id,
    "created_at": lambda result: _shown_time(result.created_at),
    "model": lambda result: result.model,
    "version": lambda result: result.version,
    "request_id": lambda result: result.request_id,
    "expires_at": lambda result: _shown_time(result.expires_at) if result.expires_at else None,
}
_PAYLOADS: Mapping[str, Callable[[Result], str]] = {
    "instances": lambda result: result.instances,
    "predictions": lambda result: result.predictions,
}
_VALUES: Mapping[str, Callable[[Result], str]] = {
    **_PAYLOADS,
    "labels": lambda result: _SORTED.encode(dict(result.labels)),
    "summary": lambda result: result.summary,
}
FIELDS = (
    *("id", "created_at", "model", "version", "instances", "predictions", "labels", "request_id", "summary"),
    "expires_at",
)


@dataclass(frozen=True, slots=True)
class View:
    """The members to show, in their order.

    Attributes:
        finite: NaN and Infinity become null.
    """

    fields: tuple[str, ...]
    finite: bool

    @property
    def shows_payloads(self) -> bool:
        """Whether the payloads have to be read at all."""
        return any(name in _PAYLOADS for name in self.fields)

    def json_text(self, result: Result) -> str:
        """Return a result as a JSON object."""
        return "{" + ",".join([name + write(result) for name, write in _writers(self)]) + "}"

    def cells(self, result: Result) -> list[str]:
        """Return a result's members as text: what is none is empty, what is no text is JSON."""
        written = zip(self.fields, _writers(self), strict=True)
        return [_TEXTS[name](result) or "" if name in _TEXTS else write(result) for name, (_, write) in written]


@lru_cache(maxsize=64)
def _writers(view: View) -> list[tuple[str, Callable[[Result], str]]]:
    """Return how each member is written as JSON, its name before it; made once a view, and used for every result."""

    def writer(name: str) -> Callable[[Result], str]:
        if name in _VALUES:
            value = _VALUES[name]
            return (lambda result: _finite(value(result))) if view.finite and name in _PAYLOADS else value
        text = _TEXTS[name]
        return lambda result: "null" if (found := text(result)) is None else encode_basestring_ascii(found)

    return [(f'"{name}":', writer(name)) for name in view.fields]


def view_of(values: Mapping[str, str]) -> View:
    """Return the view that `fields` and `non_finite` ask for.

    Raises:
        InvalidRequestError: reason UNKNOWN_FIELD or INVALID_FLAG.
    """
    fields = tuple(dict.fromkeys(values["fields"].split(","))) if values.get("fields") else FIELDS
    if not set(fields) <= set(FIELDS):
        raise InvalidRequestError(f"fields: expected some of {', '.join(FIELDS)}", reason="UNKNOWN_FIELD")
    if values.get("non_finite", "keep") not in ("keep", "null"):
        raise InvalidRequestError("non_finite: expected keep or null", reason="INVALID_FLAG")
    return View(fields, values.get("non_finite") == "null")


def _shown_time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _number(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


_FINITE = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_number)


def _finite(text: str) -> str:
    value = _FINITE.decode(text)
    # Not in ASCII, which would double the size of many a text; but half a surrogate pair is written as it came.
    shown = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return shown.encode("utf-8", "backslashreplace").decode()
