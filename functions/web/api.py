"""`/api/`: what the page may ask of the other functions. What is not listed here goes nowhere."""

from collections.abc import Callable, Mapping
from typing import NamedTuple
from urllib.parse import quote, urlencode

from shared.errors import ForbiddenError, NotFoundError
from shared.log import note
from shared.routing import Handler, Request, Response, Route

from .headers import secured
from .origin import check_local_host, check_same_origin
from .upstream import Upstream

_MODEL = "/models/[^/:]+(?:/versions/[0-9]{1,18}|/labels/[^/:]+)?"
_CSV = "text/csv"
_REQUEST_HEADERS = ("accept", "idempotency-key", "traceparent", "x-cloud-trace-context", "x-request-id")


class _Passage(NamedTuple):
    """One kind of request that passes through.

    Args:
        path: Regular expression of what follows /api, or of what the other function calls it.
        prefix: Put before the path there.
        strip: Taken off its beginning.
        changes: It changes something, which READ_ONLY forbids.
    """

    method: str
    path: str
    function: str
    prefix: str = ""
    strip: str = ""
    changes: bool = False


_PASSAGES = (
    _Passage("GET", "/models", "predict", prefix="/v1"),
    _Passage("GET", f"{_MODEL}/example", "predict", prefix="/v1"),
    _Passage("POST", f"{_MODEL}:predict", "predict", prefix="/v1"),
    _Passage("GET", "/results", "list_results", prefix="/", strip="/results"),
    _Passage("GET", "/results/[a-z2-7]{26}", "list_results", strip="/results"),
    _Passage("POST", "/results", "store_result", prefix="/", strip="/results", changes=True),
    _Passage("GET", "/jobs", "nightly_transform"),
    _Passage("POST", "/jobs/[^/:]+:(?:trigger|pause|resume)", "nightly_transform", changes=True),
    _Passage("GET", "/runs", "nightly_transform"),
    _Passage("GET", "/runs/[^/]+/[^/]+", "nightly_transform"),
    _Passage("POST", "/runs/[^/]+/[^/]+:rerun", "nightly_transform", changes=True),
    _Passage("GET", "/summaries", "nightly_transform"),
)


class Api:
    """Passes requests on.

    Args:
        upstreams: The other functions by name.
        read_only: Nothing may be changed from the page.
        local: It is served on a laptop, without anything before it that knows its name.
    """

    def __init__(self, upstreams: Mapping[str, Upstream], *, read_only: bool, local: bool) -> None:
        self._upstreams = upstreams
        self._read_only = read_only
        self._local = local

    def own(self, handler: Handler, request: Request) -> Response:
        """Answer what is not passed on."""
        self._check(request)
        return handler(request)

    def pass_on(self, passage: _Passage, request: Request) -> Response:
        """Answer what the other function answers.

        Raises:
            ForbiddenError: Another site asks, or the page is read-only here.
            ServiceError: See `Upstream.ask`.
        """
        self._check(request)
        if request.method != "GET":
            check_same_origin(request)
        if passage.changes and self._read_only:
            raise ForbiddenError("this page is read-only: READ_ONLY=1", reason="READ_ONLY")
        note(upstream=passage.function)
        path = passage.prefix + request.path.removeprefix("/api").removeprefix(passage.strip)
        return secured(
            self._upstreams[passage.function].ask(
                request.method, _spelled(path, request), _headers(request), request.body
            )
        )

    def download(self, request: Request) -> Response:
        """Answer every result of a query as a file of comma-separated values."""
        self._check(request)
        headers = {**_headers(request), "accept": _CSV}
        answer = self._upstreams["list_results"].ask("GET", _spelled("/", request), headers, media_types=(_CSV,))
        if answer.status < 400:
            named = {**answer.headers, "Content-Disposition": 'attachment; filename="results.csv"'}
            answer = Response(answer.body, answer.status, answer.content_type, named)
        return secured(answer)

    def _check(self, request: Request) -> None:
        if self._local:
            check_local_host(request)
        # They would lead to another path than the one that was looked up.
        if {".", ".."} & set(request.path.split("/")):
            raise NotFoundError("there is nothing at this path", reason="PATH_NOT_FOUND")


def api_routes(api: Callable[[], Api]) -> list[Route]:
    """Return the routes; the API is made when the first of them is asked for."""
    return [
        *(_route(passage, api) for passage in _PASSAGES),
        Route("GET", "/api/results\\.csv", lambda request: api().download(request)),
    ]


def _route(passage: _Passage, api: Callable[[], Api]) -> Route:
    return Route(passage.method, f"/api{passage.path}", lambda request: api().pass_on(passage, request))


def _spelled(path: str, request: Request) -> str:
    query = urlencode(request.query, doseq=True)
    return quote(path, safe="/:") + (f"?{query}" if query else "")


def _headers(request: Request) -> dict[str, str]:
    found = {name: request.headers.get(name, "") for name in _REQUEST_HEADERS}
    headers = {name: text for name, text in found.items() if text and text.isascii()}
    # The only type that a route here takes.
    return headers if request.method == "GET" else {**headers, "content-type": "application/json"}
