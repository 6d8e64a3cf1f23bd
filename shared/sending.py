"""What the server is handed to send: whole answers, and streams that are never longer in memory than a piece.

A stream's status is sent before its end is known. One that fails after that must not look complete, so its
connection is reset; and its log line is written when it ends, not when it begins.
"""

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

from shared.request_log import Environ, failure_fields

# What is handed to the server at a time; it waits until the reader has taken it, or the system's buffers have.
PIECE_BYTES = 1 << 16

# nginx's status for a client that hung up; here it only grades the log line.
CLIENT_GONE = 499


class LastAnswer:
    """The last answer on its connection: ends the connection's reading side once it was sent.

    gunicorn closes a connection on the one thread that accepts new ones, and waits there for up to two seconds
    for the client to hang up first; a few clients that do not would stop the function for everybody.
    """

    def __init__(self, body: bytes, environ: Environ) -> None:
        self._body = body
        self._environ = environ

    def __iter__(self) -> Iterator[bytes]:
        return iter((self._body,))

    def close(self) -> None:
        """Called by the server when the answer was sent, or could not be."""
        _end_reading(self._environ)


class Stream:
    """An answer that is made while it is sent.

    Args:
        body: The answer; closed with the stream, so that a client which hangs up ends the work as well.
        environ: The request's.
        fields: Of its log line; how it ended is added.
        is_last: Whether the connection ends with it.
        write_log: Called once, at the end, with the status that the line is to be graded by.
        patience_seconds: How long the reader may take for a piece before it is let go: it holds a thread.
    """

    def __init__(
        self,
        body: Iterator[bytes],
        environ: Environ,
        fields: dict[str, Any],
        is_last: bool,
        write_log: Callable[[int], None],
        patience_seconds: float,
    ) -> None:
        self._body = body
        self._environ = environ
        self._fields = fields
        self._is_last = is_last
        self._write_log: Callable[[int], None] | None = write_log
        self._ended_as = CLIENT_GONE
        sock = _socket_of(environ)
        if sock is not None:
            sock.settimeout(patience_seconds)

    def __iter__(self) -> Iterator[bytes]:
        try:
            for part in self._body:
                for start in range(0, len(part), PIECE_BYTES):
                    yield part[start : start + PIECE_BYTES]
            self._ended_as = 200
        except Exception as error:
            self._fields |= failure_fields(error)
            self._ended_as = 500
            # gunicorn takes it for a client that hung up: it says no more to this one, and prints no traceback.
            raise ConnectionResetError(errno.ECONNRESET, "the answer broke off") from error

    def close(self) -> None:
        """Called by the server when the answer was sent, or could not be."""
        if self._write_log is None:
            return
        write_log, self._write_log = self._write_log, None
        close = getattr(self._body, "close", None)
        if close:
            close()
        if self._ended_as == CLIENT_GONE:
            self._fields["outcome"] = "CLIENT_GONE"
        write_log(self._ended_as)
        if self._ended_as != 200:
            _reset(self._environ)
        elif self._is_last:
            _end_reading(self._environ)


def _socket_of(environ: Environ) -> socket.socket | None:
    # gunicorn's, or that of Flask's server, which functions-framework --debug runs.
    return environ.get("gunicorn.socket") or environ.get("werkzeug.socket")


def _end_reading(environ: Environ) -> None:
    sock: socket.socket | None = environ.get("gunicorn.socket")
    if sock is not None:
        with contextlib.suppress(OSError):  # the client hung up first
            sock.shutdown(socket.SHUT_RD)


def _reset(environ: Environ) -> None:
    """Break the connection, whatever the server does next.

    An ordinary close would be the regular end of an answer to HTTP/1.0, and gunicorn would wait for the client on
    its accepting thread. The server keeps its socket object, with nothing behind it.
    """
    sock = _socket_of(environ)
    if sock is not None:
        with contextlib.suppress(OSError), socket.socket() as nothing:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.dup2(nothing.fileno(), sock.fileno(), inheritable=False)
