"""One connection of a load: sends a request, reads its answer, and is opened again whenever it is closed."""

import selectors
import socket
import time

from .answers import Answer, AnswerReader
from .calls import Call, Load
from .errors import MeasurementError

Address = tuple[str, int]

ANSWER_SECONDS = 30.0
_RECEIVE_BYTES = 1 << 16


class Lane:
    """One connection and the request under way on it.

    Args:
        address: Host and port.
        selector: Told what the lane waits for; its key's data is the lane.
        load: Counts what comes of the requests.

    Raises:
        MeasurementError: The server cannot be reached.
    """

    def __init__(self, address: Address, selector: selectors.BaseSelector, load: Load) -> None:
        self._address = address
        self._selector = selector
        self._load = load
        self._reader = AnswerReader()
        self._call: Call
        self._unsent = memoryview(b"")
        self._sent_at = 0.0
        self._open()

    def send(self, call: Call) -> None:
        """Send a request, or as much of it as the connection takes now; `go_on` sends the rest."""
        self._call = call
        self._sent_at = time.perf_counter()
        self._transmit()

    def go_on(self, events: int) -> bool:
        """Send and read what can be; tell whether the request is done with, answered or broken."""
        if events & selectors.EVENT_WRITE and self._sends_all():
            self._selector.modify(self._socket, selectors.EVENT_READ, self)
        return bool(events & selectors.EVENT_READ) and self._receive()

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
        self._unsent = memoryview(self._call.request)
        if not self._sends_all():
            # Waiting here until a large body is through would keep the other lanes' answers waiting as well.
            self._selector.modify(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE, self)

    def _sends_all(self) -> bool:
        """Send what the connection takes without waiting; tell whether nothing is left."""
        try:
            self._unsent = self._unsent[self._socket.send(self._unsent, socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            return False
        except ConnectionError:
            # The server has hung up: reading says so too, and `_receive` decides what that means.
            self._unsent = self._unsent[:0]
        return not self._unsent

    def _receive(self) -> bool:
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

    def _finish(self, answer: Answer) -> None:
        self._load.latencies_seconds.append(time.perf_counter() - self._sent_at)
        self._call.check(answer)
        self._used = True
        if self._unsent or not answer.keep_alive:
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
        connection = socket.create_connection(address, timeout=ANSWER_SECONDS)
    except OSError as error:
        raise MeasurementError(f"{address[0]}:{address[1]}: no connection: {error.strerror or error}") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # The selector waits; with a timeout of its own the socket would poll before every read and write.
    connection.settimeout(None)
    return connection
