"""Runs requests that arrive while a model is busy as one batch; a request that finds it free never waits."""

import threading
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidRequestError, UnavailableError

from .manifest import Signature
from .runtimes import Runtime

Arrays = dict[str, NDArray[Any]]


class _Call:
    """One caller's request: settled with outputs or an error, or told to lead the next batch."""

    def __init__(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> None:
        self.signature_name = signature_name
        self.inputs = inputs
        self.rows = len(next(iter(inputs.values())))
        # What must agree for two requests to be one batch: everything but the number of rows.
        kinds = sorted((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items())
        self.kind = (signature_name, tuple(kinds))
        self.leads = False
        self.outputs: Arrays | None = None
        self.error: Exception | None = None
        self.called = threading.Event()


class BatchingRuntime:
    """A runtime in front of another. The caller that finds it free runs at once and alone; those that come
    meanwhile wait, and the first of them then runs for all that fit, in order of arrival.

    Args:
        runtime: What answers a batch.
        signatures: The model's; only those whose every tensor has a free first dimension are batched.
        lanes: How many batches may run at the same time.
        max_rows: The most rows of a batch that is put together; a single larger request runs alone.
        max_waiting_rows: The most rows that may wait; a request beyond is refused, so that the others keep
            their latency.
        max_wait_seconds: How long a request may wait for its batch to begin.
    """

    def __init__(
        self,
        runtime: Runtime,
        signatures: Mapping[str, Signature],
        *,
        lanes: int = 1,
        max_rows: int = 32,
        max_waiting_rows: int = 256,
        max_wait_seconds: float = 5.0,
    ) -> None:
        self._runtime = runtime
        self._batched = {name for name, signature in signatures.items() if _has_rows(signature)}
        self._max_rows = max_rows
        self._max_waiting_rows = max_waiting_rows
        self._max_wait_seconds = max_wait_seconds
        self._lock = threading.Lock()
        self._free_lanes = lanes
        self._waiting: deque[_Call] = deque()

    def run(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
        """Answer one request; see `Runtime.run`.

        Raises:
            UnavailableError: Too many rows wait already, or the wait was too long; nothing was run.
        """
        if signature_name not in self._batched or not all(array.ndim and len(array) for array in inputs.values()):
            return self._runtime.run(signature_name, inputs)
        call = _Call(signature_name, inputs)
        if self._joins(call):
            self._wait(call)
        if call.outputs is None and call.error is None:
            self._lead(call)
        if call.error is not None:
            raise call.error
        assert call.outputs is not None
        return call.outputs

    def _joins(self, call: _Call) -> bool:
        """Take a free lane, or a place among those that wait."""
        with self._lock:
            if self._free_lanes:
                self._free_lanes -= 1
                return False
            if sum(waiting.rows for waiting in self._waiting) + call.rows > self._max_waiting_rows and self._waiting:
                raise UnavailableError("the model has more waiting than it can answer soon", reason="MODEL_BUSY")
            self._waiting.append(call)
            return True

    def _wait(self, call: _Call) -> None:
        if call.called.wait(self._max_wait_seconds):
            return
        with self._lock:
            still_waits = call in self._waiting
            if still_waits:
                self._waiting.remove(call)
        if still_waits:
            raise UnavailableError("the model did not get to this request in time", reason="MODEL_BUSY")
        call.called.wait()  # taken at the last moment: its batch is under way

    def _lead(self, leader: _Call) -> None:
        """Run a batch for this call and those that fit with it, then hand the lane on."""
        batch = [leader]
        try:
            with self._lock:
                if leader.leads:
                    batch += self._taken(leader)
            self._settle(batch)
        finally:
            with self._lock:
                following = self._waiting.popleft() if self._waiting else None
                if following is None:
                    self._free_lanes += 1
                else:
                    following.leads = True
            for call in batch[1:]:
                call.called.set()
            if following is not None:
                following.called.set()

    def _taken(self, leader: _Call) -> list[_Call]:
        taken: list[_Call] = []
        rows = leader.rows
        for call in list(self._waiting):
            if call.kind != leader.kind:
                continue
            if rows + call.rows > self._max_rows:
                break
            taken.append(call)
            rows += call.rows
        for call in taken:
            self._waiting.remove(call)
        return taken

    def _settle(self, batch: list[_Call]) -> None:
        """Give every call its outputs or its error; nothing escapes, since others wait for this."""
        if len(batch) > 1 and self._together(batch):
            return
        for call in batch:
            try:
                call.outputs = self._runtime.run(call.signature_name, call.inputs)
            except Exception as error:
                call.error = error

    def _together(self, batch: list[_Call]) -> bool:
        """Run the calls as one; False if each had better run alone."""
        inputs = {name: np.concatenate([call.inputs[name] for call in batch]) for name in batch[0].inputs}
        rows = sum(call.rows for call in batch)
        try:
            outputs = self._runtime.run(batch[0].signature_name, inputs)
        except InvalidRequestError:
            return False  # one of them is to blame, and alone it harms only itself
        except Exception as error:
            for call in batch:
                call.error = error
            return True
        if any(array.shape[:1] != (rows,) for array in outputs.values()):
            return False
        at = 0
        for call in batch:
            call.outputs = {name: array[at : at + call.rows] for name, array in outputs.items()}
            at += call.rows
        return True


def _has_rows(signature: Signature) -> bool:
    return all(spec.shape[:1] == (None,) for side in (signature.inputs, signature.outputs) for spec in side.values())
