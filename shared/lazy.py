"""Build something costly once, on first use, in the process that uses it."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Once(Generic[T]):
    """A value made by the first caller while the others wait; a failure is not kept.

    functions-framework imports the function in gunicorn's master and then forks, so clients, connections and
    models must not exist before the first request (TensorFlow hangs, SQLite corrupts). `functools.cache` is not
    enough: concurrent first calls would each build one.
    """

    def __init__(self, build: Callable[[], T]) -> None:
        self._build = build
        self._lock = threading.Lock()
        self._values: list[T] = []

    def __call__(self) -> T:
        """Return the value, building it if this is the first successful call.

        Raises:
            Whatever `build` raises; the next call tries again.
        """
        if not self._values:
            with self._lock:
                if not self._values:
                    self._values.append(self._build())
        return self._values[0]
