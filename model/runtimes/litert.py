"""Serves a converted model with LiteRT: 0.3 ms to build, a few microseconds a call, no TensorFlow."""

import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from shared.errors import InvalidRequestError, ModelError

from ..manifest import Signature, TensorSpec
from .tensors import answer_bare_column, check_inputs, find_signature, is_bare_column, shape_text

# An interpreter's arena grows with the largest batch it saw and never shrinks (45 MB after 8,192 rows of
# digits). One that answered more rows than this is dropped: building another costs less than the batch did.
KEPT_ROWS = 64

# What LiteRT raises over a file of which a bit was changed; the last two come from its own bindings, over tensors that
# are not there.
_DAMAGE = (RuntimeError, ValueError, TypeError, LookupError)

# A signature runner for each signature of one interpreter. Measured on a batch of one: 7 µs a call
# against 5.5 µs for set_tensor, invoke and get_tensor, of which invoke is 4. The runner is worth the
# difference: it is the public way to reach a second signature's tensors. It resizes on every call, which
# LiteRT answers in 1.5 µs without allocating when the shape is the one it has; outputs are copies.
Runners = dict[str, Any]


class LiteRTRuntime:
    """One model in LiteRT, behind a small pool of interpreters, since an interpreter is not thread safe.

    Args:
        content: The .tflite file.
        signatures: What model.json says the file takes and answers.
        where: How messages name the file, e.g. digits/1/model.tflite.
        pool_size: How many calls may run at the same time; interpreters are built as they are needed.
        file_names: What the file calls a signature, where that is not its name: the converter keeps one of two
            signatures that are the same function.

    Raises:
        ModelError: The file is not a LiteRT model or does not agree with the signatures.
    """

    def __init__(
        self,
        content: bytes,
        signatures: Mapping[str, Signature],
        *,
        where: str = "model.tflite",
        pool_size: int = 2,
        file_names: Mapping[str, str] | None = None,
    ) -> None:
        self._content = content
        self._file_names = {name: (file_names or {}).get(name, name) for name in signatures}
        self._signatures = dict(signatures)
        self._where = where
        self._answered: set[str] = set()
        # Last in, first out: the interpreter used last has its memory warm, and a second is built only
        # when two calls really overlap. None stands for one that is not built yet.
        self._idle: queue.LifoQueue[Runners | None] = queue.LifoQueue()
        for _ in range(pool_size - 1):
            self._idle.put(None)
        self._idle.put(self._build())

    def run(self, signature_name: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Answer one batch; see `Runtime.run`."""
        signature = find_signature(self._signatures, signature_name)
        if is_bare_column(signature, inputs):
            return answer_bare_column(self.run, signature_name, inputs)
        check_inputs(signature, inputs)
        if not all(array.size for array in inputs.values()):
            return _answer_nothing(signature, inputs)
        try:
            with self._borrow(rows=_rows(signature, inputs)) as runners:
                outputs: dict[str, NDArray[Any]] = runners[signature_name](**inputs)
        except (RuntimeError, ValueError) as error:
            raise self._blame(signature_name, error) from error
        self._answered.add(signature_name)
        return outputs

    @contextmanager
    def _borrow(self, rows: int) -> Iterator[Runners]:
        """Lend an interpreter; it comes back unless it failed or grew, and its place always does."""
        kept: Runners | None = None
        runners = self._idle.get()
        try:
            if runners is None:
                runners = self._build()
            yield runners
            kept = runners if rows <= KEPT_ROWS else None
        finally:
            self._idle.put(kept)

    def _build(self) -> Runners:
        try:
            interpreter = Interpreter(model_content=self._content, num_threads=1)
            present = interpreter.get_signature_list()
            missing = sorted(set(self._file_names.values()) - present.keys())
            if missing:
                raise ModelError(f"{self._where}: has no signature {', '.join(missing)}")
            runners = {name: interpreter.get_signature_runner(other) for name, other in self._file_names.items()}
            for name, runner in runners.items():
                place, signature = f"{self._where}: signature {name}", self._signatures[name]
                inputs, outputs = runner.get_input_details(), runner.get_output_details()
                _check_agreement(f"{place}, inputs", signature.inputs, inputs)
                _check_agreement(f"{place}, outputs", signature.outputs, outputs)
                _check_input_shapes(place, signature.inputs, inputs)
        except _DAMAGE as error:
            raise ModelError(f"{self._where}: is not a model that LiteRT can run: {_first_line(error)}") from error
        return runners

    def _blame(self, signature_name: str, error: Exception) -> InvalidRequestError | ModelError:
        """Decide who is at fault: the caller, if the model has answered this signature, or answers zeros of it."""
        if signature_name in self._answered:
            return InvalidRequestError(f"The model cannot take these inputs: {_first_line(error)}")
        inputs = {
            name: np.zeros([1 if size is None else size for size in spec.shape], spec.dtype)
            for name, spec in self._signatures[signature_name].inputs.items()
        }
        try:
            self._build()[signature_name](**inputs)
        except (RuntimeError, ValueError):
            return ModelError(f"{self._where}: fails on every input: {_first_line(error)}")
        return InvalidRequestError(f"The model cannot take these inputs: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    """Return what LiteRT says first; its own bindings go on for pages."""
    return next(iter(str(error).splitlines()), type(error).__name__)[:300]


def _check_agreement(place: str, specs: Mapping[str, TensorSpec], details: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold model.json to the file: the same names and dtypes."""
    if specs.keys() != details.keys():
        raise ModelError(
            f"{place}: model.json has {', '.join(sorted(specs))}; the file has {', '.join(sorted(details))}"
        )
    for name, spec in specs.items():
        if spec.dtype == "string":
            raise ModelError(f"{place}: {name} is a string tensor, which needs the runtime tensorflow")
        dtype = np.dtype(details[name]["dtype"]).name
        if spec.dtype != dtype:
            raise ModelError(f"{place}: {name} is {spec.dtype} in model.json, {dtype} in the file")


def _check_input_shapes(place: str, specs: Mapping[str, TensorSpec], details: Mapping[str, Mapping[str, Any]]) -> None:
    """Hold input shapes to the file. Outputs are left out: the converter often loses theirs."""
    for name, spec in specs.items():
        shape = tuple(None if size == -1 else int(size) for size in details[name]["shape_signature"])
        if spec.shape != shape:
            raise ModelError(
                f"{place}: {name} is {shape_text(spec.shape)} in model.json, {shape_text(shape)} in the file"
            )


def _rows(signature: Signature, inputs: Mapping[str, NDArray[Any]]) -> int:
    """Return the largest size that the caller chose for any dimension."""
    rows = 1
    for name, spec in signature.inputs.items():
        for size, got in zip(spec.shape, inputs[name].shape, strict=True):
            if size is None and got > rows:
                rows = got
    return rows


def _answer_nothing(signature: Signature, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Answer a batch of no rows from the manifest alone, because LiteRT cannot run one."""
    batched = [array.shape[:1] == (0,) for array in inputs.values()]
    if not all(batched) or any(spec.shape[:1] != (None,) for spec in signature.outputs.values()):
        raise InvalidRequestError("An input is empty in a way that leaves this model nothing to answer")
    return {name: np.zeros([size or 0 for size in spec.shape], spec.dtype) for name, spec in signature.outputs.items()}
