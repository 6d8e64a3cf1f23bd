"""What stands between the open port and a function: limits, refusals, and one log line a request.

WSGI, in front of Flask: functions-framework routes every method, has no limits, and reads the body even of a
request that was already refused.
"""

import contextlib
import errno
import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qs

from shared.bodies import LargeBodies, LargeBodySlot, check_length, declared_length, inflate, read_body
from shared.errors import InvalidRequestError, ServiceError, UnsupportedMediaTypeError, UriTooLongError
from shared.log import start_notes
from shared.patience import Patience
from shared.request_log import Environ, RequestLog, failure_fields, request_id, request_path
from shared.routing import Match, Request, Response, Route, Router
from shared.sending import LastAnswer, Stream

StartResponse = Callable[..., Any]
# Answers an admitted request, failures included, and adds to the fields of its log line.
Answer = Callable[[Match, Request, dict[str, Any]], Response]

MAX_URI_BYTES = 8192
_MAX_QUERY_PARAMETERS = 100
# Data that is under way arrives sooner; a connection that stays silent is not lent a thread for longer.
_FIRST_BYTE_SECONDS = 0.02
_STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}
_CHARSET = re.compile(r'charset="?([^\s;"]*)')


class Deadlines(Protocol):
    """Answers requests whose handler takes too long, in the handler's place."""

    def begin(
        self, environ: Environ, fields: dict[str, Any], refuse: Callable[[ServiceError], bytes]
    ) -> Callable[[], bool]:
        """Watch a request whose handler is called now.

        Args:
            fields: What is known of the request, more as the handler goes on.
            refuse: Writes the log line of a refusal, and returns the refusal as it is to be sent.

        Returns:
            To be called when the handler has ended: false if the request was answered, and nobody else may.
        """
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a function takes.

    Attributes:
        max_body_bytes: 413 beyond; of a gzip body, what it inflates to counts as well.
        max_large_bodies: Bodies over 1 MiB in memory at once; one more is 503. None: no such bound.
        body_deadline_seconds: 408 for a body that takes longer.
        accept_gzip: Whether Content-Encoding: gzip is taken; any other encoding is 415.
        reader_patience_seconds: How long the reader of a stream may take for 64 KiB before it is let go.
        deadlines: What bounds the time that a handler takes. None: nothing does.
    """

    max_body_bytes: int
    max_large_bodies: int | None = None
    body_deadline_seconds: float = 10.0
    accept_gzip: bool = False
    reader_patience_seconds: float = 60.0
    deadlines: Deadlines | None = None


class Guard:
    """One function as a WSGI application.

    Args:
        answer: What answers admitted requests.
        router: Knows the paths and methods.
        limits: The function's limits.
        render_error: Turns an error on a path into a response in that path's dialect.
        threads: Requests worked on at once; slow bodies may hold half of them.
        log: Takes one line a request.
    """

    def __init__(
        self,
        answer: Answer,
        *,
        router: Router,
        limits: Limits,
        render_error: Callable[[ServiceError, str], Response],
        threads: int,
        log: RequestLog,
    ) -> None:
        self._answer = answer
        self._router = router
        self._limits = limits
        self._encodings = ("identity", "gzip") if limits.accept_gzip else ("identity",)
        self._render_error = render_error
        self._patience = Patience(limits.body_deadline_seconds, threads)
        self._large_bodies = LargeBodies(limits.max_large_bodies)
        self._log = log
        _let_silent_connections_wait()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        started = time.perf_counter()
        identity, fields = request_id(environ), start_notes()
        last = _is_last(environ)
        slot = self._large_bodies.slot()
        try:
            response = self._in_time(environ, self._admitted(environ, slot), identity, fields, started)
        except Exception as error:
            # The body was not read, so the next request could not be found on this connection.
            last = _close_after(start_response)
            fields |= failure_fields(error)
            shown = error if isinstance(error, ServiceError) else ServiceError("an unexpected failure")
            response = self._render_error(shown, request_path(environ))
        finally:
            slot.release()
        if response is None:
            # gunicorn takes it for a client that hung up: it says no more to this one, and prints no traceback.
            raise ConnectionResetError(errno.ECONNRESET, "answered at the deadline")
        headers = [("Content-Type", response.content_type), ("X-Request-Id", identity), *response.headers.items()]

        def write_log(ended_as: int) -> None:
            self._log.write(environ, identity, response.status, time.perf_counter() - started, fields, ended_as)

        if not isinstance(response.body, bytes):
            start_response(_STATUS_LINES[response.status], headers)
            patience_seconds = self._limits.reader_patience_seconds
            return Stream(response.body, environ, fields, last, write_log, patience_seconds)
        write_log(response.status)
        start_response(_STATUS_LINES[response.status], [*headers, ("Content-Length", str(len(response.body)))])
        return LastAnswer(response.body, environ) if last else (response.body,)

    def _in_time(
        self, environ: Environ, admitted: tuple[Match, bytes], identity: str, fields: dict[str, Any], started: float
    ) -> Response | None:
        """Return the handler's answer; None if the request was answered before it came."""

        def refuse(error: ServiceError) -> bytes:
            response = self._render_error(error, request_path(environ))
            seconds, told = time.perf_counter() - started, {**fields, **failure_fields(error)}
            self._log.write(environ, identity, response.status, seconds, told, response.status)
            return _last_message(response, identity)

        request, deadlines = request_from(environ, *admitted), self._limits.deadlines
        if deadlines is None:
            return self._answer(admitted[0], request, fields)
        finish = deadlines.begin(environ, fields, refuse)
        try:
            response = self._answer(admitted[0], request, fields)
        except Exception:
            if finish():
                raise
            return None
        return response if finish() else None

    def _admitted(self, environ: Environ, slot: LargeBodySlot) -> tuple[Match, bytes]:
        match = self._match(environ)
        encoding = environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()
        if encoding not in self._encodings:
            raise UnsupportedMediaTypeError(f"Content-Encoding: expected {' or '.join(self._encodings)}")
        length = declared_length(environ)
        if length == 0:
            return match, b""
        check_length(length or 0, self._limits.max_body_bytes)
        _check_content_type(environ, match.route)
        body = read_body(environ, self._limits.max_body_bytes, self._patience, slot.grow)
        if encoding == "gzip" and body:
            body = inflate(body, self._limits.max_body_bytes)
            slot.grow(len(body))
        return match, body

    def _match(self, environ: Environ) -> Match:
        uri = environ.get("RAW_URI") or environ["PATH_INFO"]
        if len(uri) > MAX_URI_BYTES:
            raise UriTooLongError(f"path and query are too long: expected at most {MAX_URI_BYTES} bytes")
        return self._router.match(environ["REQUEST_METHOD"], request_path(environ))


