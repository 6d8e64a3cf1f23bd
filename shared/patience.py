"""Ends request bodies that take too long, so that half-sent requests cannot hold every thread of a function."""

import contextlib
import socket
import threading
import time
from types import TracebackType

# A body under way for longer is slow: such bodies may hold half of the threads.
_SLOW_AFTER_SECONDS = 1.0
# While bodies hold every thread, one that has stalled for this long, at a rate no client has, ends at once.
_STALLED_AFTER_SECONDS = 0.3
_STALLED_BYTES_PER_SECOND = 4096
_LOOK_EVERY_SECONDS = 0.1


class Wait:
    """One body under way, as a context; whoever reads it counts what came in `received_bytes`.

    Attributes:
        ended: Its connection's reading side was shut, because it took too long.
    """

    def __init__(self, patience: "Patience", sock: socket.socket) -> None:
        self._patience = patience
        self.sock = sock
        self.since = time.monotonic()
        self.received_bytes = 0
        self.ended = False

    def __enter__(self) -> "Wait":
        self._patience.begin(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._patience.finish(self)

    def stalled(self, now: float) -> bool:
        """Whether next to nothing has come."""
        age_seconds = now - self.since
        return age_seconds > _STALLED_AFTER_SECONDS and self.received_bytes < age_seconds * _STALLED_BYTES_PER_SECOND


class Patience:
    """Ends reads that last too long, and the least productive ones first when too many are slow at once.

    Shutting the socket's reading side wakes a blocked read with end-of-file, whichever way the server reads. One
    thread watches all bodies; it starts with the first one, which is after the server has forked.

    Args:
        deadline_seconds: No body may take longer.
        threads: How many bodies the server reads at once; slow ones may hold half of these.
    """

    def __init__(self, deadline_seconds: float, threads: int) -> None:
        self._deadline_seconds = deadline_seconds
        self._threads = threads
        self._max_slow = max(1, threads // 2)
        self._waits: list[Wait] = []
        self._lock = threading.Lock()
        self._begun = threading.Event()
        self._started = False

    def watch(self, sock: socket.socket) -> Wait:
        """Bound the reads made within the returned context."""
        return Wait(self, sock)

    def begin(self, wait: Wait) -> None:
        """Watch a body from now on."""
        with self._lock:
            if not self._started:
                threading.Thread(target=self._run, name="body-patience", daemon=True).start()
                self._started = True
            self._waits.append(wait)
        if not self._begun.is_set():
            self._begun.set()

    def finish(self, wait: Wait) -> None:
        """Watch it no more: the server may use its socket for something else."""
        with self._lock:
            self._waits.remove(wait)

    def _run(self) -> None:
        while True:
            self._begun.wait()
            time.sleep(min(_LOOK_EVERY_SECONDS, self._deadline_seconds / 4))
            with self._lock:
                self._end_overdue(time.monotonic())
                if not self._waits:
                    self._begun.clear()

    def _end_overdue(self, now: float) -> None:
        waits = [wait for wait in self._waits if not wait.ended]
        overdue = [wait for wait in waits if now - wait.since > self._deadline_seconds]
        slow = [wait for wait in waits if now - wait.since > _SLOW_AFTER_SECONDS]
        slow.sort(key=lambda wait: wait.received_bytes / (now - wait.since))
        overdue += slow[: max(0, len(slow) - self._max_slow)]
        if len(waits) >= self._threads > 1:
            overdue += [wait for wait in waits if wait.stalled(now)]
        for wait in overdue:
            wait.ended = True
            # A client that hung up in the meantime has ended its read as well.
            with contextlib.suppress(OSError):
                wait.sock.shutdown(socket.SHUT_RD)
