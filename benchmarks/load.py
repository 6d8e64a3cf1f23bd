"""A closed-loop HTTP client: N connections, each sending its next request when its last one is answered.

One thread and one selector over raw sockets, because the client runs on the processor it measures.
"""

import math
import selectors
import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .answers import Answer, AnswerReader
from .errors import MeasurementError, WrongAnswerError

Address = tuple[str, int]

_ANSWER_SECONDS = 30.0
_RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it goes over the wire, and what a right answer to it is."""

    request: bytes
    is_right: Callable[[Answer], bool]

    def check(self, answer: Answer) -> None:
        """Refuse a wrong answer.

        Raises:
            WrongAnswerError: With the request's first line, and the status and the start of the body that came.
        """
        if not self.is_right(answer):
            line = self.request.partition(b"\r\n")[0].decode("latin-1")
            shown = answer.body[:300].decode("utf-8", "replace")
            raise WrongAnswerError(f"{line}: wrong answer: status {answer.status}, body {shown!r}")


@dataclass(slots=True)
class Load:
    """What a load came to.

    Attributes:
        latencies_seconds: Of each right answer, from before its request was sent until its last byte was read.
        seconds: From the first request to the last answer.
        errors: Connections that broke before the answer was whole; those requests have no latency.
        reconnects: Connections opened again, be it that the server closed them or that they broke.
    """

    latencies_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: int = 0
    reconnects: int = 0

    @property
    def answers(self) -> int:
        """Right answers."""
        return len(self.latencies_seconds)

    @property
    def requests_per_second(self) -> float:
        """The rate of right answers."""
        return self.answers / self.seconds

    @property
    def median_seconds(self) -> float:
        """The median latency."""
        return statistics.median(self.latencies_seconds)

    @property
    def p99_seconds(self) -> float:
        """The latency that 99 % of the answers did not exceed."""
        ordered = sorted(self.latencies_seconds)
        return ordered[math.ceil(0.99 * len(ordered)) - 1]


def run_load(
    address: Address,
    next_call: Callable[[], Call],
    *,
    connections: int,
    seconds: float,
    max_requests: int | None = None,
) -> Load:
    """Send requests until the time or their number is up, and wait for the answers under way.

    Args:
        address: Host and port.
        next_call: Makes the next request.
        connections: How many are kept busy, 1 or more.
        seconds: After this long no further request is sent.
        max_requests: Nor after this many; None: no such bound.

    Raises:
        WrongAnswerError: An answer was not the right one; nothing more is sent.
        MeasurementError: The server cannot be reached, is silent for 30 s, or gave no right answer at all.
    """
    load = Load()
    left = math.inf if max_requests is None else max_requests
    with selectors.DefaultSelector() as selector:
        lanes = [_Lane(address, selector, load) for _ in range(connections)]
        started = last_answer = time.perf_counter()
        try:
            for lane in lanes:
                if left > 0:
                    left -= 1
                    lane.send(next_call())
                else:
                    lane.close()
            while selector.get_map():
                for lane in _ready(selector, address):
                    if lane.receive():
                        last_answer = time.perf_counter()
                        if left > 0 and last_answer - started < seconds:
                            left -= 1
                            lane.send(next_call())
                        else:
                            lane.close()
        finally:
            for lane in lanes:
                lane.close()
    load.seconds = last_answer - started
    if not load.latencies_seconds:
        raise MeasurementError(f"{_name(address)}: no request of {load.errors} was answered")
    return load


class _Lane:
    """One connection, opened again whenever it is closed, and the request under way on it."""

    def __init__(self, address: Address, selector: selectors.BaseSelector, load: Load) -> None:
        self._address = address
        self._selector = selector
        self._load = load
        self._reader = AnswerReader()
        self._call: Call
        self._sent_at = 0.0
        self._open()

    def send(self, call: Call) -> None:
        """Send a request."""
        self._call = call
        self._sent_at = time.perf_counter()
        self._transmit()

    def receive(self) -> bool:
        """Read what has come; tell whether the request is done with, answered or broken."""
        try:
            piece = self._socket.recv(_RECEIVE_BYTES)
        except ConnectionError:
            piece = b""
        answer = self._reader.feed(piece) if piece else self._reader.end()
        if answer:
            self._finish(answer)
        elif not piece:
            return self._recover()
        return answer is not None

    def close(self) -> None:
        """Close the connection; a second time has no effect."""
        if self._socket.fileno() >= 0:
            self._selector.unregister(self._socket)
            self._socket.close()

    def _open(self) -> None:
        self._socket = _connect(self._address)
        self._used = False
        self._selector.register(self._socket, selectors.EVENT_READ, self)

    def _reopen(self) -> None:
        self.close()
        self._load.reconnects += 1
        self._open()

    def _transmit(self) -> None:
        self._reader = AnswerReader()
        try:
            self._socket.sendall(self._call.request)
        except ConnectionError:
            # The server has hung up: reading says so too, and `receive` decides what that means.
            return

    def _finish(self, answer: Answer) -> None:
        self._load.latencies_seconds.append(time.perf_counter() - self._sent_at)
        self._call.check(answer)
        self._used = True
        if not answer.keep_alive:
            self._reopen()

    def _recover(self) -> bool:
        """Go on after the connection ended without an answer; tell whether the request is lost."""
        # A server may end a kept connection just as the next request is sent: that is no error, it is sent again.
        unanswered = self._used and not self._reader.started
        self._reopen()
        if unanswered:
            self._transmit()
            return False
        self._load.errors += 1
        return True


def _connect(address: Address) -> socket.socket:
    try:
        connection = socket.create_connection(address, timeout=_ANSWER_SECONDS)
    except OSError as error:
        raise MeasurementError(f"{_name(address)}: no connection: {error.strerror or error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The selector waits; with a timeout of its own the socket would poll before every read and write.
    connection.settimeout(None)
    return connection


def _ready(selector: selectors.BaseSelector, address: Address) -> list["_Lane"]:
    events = selector.select(_ANSWER_SECONDS)
    if not events:
        raise MeasurementError(f"{_name(address)}: no answer within {_ANSWER_SECONDS:.0f} s")
    return [key.data for key, _ in events]


def _name(address: Address) -> str:
    return f"{address[0]}:{address[1]}"
