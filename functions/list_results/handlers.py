"""Queries into the store and results out of it, payloads passed through untouched."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.errors import InvalidRequestError, NotFoundError
from shared.log import note
from shared.paging import MAX_PAGE_SIZE, PageTokens, page_size, single_values
from shared.ports import ResultStore
from shared.records import Position, Result, ResultQuery
from shared.routing import Request, Response
from shared.stores.bulkhead import Bulkhead

from .formats import Format, accepted
from .queries import FILTERS, flag, query_of, question_of
from .views import VIEW_PARAMETERS, View, view_of

_PAGING = ("page_size", "page_token", "count")
_ID = re.compile(r"[a-z2-7]{26}")
# A page ends early once it is this large: an answer may hold 32 MB.
_MAX_PAGE_BYTES = 24_000_000
# A stream holds one page at a time, and nobody sees how long they are.
_STREAM_PAGE_CHARS = 2_000_000
_VARY = {"Vary": "Accept"}


class ResultReader:
    """Finds results.

    Args:
        store: Where they are.
        tokens: Signs where a page ended.
        now: The clock; what has expired by then is hidden.
    """

    def __init__(self, store: Bulkhead[ResultStore], tokens: PageTokens, now: Callable[[], datetime]) -> None:
        self._store = store
        self._tokens = tokens
        self._now = now

    def get_result(self, request: Request) -> Response:
        """Answer one result, or 404."""
        view = view_of(single_values(request.query, VIEW_PARAMETERS))
        result_id = request.values["id"]
        result = None
        if _ID.fullmatch(result_id):
            with self._store.entered() as store:
                result = store.get_result(result_id, self._now(), payloads=view.shows_payloads)
        if result is None:
            raise NotFoundError("there is no result with this id", reason="RESULT_NOT_FOUND")
        return Response(view.json_text(result).encode() + b"\n")

    def list_results(self, request: Request) -> Response:
        """Answer a query as Accept asks: a page of it in JSON, or all of it as a stream."""
        stream = accepted(request.headers.get("accept"))
        values = single_values(request.query, (*FILTERS, *_PAGING, *VIEW_PARAMETERS), prefix="label.")
        query, view = query_of(values), view_of(values)
        return self._stream(query, view, stream, values) if stream else self._page(query, view, values)

    def _page(self, query: ResultQuery, view: View, values: Mapping[str, str]) -> Response:
        """Answer `results`, `next_page_token` (empty at the end) and, if asked, `total_size`."""
        wanted, question = page_size(values.get("page_size")), question_of(query)
        count = flag(values, "count")
        after = self._position(question, values.get("page_token"))
        # One more than the page holds tells whether there is another page.
        found = self._found(query, view, after, wanted + 1, _MAX_PAGE_BYTES)
        shown = _fitting(found[:wanted], view)
        # Where the payloads are so long that the store may have stopped early, the next page may turn out empty.
        is_last = len(shown) == len(found) and sum(map(_payload_bytes, found)) < _MAX_PAGE_BYTES
        token = "" if is_last else self._tokens.encode(question, _spelled(found[len(shown) - 1]))
        members = [b'"results":[' + b",".join(shown) + b"]", b'"next_page_token":' + json.dumps(token).encode()]
        if count:
            with self._store.entered() as store:
                total = store.count_results(query)
            members.append(b'"total_size":%d,"total_size_includes_expired":true' % total)
        note(results=len(shown))
        return Response(b"{" + b",".join(members) + b"}\n", headers=_VARY)

    def _stream(self, query: ResultQuery, view: View, stream: Format, values: Mapping[str, str]) -> Response:
        for name in _PAGING:
            if name in values:
                raise InvalidRequestError(
                    f"{name}: not taken with Accept: {stream.media_type}, which answers the whole query and has no "
                    "pages",
                    reason="STREAM_HAS_NO_PAGES",
                )
        query = self._bounded(query)
        # The first page is read before the status is sent: most of what can fail still has its own.
        first = self._found(query, view, None, MAX_PAGE_SIZE, _STREAM_PAGE_CHARS)
        return Response(self._parts(query, view, stream, first), content_type=stream.content_type, headers=_VARY)

    def _bounded(self, query: ResultQuery) -> ResultQuery:
        """Return the query up to its newest result: oldest first, a stream could run after new ones for ever."""
        if query.order == "desc":
            return query
        newest_first = replace(query, order="desc")
        with self._store.entered() as store:
            newest = store.list_results(newest_first, after=None, limit=1, now=self._now(), payloads=False)
        return replace(query, until=newest[0].created_at + timedelta(microseconds=1)) if newest else query

    def _parts(self, query: ResultQuery, view: View, stream: Format, page: Sequence[Result]) -> Iterator[bytes]:
        """Yield the whole of a query, with one page of it in memory at a time."""
        sent = 0
        try:
            yield stream.head(view)
            while page:
                last = Position(page[-1].created_at, page[-1].id)
                yield stream.rows(view, page)
                sent += len(page)
                page = self._found(query, view, last, MAX_PAGE_SIZE, _STREAM_PAGE_CHARS)
        finally:
            note(results=sent)

    def _found(
        self, query: ResultQuery, view: View, after: Position | None, limit: int, max_chars: int
    ) -> list[Result]:
        payloads = view.shows_payloads
        with self._store.entered() as store:
            return store.list_results(
                query,
                after=after,
                limit=limit,
                now=self._now(),
                max_chars=max_chars if payloads else None,
                payloads=payloads,
            )

    def _position(self, question: Mapping[str, Any], token: str | None) -> Position | None:
        if not token:
            return None
        moment, result_id = self._tokens.decode(question, token)
        return Position(datetime.fromisoformat(str(moment)), str(result_id))


def _spelled(result: Result) -> list[str]:
    return [result.created_at.isoformat(), result.id]


def _fitting(found: Sequence[Result], view: View) -> list[bytes]:
    """Render results until an answer is full; the first one always fits."""
    shown: list[bytes] = []
    size_bytes = 0
    for result in found:
        rendered = view.json_text(result).encode()
        size_bytes += len(rendered)
        if shown and size_bytes > _MAX_PAGE_BYTES:
            break
        shown.append(rendered)
    return shown


def _payload_bytes(result: Result) -> int:
    """Return at least what the store counted of a result: characters, or the bytes of an object."""
    return sum(len(text) if text.isascii() else len(text.encode()) for text in (result.instances, result.predictions))
