"""Queries into the store and results out of it, payloads passed through untouched."""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.errors import InvalidRequestError, NotFoundError
from shared.log import note
from shared.paging import PageTokens, page_size, single_values
from shared.ports import ResultStore
from shared.records import Position, Result, ResultQuery
from shared.routing import Request, Response
from shared.strict_json import canonical, check_text

_PARAMETERS = (
    *("model", "version", "since", "until", "order", "page_size", "page_token", "fields", "count"),
    "non_finite",
)
_FIELDS = ("id", "created_at", "model", "version", "instances", "predictions", "labels", "request_id", "summary")
_ID = re.compile(r"[a-z2-7]{26}")
_LABEL = re.compile(r"label\.[A-Za-z][A-Za-z0-9_.-]{0,62}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:[0-9]{2})?)?"
)
# A page ends early once it is this large: an answer may hold 32 MB.
_MAX_PAGE_BYTES = 24_000_000


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


_FINITE = json.JSONDecoder(parse_constant=lambda _: None, parse_float=_finite)


@dataclass(frozen=True, slots=True)
class _View:
    """How results are shown: which members, and whether NaN and Infinity become null."""

    fields: tuple[str, ...]
    finite: bool


class ResultReader:
    """Finds results.

    Args:
        store: Where they are.
        tokens: Signs where a page ended.
        now: The clock; what has expired by then is hidden.
    """

    def __init__(self, store: ResultStore, tokens: PageTokens, now: Callable[[], datetime]) -> None:
        self._store = store
        self._tokens = tokens
        self._now = now

    def get_result(self, request: Request) -> Response:
        """Answer one result, or 404."""
        values = single_values(request.query, ("fields", "non_finite"))
        view = _view(values)
        result_id = request.values["id"]
        result = self._store.get_result(result_id, self._now()) if _ID.fullmatch(result_id) else None
        if result is None:
            raise NotFoundError("there is no result with this id", reason="RESULT_NOT_FOUND")
        return Response(_rendered(result, view) + b"\n")

    def list_results(self, request: Request) -> Response:
        """Answer a page: `results`, `next_page_token` (empty at the end) and, if asked, `total_size`."""
        values = single_values(request.query, _PARAMETERS, prefix="label.")
        query, view, wanted = _query(values), _view(values), page_size(values.get("page_size"))
        question = _question(query)
        after = self._position(question, values.get("page_token"))
        page, token = self._page(query, question, after, wanted, view)
        members = [b'"results":[' + b",".join(page) + b"]", b'"next_page_token":' + json.dumps(token).encode()]
        if _flag(values, "count"):
            members.append(b'"total_size":%d' % self._store.count_results(query))
        note(results=len(page))
        return Response(b"{" + b",".join(members) + b"}\n")

    def _page(
        self, query: ResultQuery, question: Mapping[str, Any], after: Position | None, wanted: int, view: _View
    ) -> tuple[list[bytes], str]:
        # One more than the page holds tells whether there is another page.
        found = self._store.list_results(
            query, after=after, limit=wanted + 1, now=self._now(), max_chars=_MAX_PAGE_BYTES
        )
        all_came = len(found) <= wanted and sum(result.payload_chars for result in found) < _MAX_PAGE_BYTES
        page: list[bytes] = []
        size_bytes = 0
        for result in found[:wanted]:
            rendered = _rendered(result, view)
            size_bytes += len(rendered)
            if page and size_bytes > _MAX_PAGE_BYTES:
                return page, self._token(question, after)
            page.append(rendered)
            after = Position(result.created_at, result.id)
        return page, "" if all_came else self._token(question, after)

    def _token(self, question: Mapping[str, Any], after: Position | None) -> str:
        if after is None:
            return ""
        return self._tokens.encode(question, [after.created_at.isoformat(), after.id])

    def _position(self, question: Mapping[str, Any], token: str | None) -> Position | None:
        if not token:
            return None
        moment, result_id = self._tokens.decode(question, token)
        return Position(datetime.fromisoformat(str(moment)), str(result_id))


def _query(values: Mapping[str, str]) -> ResultQuery:
    labels = [(name.removeprefix("label."), text) for name, text in values.items() if name.startswith("label.")]
    if len(labels) > 1:
        raise InvalidRequestError("expected at most one label filter", reason="TOO_MANY_LABELS")
    if "version" in values and "model" not in values:
        raise InvalidRequestError("version: expected together with model", reason="VERSION_WITHOUT_MODEL")
    order = values.get("order", "desc")
    if order not in ("desc", "asc"):
        raise InvalidRequestError("order: expected desc or asc", reason="INVALID_ORDER")
    for name, text in values.items():
        if name.startswith("label.") and not _LABEL.fullmatch(name):
            raise InvalidRequestError(
                "label.: expected a name of a letter, then up to 62 of A-Z a-z 0-9 _ . -", reason="INVALID_LABEL"
            )
        check_text(text, name[:40])
    return ResultQuery(
        model=values.get("model"),
        version=values.get("version"),
        since=_moment(values, "since"),
        until=_moment(values, "until"),
        label=labels[0] if labels else None,
        order="asc" if order == "asc" else "desc",
    )


def _question(query: ResultQuery) -> dict[str, Any]:
    since, until = (moment.isoformat() if moment else None for moment in (query.since, query.until))
    label = list(query.label) if query.label else None
    return {"q": [query.model, query.version, since, until, label, query.order]}


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


def _flag(values: Mapping[str, str], name: str) -> bool:
    if values.get(name, "false") not in ("true", "false"):
        raise InvalidRequestError(f"{name}: expected true or false", reason="INVALID_FLAG")
    return values.get(name) == "true"


def _view(values: Mapping[str, str]) -> _View:
    fields = tuple(dict.fromkeys(values["fields"].split(","))) if values.get("fields") else _FIELDS
    if not set(fields) <= set(_FIELDS):
        raise InvalidRequestError(f"fields: expected some of {', '.join(_FIELDS)}", reason="UNKNOWN_FIELD")
    if values.get("non_finite", "keep") not in ("keep", "null"):
        raise InvalidRequestError("non_finite: expected keep or null", reason="INVALID_FLAG")
    return _View(fields, values.get("non_finite") == "null")


def _rendered(result: Result, view: _View) -> bytes:
    moment = result.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    members = {
        "id": canonical(result.id),
        "created_at": canonical(moment),
        "model": canonical(result.model),
        "version": canonical(result.version),
        "instances": _payload(result.instances, view.finite),
        "predictions": _payload(result.predictions, view.finite),
        "labels": canonical(dict(result.labels)),
        "request_id": canonical(result.request_id),
        "summary": result.summary.encode(),
    }
    return b"{" + b",".join(b'"%s":%s' % (name.encode(), members[name]) for name in view.fields) + b"}"


def _payload(text: str, finite: bool) -> bytes:
    if not finite:
        return text.encode()
    return json.dumps(_FINITE.decode(text), separators=(",", ":"), allow_nan=False).encode()
