"""What a list is answered as: JSON in pages, or all of it streamed as CSV or JSON Lines."""

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shared.errors import ServiceError
from shared.records import Result

from .views import View

_RANGE = re.compile(r"\s*([a-z0-9!#$&^_.+*-]+)/([a-z0-9!#$&^_.+*-]+)\s*(;[^,]*)?")
_QUALITY = re.compile(r"(?:^|;)\s*q\s*=\s*(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)")


class NotAcceptableError(ServiceError):
    """406: none of the types the caller takes is one that is made here."""

    http_status, status, reason = 406, "INVALID_ARGUMENT", "NOT_ACCEPTABLE"


@dataclass(frozen=True, slots=True)
class Format:
    """A type that lists are answered in.

    Attributes:
        media_type: As it stands in Accept.
        content_type: As it is answered.
        head: What comes before the first result.
        rows: One page of results.
    """

    media_type: str
    content_type: str
    head: Callable[[View], bytes]
    rows: Callable[[View, Sequence[Result]], bytes]


def _csv(rows: Sequence[Sequence[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


def _line(view: View, result: Result) -> bytes:
    # In JSON, a line break is either space between values, or a character that a string may hold escaped as well.
    # Those beyond ASCII end a line for many a reader too.
    text = view.json_text(result).replace("\n", " ").replace("\r", " ")
    if not text.isascii():
        text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029").replace("\x85", "\\u0085")
    return text.encode() + b"\n"


JSON = "application/json"
# What most clients send; the rules below come to the same.
_UNDECIDED = ("", "*/*", JSON)
STREAMS = (
    # https://www.rfc-editor.org/rfc/rfc4180: a header, lines that end in CRLF, quotes doubled.
    Format(
        "text/csv",
        "text/csv; charset=utf-8; header=present",
        head=lambda view: _csv([view.fields]),
        rows=lambda view, results: _csv([view.cells(result) for result in results]),
    ),
    Format(
        "application/x-ndjson",
        "application/x-ndjson",
        head=lambda view: b"",
        rows=lambda view, results: b"".join([_line(view, result) for result in results]),
    ),
)


def accepted(accept: str | None) -> Format | None:
    """Return the stream that an Accept header asks for, or None for JSON.

    The highest quality wins, then the range that names a type most closely, then JSON before the others.

    Raises:
        NotAcceptableError: It takes neither JSON nor a stream.
    """
    if accept is None or accept.strip() in _UNDECIDED:
        return None
    ranges = [found.groups() for found in map(_RANGE.fullmatch, accept.lower().split(",")) if found]
    rated = [
        (*_rating(media_type, ranges), stream)
        for media_type, stream in ((JSON, None), *((stream.media_type, stream) for stream in STREAMS))
    ]
    quality, _, stream = max(rated, key=lambda each: each[:2])
    if not quality:
        types = ", ".join((JSON, *(each.media_type for each in STREAMS)))
        raise NotAcceptableError(f"Accept: expected one of {types}")
    return stream


def _rating(media_type: str, ranges: Sequence[tuple[Any, ...]]) -> tuple[float, int]:
    """Return the quality of a type and how closely it was named; the closest range decides its quality."""
    kind, _, subtype = media_type.partition("/")
    close = {("*", "*"): 1, (kind, "*"): 2, (kind, subtype): 3}
    matching = [(close[each[:2]], _quality(each[2] or "")) for each in ranges if each[:2] in close]
    closeness, quality = max(matching, default=(0, 0.0))
    return quality, closeness


def _quality(parameters: str) -> float:
    found = _QUALITY.search(parameters)
    return float(found[1]) if found else 1.0
