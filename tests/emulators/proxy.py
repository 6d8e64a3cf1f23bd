"""A TCP proxy between a function and its database that delays, cuts, and swallows the answer to what was applied."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_CHUNK_BYTES = 1 << 16
_DROPS_A_SECOND = 10
Pair = tuple[socket.socket, socket.socket]


class Proxy:
    """Forwards connections to one address, and does harm when told to.

    Args:
        target: Host and port, or the path of a unix socket.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._pairs: set[Pair] = set()
        self._lock = threading.Lock()
        self._delay_seconds = 0.0
        self._trickle_bytes = 0
        self._flowing = threading.Event()
        self._flowing.set()
        self._refuses = False
        self._swallows: Callable[[bytes], bool] = _never
        self.swallowed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def delay(self, seconds: float) -> None:
        """Hold every piece back for so long, both ways."""
        self._delay_seconds = seconds

    def trickle(self, bytes_a_second: int) -> None:
        """Forward no more than so much of each connection, both ways; 10 bytes a second at least."""
        self._trickle_bytes = bytes_a_second // _DROPS_A_SECOND

    def pause(self) -> None:
        """Forward nothing more, and keep the connections."""
        self._flowing.clear()

    def resume(self) -> None:
        """Forward again, what was held back too, at once and refusing nobody."""
        self._delay_seconds = 0.0
        self._trickle_bytes = 0
        self._refuses = False
        self._flowing.set()

    def refuse(self) -> None:
        """Cut every connection, and each new one as soon as it is made."""
        self._refuses = True
        self.cut()

    def cut(self) -> None:
        """Cut every connection in the middle of whatever it carries."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            for end in pair:
                _hang_up(end)

    def swallow(self, request: Callable[[bytes], bool]) -> None:
        """Forward the next piece of a client's that `request` is true of, and cut instead of forwarding the answer."""
        self._swallows = request

    def close(self) -> None:
        """End it."""
        _hang_up(self._listener)
        self._flowing.set()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refuses:
                _hang_up(client)
                continue
            try:
                server = _connect(self._target)
            except OSError:
                _hang_up(client)
                continue
            pair = (client, server)
            with self._lock:
                self._pairs.add(pair)
            deaf = threading.Event()
            for source, sink in (pair, pair[::-1]):
                arguments = (source, sink, pair, deaf, source is client)
                threading.Thread(target=self._pump, args=arguments, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, pair: Pair, deaf: threading.Event, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_CHUNK_BYTES):
                self._flowing.wait()
                if self._delay_seconds:
                    time.sleep(self._delay_seconds)  # the harm itself, not a wait for something
                if asks and self._swallows(piece):
                    self._swallows = _never
                    deaf.set()
                if not asks and deaf.is_set():
                    self.swallowed += 1
                    break
                while self._trickle_bytes and piece:
                    drop, piece = piece[: self._trickle_bytes], piece[self._trickle_bytes :]
                    sink.sendall(drop)
                    time.sleep(1 / _DROPS_A_SECOND)
                sink.sendall(piece)
        with self._lock:
            self._pairs.discard(pair)
        for end in pair:
            _hang_up(end)


@contextmanager
def proxy_to(target: tuple[str, int] | str) -> Iterator[Proxy]:
    """Run a proxy until the block ends."""
    proxy = Proxy(target)
    try:
        yield proxy
    finally:
        proxy.close()


def _never(piece: bytes) -> bool:
    return False


def _connect(target: tuple[str, int] | str) -> socket.socket:
    if isinstance(target, tuple):
        return socket.create_connection(target)
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(target)
    return connection


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
