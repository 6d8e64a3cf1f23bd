"""Tells callers in time that a model is not going to answer; the call itself keeps its thread and its place.

A call into a model cannot be interrupted. Running each on a thread of its own, to be able to leave it, would cost every
request that is answered; instead one thread looks now and then at the requests under way.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from shared.errors import ServiceError

from .answering import headers_of

_LONGEST_LOOK_SECONDS = 1.0


class ModelTimeoutError(ServiceError):
    """504: the model was asked and has not answered in time; whether it will is not known."""

    http_status, status, reason = 504, "DEADLINE_EXCEEDED", "MODEL_TIMEOUT"


class Deadlines:
    """Answers 504 in the place of a handler that takes too long; see `shared.guard.Deadlines`.

    Whoever takes a request out of those under way answers it, its handler or the thread that watches; the thread
    keeps the lock until it has sent its answer, since the handler's end closes the connection. The thread starts with
    the first request, which is after the server has forked.

    Args:
        seconds: Returns how long a handler may take; called once, with the first request.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._under_way: set[_Request] = set()
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._started = False

    def begin(
        self, environ: Mapping[str, Any], fields: Mapping[str, Any], refuse: Callable[[ServiceError], bytes]
    ) -> Callable[[], bool]:
        """Watch a request from now on."""
        sock = environ.get("gunicorn.socket")
        if sock is None:  # another server, such as functions-framework --debug
            return _not_watched
        request = _Request(sock, fields, refuse)
        with self._lock:
            if not self._started:
                threading.Thread(target=self._run, args=(self._seconds(),), name="deadlines", daemon=True).start()
                self._started = True
            self._under_way.add(request)
        if not self._begun.is_set():
            self._begun.set()
        return lambda: self._finish(request)

    def _finish(self, request: "_Request") -> bool:
        with self._lock:
            if request in self._under_way:
                self._under_way.remove(request)
                return True
            return False

    def _run(self, seconds: float) -> None:
        while True:
            self._begun.wait()
            time.sleep(min(_LONGEST_LOOK_SECONDS, seconds / 10))
            overdue_since = time.monotonic() - seconds
            with self._lock:
                for request in [request for request in self._under_way if request.since < overdue_since]:
                    self._under_way.remove(request)
                    _answer(request, seconds)
                if not self._under_way:
                    self._begun.clear()


class _Request:
    __slots__ = ("fields", "refuse", "since", "sock")

    def __init__(self, sock: socket.socket, fields: Mapping[str, Any], refuse: Callable[[ServiceError], bytes]) -> None:
        self.sock = sock
        self.fields = fields
        self.refuse = refuse
        self.since = time.monotonic()


def _not_watched() -> bool:
    return True


def _answer(request: _Request, seconds: float) -> None:
    """Send the refusal and end the connection, waiting for nobody: it fits into a buffer or is not being read."""
    model, version = request.fields.get("model"), request.fields.get("version")
    whose = f" from {model} version {version}" if model else ""
    headers = headers_of(model, version) if model and version else {}
    answer = request.refuse(ModelTimeoutError(f"no answer{whose} within {seconds:g} seconds", headers=headers))
    with contextlib.suppress(OSError):  # the client hung up first
        request.sock.send(answer, socket.MSG_DONTWAIT)
        request.sock.shutdown(socket.SHUT_RDWR)
