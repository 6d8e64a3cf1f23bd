"""What stands between the open port and a function: limits, refusals, and one log line a request.

WSGI, outside Flask: functions-framework routes every method, has no limits, and reads the body even of a
request that was already refused.
"""

import contextlib
import io
import re
import socket
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from shared.bodies import LargeBodies, LargeBodySlot, check_length, declared_length, inflate, read_body
from shared.errors import ServiceError, UnsupportedMediaTypeError, UriTooLongError
from shared.patience import Patience
from shared.request_log import Environ, RequestLog, request_id, request_path
from shared.routing import Match, Response, Route, Router

StartResponse = Callable[..., Any]
WsgiApp = Callable[[Environ, StartResponse], Iterable[bytes]]

# Keys under which the guard and the endpoint hand things to each other.
MATCH, LOG_FIELDS = "nightshift.match", "nightshift.log"

MAX_URI_BYTES = 8192
_CHARSET = re.compile(r'charset="?([^\s;"]*)')


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a function takes.

    Attributes:
        max_body_bytes: 413 beyond; of a gzip body, what it inflates to counts as well.
        max_large_bodies: Bodies over 1 MiB in memory at once; one more is 503. None: no such bound.
        body_deadline_seconds: 408 for a body that takes longer.
        accept_gzip: Whether Content-Encoding: gzip is taken; any other encoding is 415.
    """

    max_body_bytes: int
    max_large_bodies: int | None = None
    body_deadline_seconds: float = 10.0
    accept_gzip: bool = False


class Guard:
    """WSGI middleware around one function.

    Args:
        app: What answers admitted requests.
        name: The function, for the log.
        router: Knows the paths and methods.
        limits: The function's limits.
        render_error: Turns an error on a path into a response in that path's dialect.
        threads: Requests worked on at once; slow bodies may hold half of them.
        project_id: Google Cloud project, to name traces.
        environment: Named in the log.
    """

    def __init__(
        self,
        app: WsgiApp,
        *,
        name: str,
        router: Router,
        limits: Limits,
        render_error: Callable[[ServiceError, str], Response],
        threads: int,
        project_id: str | None = None,
        environment: str = "local",
    ) -> None:
        self._app = app
        self._router = router
        self._limits = limits
        self._encodings = ("identity", "gzip") if limits.accept_gzip else ("identity",)
        self._render_error = render_error
        self._patience = Patience(limits.body_deadline_seconds, threads)
        self._large_bodies = LargeBodies(limits.max_large_bodies)
        self._log = RequestLog(name, project_id, environment)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        started = time.perf_counter()
        identity = request_id(environ)
        # functions-framework would take its execution id from the client and write it into logs.
        environ["HTTP_FUNCTION_EXECUTION_ID"] = identity
        environ[LOG_FIELDS] = fields = {}
        status = 500

        def start(line: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, [*headers, ("X-Request-Id", identity)], *rest)

        slot = self._large_bodies.slot()
        try:
            self._admit(environ, slot)
            answer = self._app(environ, start)
            return _LastAnswer(answer, environ) if _is_last(environ) else answer
        except ServiceError as error:
            fields["outcome"] = error.reason
            return self._refuse(environ, error, start, start_response)
        except Exception:
            fields |= {"outcome": "INTERNAL", "stack_trace": traceback.format_exc()}
            return self._refuse(environ, ServiceError("an unexpected failure"), start, start_response)
        finally:
            slot.release()
            self._log.write(environ, identity, status, time.perf_counter() - started, fields)

    def _admit(self, environ: Environ, slot: LargeBodySlot) -> None:
        match = self._match(environ)
        encoding = environ.pop("HTTP_CONTENT_ENCODING", "identity").strip().lower()
        if encoding not in self._encodings:
            raise UnsupportedMediaTypeError(f"Content-Encoding: expected {' or '.join(self._encodings)}")
        length = declared_length(environ)
        if length != 0:
            check_length(length or 0, self._limits.max_body_bytes)
            _check_content_type(environ, match.route)
        body = read_body(environ, self._limits.max_body_bytes, self._patience, slot.grow)
        if encoding == "gzip" and body:
            body = inflate(body, self._limits.max_body_bytes)
            slot.grow(len(body))
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ[MATCH] = match

    def _match(self, environ: Environ) -> Match:
        uri = environ.get("RAW_URI") or environ["PATH_INFO"]
        if len(uri) > MAX_URI_BYTES:
            raise UriTooLongError(f"path and query are too long: expected at most {MAX_URI_BYTES} bytes")
        return self._router.match(environ["REQUEST_METHOD"], request_path(environ))

    def _refuse(
        self, environ: Environ, error: ServiceError, start: StartResponse, start_response: StartResponse
    ) -> Iterable[bytes]:
        response = self._render_error(error, request_path(environ))
        headers = {
            "Content-Type": response.content_type,
            "Content-Length": str(len(response.body)),
            # The body was not read, so the next request cannot be found on this connection.
            "Connection": "close",
            **response.headers,
        }
        # gunicorn drops an application's Connection header; its own response object has to be told.
        force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
        if force_close:
            force_close()
        start(f"{response.status} {HTTPStatus(response.status).phrase}", list(headers.items()))
        return _LastAnswer([response.body], environ)


class _LastAnswer:
    """The last answer on its connection: ends the connection's reading side once it was sent.

    gunicorn closes a connection on the one thread that accepts new ones, and waits there for up to two seconds
    for the client to hang up first; a few clients that do not would stop the function for everybody.
    """

    def __init__(self, answer: Iterable[bytes], environ: Environ) -> None:
        self._answer = answer
        self._socket: socket.socket | None = environ.get("gunicorn.socket")

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        """Called by the server when the answer was sent, or could not be."""
        close = getattr(self._answer, "close", None)
        if close:
            close()
        if self._socket is not None:
            with contextlib.suppress(OSError):  # the client hung up first
                self._socket.shutdown(socket.SHUT_RD)


def _is_last(environ: Environ) -> bool:
    connection = environ.get("HTTP_CONNECTION", "").strip().lower()
    return connection == "close" or (environ.get("SERVER_PROTOCOL") == "HTTP/1.0" and connection != "keep-alive")


def _check_content_type(environ: Environ, route: Route) -> None:
    if route.content_types is None:
        return
    kind, _, parameters = environ.get("CONTENT_TYPE", "").lower().partition(";")
    charset = _CHARSET.search(parameters)
    if kind.strip() not in route.content_types or (charset and charset[1] != "utf-8"):
        raise UnsupportedMediaTypeError(f"Content-Type: expected {' or '.join(route.content_types)} in UTF-8")
