"""A function that answers streams: ones that end, that fail on the way, and that never end."""

import itertools
from collections.abc import Iterator

import flask
import functions_framework

from shared.endpoint import Endpoint
from shared.errors import UnavailableError
from shared.guard import Limits
from shared.log import note
from shared.routing import Request, Response, Route, json_response

PART_BYTES = 100_000
_made = 0


def _parts(request: Request) -> Response:
    return Response(_stream(request.values["kind"]), content_type="text/plain")


def _stream(kind: str) -> Iterator[bytes]:
    global _made
    made = 0
    try:
        for number in itertools.count():
            if number == 3 and kind != "endless":
                break
            yield b"%d" % (number % 10) * PART_BYTES
            made += 1
            _made += 1
        if kind == "unavailable":
            raise UnavailableError("the store went away", reason="STORE_UNAVAILABLE")
        if kind == "crash":
            raise RuntimeError("a detail for the log alone")
    finally:
        note(parts=made)


_endpoint = Endpoint(
    "streaming",
    [
        Route("GET", "/made", lambda _: json_response({"made": _made})),
        Route("GET", "/(?P<kind>whole|unavailable|crash|endless)", _parts),
    ],
    Limits(max_body_bytes=1000, reader_patience_seconds=1.0),
)


@functions_framework.http
def streaming(request: flask.Request) -> flask.Response:
    """Answer a stream."""
    return _endpoint(request)
