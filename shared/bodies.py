"""Reading request bodies with a limit on their size, their patience, and how many large ones there are at once.

gunicorn reads a body with blocking calls and no limit of any kind: as many half-sent requests as there are
threads would stop a function for everybody. Flask's MAX_CONTENT_LENGTH cuts chunked bodies silently.
"""

import threading
import zlib
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from shared.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    SlowRequestError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from shared.patience import Patience

LARGE_BODY_BYTES = 1 << 20
# Pieces begin small, so that a body which does come in is seen to do so, and grow with it.
_LEAST_PIECE_BYTES, _MOST_PIECE_BYTES = 1 << 10, 1 << 16


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class LargeBodies:
    """Bounds how many bodies over 1 MiB are in memory at once."""

    def __init__(self, most: int | None) -> None:
        self._free = threading.Semaphore(most) if most else None

    def slot(self) -> "LargeBodySlot":
        """Return what one request takes a place with, should its body turn out large."""
        return LargeBodySlot(self._free)


class LargeBodySlot:
    """One request's place among the large bodies; whoever asked for it releases it, taken or not."""

    def __init__(self, free: threading.Semaphore | None) -> None:
        self._free = free
        self._taken = False

    def grow(self, body_bytes: int) -> None:
        """Take the place once the body is large.

        Raises:
            UnavailableError: reason TOO_MANY_LARGE_BODIES.
        """
        if body_bytes <= LARGE_BODY_BYTES or self._taken or self._free is None:
            return
        if not self._free.acquire(blocking=False):
            raise UnavailableError("too many large bodies at once; try again", reason="TOO_MANY_LARGE_BODIES")
        self._taken = True

    def release(self) -> None:
        """Give the place back."""
        if self._taken and self._free is not None:
            self._taken = False
            self._free.release()


def declared_length(environ: Mapping[str, Any]) -> int | None:
    """Return how long a body says it is, 0 where there is none; None for a chunked one, which does not say.

    Raises:
        InvalidRequestError: Content-Length is not a number.
    """
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return None
    text = environ.get("CONTENT_LENGTH") or "0"
    # 18 digits are an exabyte; Python refuses to convert thousands of them.
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidRequestError("Content-Length: expected a whole number", reason="INVALID_CONTENT_LENGTH")
    return int(text)


def read_body(
    environ: Mapping[str, Any], max_bytes: int, patience: Patience, grow: Callable[[int], None] = lambda _: None
) -> bytes:
    """Read a request's body whole.

    Args:
        environ: The WSGI environment.
        max_bytes: The most the body may hold.
        patience: Bounds how long the body may take.
        grow: Told how many bytes there are, before more are read; may refuse.

    Raises:
        PayloadTooLargeError: It holds more; at most one byte past the limit was kept.
        SlowRequestError: It took too long.
        InvalidRequestError: It ended before its Content-Length, or its chunks are malformed.
    """
    length = declared_length(environ)
    if length == 0:
        return b""
    check_length(length or 0, max_bytes)
    grow(length or 0)
    stream: _Readable = environ["wsgi.input"]
    sock = environ.get("gunicorn.socket")
    if sock is None:  # another server, such as functions-framework --debug
        return _complete(stream, length, max_bytes, grow)
    with patience.watch(sock) as wait:

        def count(total: int) -> None:
            wait.received_bytes = total
            grow(total)

        try:
            return _complete(stream, length, max_bytes, count)
        except InvalidRequestError:
            if wait.ended:
                raise SlowRequestError("the body did not arrive in time") from None
            raise


def check_length(length: int, max_bytes: int) -> None:
    """Refuse a length over the limit.

    Raises:
        PayloadTooLargeError: With the limit in its metadata.
    """
    if length > max_bytes:
        raise PayloadTooLargeError(
            f"the body is too large: expected at most {max_bytes} bytes",
            metadata={"max_body_bytes": str(max_bytes)},
        )


def inflate(body: bytes, max_bytes: int) -> bytes:
    """Decompress a gzip body, never holding more than one byte past the limit.

    Raises:
        PayloadTooLargeError: It inflates to more than `max_bytes`.
        UnsupportedMediaTypeError: It is not gzip, or is cut short.
    """
    inflater = zlib.decompressobj(wbits=31)
    try:
        data = inflater.decompress(body, max_bytes + 1)
    except zlib.error:
        data = b""
    check_length(len(data), max_bytes)
    if not inflater.eof or inflater.unused_data:
        raise UnsupportedMediaTypeError("Content-Encoding: gzip, but the body is not one gzip stream")
    return data


def _complete(stream: _Readable, length: int | None, max_bytes: int, grow: Callable[[int], None]) -> bytes:
    pieces: list[bytes] = []
    total = 0
    wanted = max_bytes + 1 if length is None else length
    while total < wanted:
        piece = _piece(stream, min(max(total, _LEAST_PIECE_BYTES), _MOST_PIECE_BYTES, wanted - total))
        if not piece:
            break
        pieces.append(piece)
        total += len(piece)
        grow(total)
    check_length(total, max_bytes)
    if length is not None and total < length:
        raise InvalidRequestError(
            f"the body ended early: expected {length} bytes, got {total}", reason="BODY_INCOMPLETE"
        )
    return b"".join(pieces)


def _piece(stream: _Readable, size: int) -> bytes:
    try:
        return stream.read(size)
    except Exception as error:
        # Each server has exceptions of its own for a hang-up and for malformed chunks.
        raise InvalidRequestError(
            "the body broke off, or its chunks are malformed", reason="BODY_INCOMPLETE"
        ) from error
