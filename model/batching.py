"""Runs requests that arrive while a model is busy as one batch; a request that finds it free never waits."""

from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np

from shared.errors import InvalidRequestError

from .manifest import Signature
from .queueing import Call, QueuedRuntime
from .runtimes import Runtime


class BatchingRuntime(QueuedRuntime):
    """A queue in which those that wait for a lane share it: the first runs for all that fit, in order of arrival.

    Args:
        runtime: What answers a batch.
        signatures: The model's; only those whose every tensor has a free first dimension are batched.
        max_rows: The most rows of a batch that is put together; a single larger request runs alone.
        limits: See `QueuedRuntime`.
    """

    def __init__(
        self, runtime: Runtime, signatures: Mapping[str, Signature], *, max_rows: int = 32, **limits: Any
    ) -> None:
        super().__init__(runtime, **limits)
        self._batched = {name for name, signature in signatures.items() if _has_rows(signature)}
        self._max_rows = max_rows

    def kind_of(self, call: Call) -> object:
        """Return all but the number of rows; None for what has no rows to put beside another's."""
        if call.signature_name not in self._batched or not all(a.ndim and len(a) for a in call.inputs.values()):
            return None
        kinds = sorted((name, array.dtype.str, array.shape[1:]) for name, array in call.inputs.items())
        return call.signature_name, kinds

    def taken_along(self, leader: Call, waiting: deque[Call]) -> list[Call]:
        """Return those that are of the leader's kind and fit into one batch with it."""
        taken: list[Call] = []
        rows = leader.rows
        for call in waiting:
            if leader.kind is None or call.kind != leader.kind:
                continue
            if rows + call.rows > self._max_rows:
                break
            taken.append(call)
            rows += call.rows
        return taken

    def settle(self, batch: list[Call]) -> None:
        """Run the calls as one, or each alone where that will not do."""
        if len(batch) == 1 or not self._together(batch):
            super().settle(batch)

    def _together(self, batch: list[Call]) -> bool:
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
            call.batch_rows = rows
            at += call.rows
        return True


def _has_rows(signature: Signature) -> bool:
    return all(spec.shape[:1] == (None,) for side in (signature.inputs, signature.outputs) for spec in side.values())
