"""Leaves alone, for a while, what has failed several times in a row."""

import threading
import time
from collections.abc import Callable

_FAILURES_BEFORE_PAUSE = 3
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 30.0


class Pauses:
    """Says whether to try: after three failures in a row not for a second, then one caller tries for all.

    Each further failure doubles the pause, up to half a minute; a success ends it.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._pause_seconds = 0.0
        self._began = 0.0
        self._next_try = 0.0

    def allow(self) -> bool:
        """Tell whether this caller may try now."""
        if not self._pause_seconds:
            return True
        with self._lock:
            now = self._clock()
            if now < self._next_try:
                return False
            self._next_try = now + self._pause_seconds
            return True

    def succeeded(self) -> None:
        """End the pause, and begin to count anew."""
        if self._failures:
            with self._lock:
                self._failures, self._pause_seconds = 0, 0.0

    def failed(self) -> float | None:
        """Count a failure; return the seconds of the pause that it begins, if it begins one."""
        with self._lock:
            self._failures += 1
            now = self._clock()
            # Those who were already trying when the pause began make it no longer.
            if self._failures < _FAILURES_BEFORE_PAUSE or now - self._began < self._pause_seconds:
                return None
            self._pause_seconds = min(2 * self._pause_seconds or _FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
            self._began, self._next_try = now, now + self._pause_seconds
            return self._pause_seconds
