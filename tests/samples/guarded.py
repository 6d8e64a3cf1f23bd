"""A function with nothing behind its guard but a length and a crash, and with little patience."""

import flask
import functions_framework

from shared.endpoint import Endpoint
from shared.guard import Limits
from shared.routing import Request, Response, Route, json_response


def _length(request: Request) -> Response:
    return json_response({"bytes": len(request.body)})


def _crash(request: Request) -> Response:
    raise RuntimeError("a detail for the log alone")


_endpoint = Endpoint(
    "guarded",
    [
        Route("POST", "/", _length),
        Route("GET", "/(?P<id>[^/]+)", _length),
        Route("POST", "/crash", _crash),
        Route("DELETE", "/crash", _crash),
    ],
    Limits(max_body_bytes=3_000_000, max_large_bodies=2, body_deadline_seconds=1.5),
)


@functions_framework.http
def guarded(request: flask.Request) -> flask.Response:
    """Answer how long the body was."""
    return _endpoint(request)
