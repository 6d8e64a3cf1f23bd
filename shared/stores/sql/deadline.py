"""A bound on the time of a call to PostgreSQL, kept on this side: a server that is stopped keeps no time itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import psycopg

_ends_at: ContextVar[float | None] = ContextVar("ends_at", default=None)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """End whatever the block asks of a database this soon, unless it is to end sooner already."""
    before = _ends_at.get()
    ends_at = time.monotonic() + seconds
    token = _ends_at.set(ends_at if before is None else min(before, ends_at))
    try:
        yield
    finally:
        _ends_at.reset(token)


def seconds_left() -> float | None:
    """Return how long the block may still take, None where nothing bounds it."""
    ends_at = _ends_at.get()
    return None if ends_at is None else max(0.0, ends_at - time.monotonic())


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is given up when an answer does not come in time."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer, as `psycopg.Connection.wait` does, but not for ever."""
        left = seconds_left()
        if timeout is None or (left is not None and left < timeout):
            timeout = left
        try:
            return super().wait(gen, interval, timeout)
        except psycopg.errors._WaitTimeout as error:
            # Nobody knows what the server will still say: this connection is of no more use.
            self.close()
            raise psycopg.OperationalError("no answer from the database in time") from error