def request_from(environ: Environ, match: Match, body: bytes) -> Request:
    """Return a request as handlers know it.

    Raises:
        InvalidRequestError: reason TOO_MANY_PARAMETERS.
    """
    try:
        text = environ.get("QUERY_STRING", "")
        query = parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_QUERY_PARAMETERS) if text else {}
    except ValueError:
        raise InvalidRequestError(
            f"expected at most {_MAX_QUERY_PARAMETERS} query parameters", reason="TOO_MANY_PARAMETERS"
        ) from None
    headers = {name[5:].replace("_", "-").lower(): text for name, text in environ.items() if name.startswith("HTTP_")}
    return Request(environ["REQUEST_METHOD"], request_path(environ), match.values, query, headers, body)


def _last_message(response: Response, identity: str) -> bytes:
    """Return an answer as HTTP has it, for where the server is not asked to send it."""
    assert isinstance(response.body, bytes)
    headers = {
        "Date": formatdate(usegmt=True),
        "Connection": "close",
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "X-Request-Id": identity,
        **response.headers,
    }
    lines = [f"HTTP/1.1 {_STATUS_LINES[response.status]}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + response.body


def _let_silent_connections_wait() -> None:
    """Have gunicorn wait for the first byte of a connection where that costs no thread.

    It lends each new connection a thread for five seconds first, for which it has a constant and no setting: a hundred
    silent connections would stop a function of four threads for two minutes.
    """
    with contextlib.suppress(ImportError):  # not there on Windows, where functions-framework has another server
        from gunicorn.workers import gthread  # type: ignore[import-untyped]

        gthread.DEFAULT_WORKER_DATA_TIMEOUT = _FIRST_BYTE_SECONDS


def _close_after(start_response: StartResponse) -> bool:
    # gunicorn drops an application's Connection header; its own response object has to be told.
    force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
    if force_close:
        force_close()
    return True


def _is_last(environ: Environ) -> bool:
    connection = environ.get("HTTP_CONNECTION", "").strip().lower()
    return connection == "close" or (environ.get("SERVER_PROTOCOL") == "HTTP/1.0" and connection != "keep-alive")


def _check_content_type(environ: Environ, route: Route) -> None:
    if route.content_types is None:
        return
    kind, _, parameters = environ.get("CONTENT_TYPE", "").lower().partition(";")
    charset = _CHARSET.search(parameters)
    if kind.strip() not in route.content_types or (charset and charset[1] != "utf-8"):
        # What curl and forms send is named, since it is the usual mistake; anything else is the caller's own text.
        got = kind.strip() if kind.strip() in ("", "text/plain", "application/x-www-form-urlencoded") else "another"
        raise UnsupportedMediaTypeError(
            f"Content-Type: expected {' or '.join(route.content_types)} in UTF-8, got {got or 'none'}"
        )
