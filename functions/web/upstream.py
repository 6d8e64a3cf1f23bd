"""The other functions, asked by URL in this one's own name, each held apart from the rest."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from shared.errors import BadGatewayError, GatewayTimeoutError, UnavailableError
from shared.lazy import Once
from shared.routing import Response

_CONNECT_SECONDS = 5.0
# Answers up to this length are read whole: their connection is used again, and they cannot break off half sent.
_WHOLE_BYTES = 1 << 20
# For a place, before the function is held to be overloaded: a page asks several things at once.
_TURN_SECONDS = 1.0
# What a browser may know of an answer besides its type.
_PASSED_ON = ("retry-after", "x-nightshift-version", "x-nightshift-start")
_TYPES = {"application/json": "application/json", "text/csv": "text/csv; charset=utf-8"}
_STATUSES = {status.value for status in HTTPStatus}


class Upstream:
    """One function.

    Args:
        name: The function, as messages name it.
        url: Where it is.
        timeout_seconds: How long it may be silent.
        most_at_once: How many of this function's threads may wait for it; one more waits a second, and is refused. Half
            of them may be in answers that come in pieces, whose readers may take their time.
        places: Of all functions together, so that some threads are left for the page itself.
        id_token: Returns what it wants to be shown in the cloud; None on a laptop.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        timeout_seconds: float,
        most_at_once: int,
        places: threading.BoundedSemaphore,
        id_token: Callable[[], str] | None,
    ) -> None:
        self.name = name
        self.url = url
        self._seconds = timeout_seconds
        self._id_token = id_token
        self._places = (threading.BoundedSemaphore(most_at_once), places)
        self._streams = threading.BoundedSemaphore(max(1, most_at_once // 2))
        # Not before the first question: the worker is forked until then.
        self._client = Once(_client)

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        media_types: tuple[str, ...] = ("application/json",),
        timeout_seconds: float | None = None,
    ) -> Response:
        """Return its answer, whatever its status; a long one as a stream.

        Args:
            method: Of HTTP.
            path: With the query.
            headers: Passed on.
            body: Sent if there is one.
            media_types: What it may answer.
            timeout_seconds: How long it may be silent, if not as long as usual.

        Raises:
            UnavailableError: reason UPSTREAM_UNREACHABLE, or UPSTREAM_BUSY where too many wait for it already.
            GatewayTimeoutError: It is there, and did not answer.
            BadGatewayError: It answered something that is not its own: a page of a proxy, for one.
        """
        held = ExitStack()
        with held:
            for place in self._places:
                self._enter(place, held)
            answer = self._send(method, path, headers, body, timeout_seconds or self._seconds)
            held.callback(answer.close)
            content_type = _TYPES[self._checked_type(answer, media_types)]
            found = {name.title(): answer.headers.get(name, "") for name in _PASSED_ON}
            passed = {name: text for name, text in found.items() if text and text.isascii()}
            content: bytes | Iterator[bytes]
            if int(answer.headers.get("content-length", _WHOLE_BYTES + 1)) <= _WHOLE_BYTES:
                content = b"".join(_pieces(answer, self.name))
            else:
                self._enter(self._streams, held)
                content = _Stream(_pieces(answer, self.name), held.pop_all())
        return Response(content, answer.status_code, content_type, passed)

    def close(self) -> None:
        """Close its connections."""
        self._client().close()

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes, timeout_seconds: float
    ) -> httpx.Response:
        if self._id_token:
            headers = {**headers, "Authorization": f"Bearer {self._id_token()}"}
        client = self._client()
        request = client.build_request(
            method,
            self.url + path,
            headers=headers,
            content=body or None,
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
        )
        try:
            return client.send(request, stream=True)
        except httpx.ConnectTimeout as error:
            raise self._unreachable(error) from error
        except httpx.TimeoutException as error:
            raise GatewayTimeoutError(
                f"{self.name} did not answer within {timeout_seconds:g} seconds", reason="UPSTREAM_TIMEOUT"
            ) from error
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _enter(self, places: threading.BoundedSemaphore, held: ExitStack) -> None:
        if not places.acquire(timeout=_TURN_SECONDS):
            raise UnavailableError(f"{self.name} is slow, and too many wait for it already", reason="UPSTREAM_BUSY")
        held.callback(places.release)

    def _unreachable(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"{self.name} cannot be reached: {type(error).__name__}", reason="UPSTREAM_UNREACHABLE")

    def _checked_type(self, answer: httpx.Response, media_types: tuple[str, ...]) -> str:
        got, status = answer.headers.get("content-type", "nothing").split(";")[0].strip().lower(), answer.status_code
        # An error is JSON, whatever was asked for.
        if status in _STATUSES and (got in media_types or (status >= 400 and got == "application/json")):
            return str(got)
        if status in (401, 403):
            raise BadGatewayError(
                f"{self.name} does not let the page's function in ({status}): it needs the role run.invoker there",
                reason="UPSTREAM_REFUSED",
            )
        raise BadGatewayError(
            f"{self.name} answered {status} with {got[:60]}, expected {' or '.join(media_types)}",
            reason="UPSTREAM_NONSENSE",
        )


class _Stream:
    """A long answer as it comes; ending it, early or not, lets go of the connection and of the places.

    Not a generator, whose end does nothing before its beginning.
    """

    def __init__(self, pieces: Iterator[bytes], held: ExitStack) -> None:
        self._pieces = pieces
        self._held = held

    def __iter__(self) -> "_Stream":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go; once is enough."""
        self._held.close()


def _pieces(answer: httpx.Response, name: str) -> Iterator[bytes]:
    try:
        yield from answer.iter_bytes()
    except httpx.HTTPError as error:
        raise BadGatewayError(f"{name} broke off: {type(error).__name__}") from error


def _client() -> httpx.Client:
    # One visitor's cookies are not another's.
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    return httpx.Client(limits=httpx.Limits(max_connections=None), cookies=no_cookies)
