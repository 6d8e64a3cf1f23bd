"""A function's stand-in: a server that keeps every push it is sent and answers as it is told."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shared.events import Delivery, delivery_of
from shared.strict_json import loads

WAIT_SECONDS = 60.0


class Receiver(ThreadingHTTPServer):
    """Keeps the bodies of pushes.

    Attributes:
        answer: Returns the status for a body, once it is to be answered; may wait.
        bodies: What came, in order.
        at_once: How many pushes were under way at the same time, at most.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: Callable[[bytes], int] = lambda body: 200
        self.bodies: list[bytes] = []
        self.at_once = self._under_way = 0
        self._changed = threading.Condition()

    @property
    def url(self) -> str:
        """Where it takes pushes."""
        return f"http://127.0.0.1:{self.server_port}/"

    def deliveries(self) -> list[Delivery]:
        """Return what came, out of its envelopes."""
        return [delivery_of(loads(body)) for body in self.bodies]

    def wait_for(self, count: int) -> list[Delivery]:
        """Wait until that many pushes came, and return all there are."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.bodies) >= count, WAIT_SECONDS), (
                f"{len(self.bodies)} of {count} pushes came"
            )
        return self.deliveries()

    def take(self, body: bytes) -> int:
        """Keep a body and return the status that answers it."""
        with self._changed:
            self.bodies.append(body)
            self._under_way += 1
            self.at_once = max(self.at_once, self._under_way)
            self._changed.notify_all()
        try:
            return self.answer(body)
        finally:
            with self._changed:
                self._under_way -= 1


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        status = self.server.take(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Stay quiet."""


@contextmanager
def push_receiver() -> Iterator[Receiver]:
    """Run a receiver until the block ends."""
    with Receiver() as receiver:
        thread = threading.Thread(target=receiver.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
            thread.join()


def answers(*statuses: int) -> Callable[[bytes], int]:
    """Return what answers with these statuses in turn, then with 200."""
    left = list(statuses)
    return lambda body: left.pop(0) if left else 200


def eventually(read: Callable[[], object], wanted: Callable[[object], bool] = bool) -> object:
    """Return what is read, once it is what is wanted."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not wanted(found := read()):
        assert time.monotonic() < deadline, f"in the end it was {found!r}"
        time.sleep(0.02)
    return found
