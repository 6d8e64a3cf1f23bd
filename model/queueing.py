"""Admits to a model what it can answer soon: callers wait in order of arrival, and past a bound are told at once."""

import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from shared.errors import UnavailableError
from shared.log import note

from .runtimes import Runtime

Arrays = dict[str, NDArray[Any]]


class Call:
    """One caller's request: settled with outputs or an error, or told to go ahead.

    Attributes:
        rows: How many rows it counts for.
        batch_rows: How many ran with it, itself included.
        kind: What it must have in common with another to run with it; None while it has not waited, or with none.
        leads: It has waited, and its turn has come.
        called: Set when it is settled or leads; None while it has not waited.
    """

    def __init__(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> None:
        self.signature_name = signature_name
        self.inputs = inputs
        first = next(iter(inputs.values()), None)
        self.rows = max(1, len(first)) if first is not None and first.ndim else 1
        self.batch_rows = self.rows
        self.kind: object = None
        self.leads = False
        self.outputs: Arrays | None = None
        self.error: Exception | None = None
        self.called: threading.Event | None = None


class QueuedRuntime:
    """A runtime in front of another. A caller that finds a free lane runs at once; others wait for their turn.

    Args:
        runtime: What answers.
        lanes: How many calls may run at the same time.
        max_waiting_rows: The most rows that may wait; a request beyond is refused, so that the others keep
            their latency.
        max_wait_seconds: How long a request may wait for its turn.
    """

    def __init__(
        self, runtime: Runtime, *, lanes: int = 1, max_waiting_rows: int = 256, max_wait_seconds: float = 5.0
    ) -> None:
        self._runtime = runtime
        self._max_waiting_rows = max_waiting_rows
        self._max_wait_seconds = max_wait_seconds
        self._lock = threading.Lock()
        self._free_lanes = lanes
        self._waiting: deque[Call] = deque()
        self._began: dict[Call, float] = {}

    def stuck_seconds(self) -> float:
        """Return for how long every lane has been busy with the very call that it is busy with; 0 if one is free."""
        with self._lock:
            return 0.0 if self._free_lanes else time.monotonic() - max(self._began.values(), default=time.monotonic())

    def run(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Answer one request; see `Runtime.run`.

        Raises:
            UnavailableError: Too many rows wait already, or the wait was too long; nothing was run.
        """
        call = Call(signature_name, inputs)
        if self._joins(call):
            self._wait(call)
        if call.outputs is None and call.error is None:
            self._lead(call)
        note(batch_rows=call.batch_rows)
        if call.error is not None:
            raise call.error
        assert call.outputs is not None
        return call.outputs

    def kind_of(self, call: Call) -> object:
        """Return what a call must have in common with another to run with it; None, here: each runs alone."""
        return None

    def taken_along(self, leader: Call, waiting: deque[Call]) -> list[Call]:
        """Return those of the waiting that run with the leader, which has waited itself; nobody, here."""
        return []

    def settle(self, batch: list[Call]) -> None:
        """Give every call its outputs or its error; nothing escapes, since others wait for this."""
        for call in batch:
            try:
                call.outputs = self._runtime.run(call.signature_name, call.inputs)
            except Exception as error:
                call.error = error

    def _joins(self, call: Call) -> bool:
        """Take a free lane, or a place among those that wait."""
        with self._lock:
            if self._free_lanes:
                self._free_lanes -= 1
                return False
            if sum(waiting.rows for waiting in self._waiting) + call.rows > self._max_waiting_rows and self._waiting:
                raise UnavailableError("the model has more waiting than it can answer soon", reason="MODEL_BUSY")
            call.called, call.kind = threading.Event(), self.kind_of(call)
            self._waiting.append(call)
            return True

    def _wait(self, call: Call) -> None:
        assert call.called is not None
        if call.called.wait(self._max_wait_seconds):
            return
        with self._lock:
            still_waits = call in self._waiting
            if still_waits:
                self._waiting.remove(call)
        if still_waits:
            raise UnavailableError("the model did not get to this request in time", reason="MODEL_BUSY")
        call.called.wait()  # taken at the last moment: its batch is under way

    def _lead(self, leader: Call) -> None:
        """Run this call and those taken along, then hand the lane on."""
        batch = [leader]
        try:
            with self._lock:
                self._began[leader] = time.monotonic()
                if leader.leads:
                    taken = self.taken_along(leader, self._waiting)
                    for call in taken:
                        self._waiting.remove(call)
                    batch += taken
            self.settle(batch)
        finally:
            with self._lock:
                del self._began[leader]
                following = self._waiting.popleft() if self._waiting else None
                if following is None:
                    self._free_lanes += 1
                else:
                    following.leads = True
            for call in (*batch[1:], *([following] if following else [])):
                assert call.called is not None
                call.called.set()
