"""Keeps a slow store from holding every thread of a function: some stay free for what needs no store."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from shared.errors import UnavailableError
from shared.lazy import Once

S = TypeVar("S")

# Threads that are kept out of the store: for health checks, and to say that the store is slow.
_SPARE_THREADS = 2
# A full store in which nothing has moved for so long, or where most calls have lasted so long, is slow.
_STILL_SECONDS, _LASTING_SECONDS = 0.5, 1.5
# From a process's first call on, until one has succeeded: libraries are imported, and connections made.
_STARTING_SECONDS = 6.0


class Bulkhead(Generic[S]):
    """A store that all but two of a function's threads may be in at once, and one until it is open.

    Where calls are quick, one more waits its turn on a thread, for milliseconds, and nobody is refused. Where they are
    slow, waiting would hold the last threads as well, so that one more is refused at once.

    Args:
        open_store: Called by the first call, which may have to wait for the database as any other.
        threads: Requests the function works on at once.
    """

    def __init__(self, open_store: Callable[[], S], threads: int) -> None:
        self._store = Once(open_store)
        self._most_once_open = max(1, threads - _SPARE_THREADS)
        self._most = 1
        self._starting_until: float | None = None
        self._begun: list[float] = []  # when each call inside began, the longest first
        self._moved = threading.Condition()

    @contextmanager
    def entered(self) -> Iterator[S]:
        """Lend the store to the block, which asks it something at once.

        Raises:
            UnavailableError: reason STORE_BUSY; the store is slow and full.
            Whatever opening it raises; the next call tries again.
        """
        began = self._enter()
        try:
            store = self._store()
            self._most = self._most_once_open
            yield store
            self._starting_until = 0.0
        finally:
            with self._moved:
                self._begun.remove(began)
                self._moved.notify(self._most - len(self._begun))

    def _enter(self) -> float:
        with self._moved:
            if self._starting_until is None:
                self._starting_until = time.monotonic() + _STARTING_SECONDS
            while len(self._begun) >= self._most:
                patience_seconds = max(self._starting_until, self._slow_at()) - time.monotonic()
                if patience_seconds <= 0:
                    raise UnavailableError("the store is slow, and enough requests wait for it", reason="STORE_BUSY")
                self._moved.wait(patience_seconds)
            self._begun.append(time.monotonic())
            return self._begun[-1]

    def _slow_at(self) -> float:
        """Return when a full store is slow if nothing moves until then."""
        return min(self._begun[-1] + _STILL_SECONDS, self._begun[len(self._begun) // 2] + _LASTING_SECONDS)
