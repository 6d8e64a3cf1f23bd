"""The other functions, asked by URL in this one's own name, each held apart from the rest."""

import threading
from collections.abc import Callable, Iterator, Mapping

import httpx

from shared.errors import BadGatewayError, GatewayTimeoutError, UnavailableError
from shared.lazy import Once
from shared.routing import Response

_CONNECT_SECONDS = 5.0
# Answers up to this length are read whole: their connection is used again, and they cannot break off half sent.
_WHOLE_BYTES = 1 << 20
_PIECE_BYTES = 1 << 16
# For a place, before the function is held to be overloaded: a page asks several things at once.
_TURN_SECONDS = 1.0
# What a browser may know of an answer besides its type.
_PASSED_ON = ("retry-after", "idempotency-replayed", "x-nightshift-model", "x-nightshift-version", "x-nightshift-start")


class Upstream:
    """One function.

    Args:
        name: The function, as messages name it.
        url: Where it is.
        timeout_seconds: How long it may be silent.
        most_at_once: How many of this function's threads may wait for it; one more waits a second, and is refused.
        id_token: Returns what it wants to be shown in the cloud; None on a laptop.
    """

    def __init__(
        self, name: str, url: str, *, timeout_seconds: float, most_at_once: int, id_token: Callable[[], str] | None
    ) -> None:
        self.name = name
        self.url = url
        self._seconds = timeout_seconds
        self._id_token = id_token
        self._places = threading.BoundedSemaphore(most_at_once)
        # Not before the first question: the worker is forked until then.
        self._client = Once(lambda: httpx.Client(limits=httpx.Limits(max_connections=None)))

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
        if not self._places.acquire(timeout=_TURN_SECONDS):
            raise UnavailableError(f"{self.name} is slow, and too many wait for it already", reason="UPSTREAM_BUSY")
        held = True
        try:
            answer = self._send(method, path, headers, body, timeout_seconds or self._seconds)
            try:
                self._check(answer, media_types)
                if int(answer.headers.get("content-length", _WHOLE_BYTES + 1)) <= _WHOLE_BYTES:
                    content: bytes | Iterator[bytes] = answer.read()
                else:
                    content, held = _Pieces(answer, self._places.release), False
            except httpx.HTTPError as error:
                raise BadGatewayError(f"{self.name} broke off: {type(error).__name__}") from error
            finally:
                if held:
                    answer.close()
        finally:
            if held:
                self._places.release()
        passed = {name.title(): answer.headers[name] for name in _PASSED_ON if name in answer.headers}
        return Response(content, answer.status_code, answer.headers["content-type"], passed)

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

    def _unreachable(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"{self.name} cannot be reached: {type(error).__name__}", reason="UPSTREAM_UNREACHABLE")

    def _check(self, answer: httpx.Response, media_types: tuple[str, ...]) -> None:
        got, status = answer.headers.get("content-type", "nothing").split(";")[0].strip().lower(), answer.status_code
        # An error is JSON, whatever was asked for.
        if got in media_types or (status >= 400 and got == "application/json"):
            return
        if status in (401, 403):
            raise BadGatewayError(
                f"{self.name} does not let the page's function in ({status}): it needs the role run.invoker there",
                reason="UPSTREAM_REFUSED",
            )
        raise BadGatewayError(
            f"{self.name} answered {status} with {got[:60]}, expected {' or '.join(media_types)}",
            reason="UPSTREAM_NONSENSE",
        )


class _Pieces:
    """A long answer as it comes; ending it, early or not, ends the question as well."""

    def __init__(self, answer: httpx.Response, release: Callable[[], None]) -> None:
        self._answer = answer
        self._pieces = answer.iter_bytes(_PIECE_BYTES)
        self._release: Callable[[], None] | None = release

    def __iter__(self) -> "_Pieces":
        return self

    def __next__(self) -> bytes:
        try:
            return next(self._pieces)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the connection and of the place."""
        release, self._release = self._release, None
        if release:
            self._answer.close()
            release()
