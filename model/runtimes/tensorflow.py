"""Serves a SavedModel with TensorFlow itself: for what LiteRT cannot take, at 540 MB and 5 s to import."""

import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.errors import InvalidRequestError, ModelError

from ..manifest import Signature
from ..savedmodel.ops import refuse_unsafe
from ..savedmodel.read import read_graph, read_signatures
from .tensors import answer_bare_column, check_inputs, find_signature, is_bare_column

Inputs = Mapping[str, NDArray[Any]]
Function = Callable[[Inputs], dict[str, NDArray[Any]]]

# Found while the model ran, and by TensorFlow Serving's table the caller's to mend.
CALLERS_FAULTS = (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError)


class TensorFlowRuntime:
    """One SavedModel in TensorFlow, through the v2 loader, or the v1 loader where that one fails.

    The v2 loader refuses much of what Keras before version 3 saved, because of optimizer slots; the v1 loader reads the
    graph alone. Nothing is loaded before every operation that loading or serving would run is on the allow-list.

    Args:
        folder: Holds saved_model.pb, variables and assets.
        signatures: What model.json says the model takes and answers.
        where: How messages name the folder, e.g. digits/1.
        pool_size: How many calls may run at the same time.

    Raises:
        ModelError: It holds a forbidden operation, does not agree with the signatures, or does not load.
    """

    def __init__(
        self,
        folder: Path,
        signatures: Mapping[str, Signature],
        *,
        where: str = "saved_model",
        pool_size: int = 2,
    ) -> None:
        graph = read_graph(folder, where)
        refuse_unsafe(graph, where)
        present = read_signatures(graph, where)
        _check_agreement(signatures, present, where)
        self._signatures = {name: present[name] for name in signatures}
        self._places = threading.BoundedSemaphore(pool_size)
        limit_threads()
        tags = sorted(graph.meta_info_def.tags)
        try:
            self.loader, self._functions = "v2", _load_v2(folder, tags, self._signatures)
        except Exception as v2_error:  # AttributeError, ValueError, OpError...: whatever the loader tripped over
            try:
                self.loader, self._functions = "v1", _load_v1(folder, tags, self._signatures)
            except Exception as v1_error:
                reasons = [_reason(error, folder, where) for error in (v2_error, v1_error)]
                raise ModelError(
                    f"{where}: TensorFlow cannot load it: {reasons[0]}; nor can its v1 loader: {reasons[1]}"
                ) from v1_error

    def run(self, signature_name: str, inputs: Inputs) -> dict[str, NDArray[Any]]:
        """Answer one batch; see `Runtime.run`. Strings are arrays of Python bytes, in and out."""
        signature = find_signature(self._signatures, signature_name)
        if is_bare_column(signature, inputs):
            return answer_bare_column(self.run, signature_name, inputs)
        check_inputs(signature, inputs)
        try:
            with self._places:
                return self._functions[signature_name](inputs)
        except CALLERS_FAULTS as error:
            raise InvalidRequestError(f"The model cannot take these inputs: {short_message(error.message)}") from error
        except (TypeError, ValueError) as error:
            raise InvalidRequestError(f"The model cannot take these inputs: {short_message(str(error))}") from error
        except tf.errors.ResourceExhaustedError as error:
            reason = "The model needs more memory for these inputs than there is"
            raise InvalidRequestError(reason, reason="MODEL_OUT_OF_MEMORY") from error
        except tf.errors.OpError as error:
            raise ModelError(f"the model failed: {short_message(error.message)}") from error


def limit_threads() -> None:
    """Give TensorFlow a thread for each core that this process may use.

    Left alone it counts the cores of the machine, which in a container are more than the function was given.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        tf.config.threading.set_intra_op_parallelism_threads(cores)
        tf.config.threading.set_inter_op_parallelism_threads(cores)
    except RuntimeError:
        return  # TensorFlow has started in this process, with whatever it was given then: a second model, a test


def short_message(message: str) -> str:
    """Reduce TensorFlow's report of a failure to the sentence that says what was wrong.

    The rest names graph nodes and the source files of the machine that the model was made on.
    """
    text = re.sub(r"\{\{[^{}]*\}\}\s*", "", message.split("[[{{")[0])
    text = re.split(r"\n\s*\[\[|\[Op:", text)[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = next((line for line in reversed(lines) if not line.startswith(("Detected at node", "File ", "<"))), "")
    return re.sub(r"^\(\d+\) [A-Z_ ]+: ", "", found)[:300] or "no reason given"


def _load_v2(folder: Path, tags: list[str], signatures: Mapping[str, Signature]) -> dict[str, Function]:
    loaded = tf.saved_model.load(str(folder), tags=tags)

    def function(name: str) -> Function:
        concrete = loaded.signatures[name]

        def call(inputs: Inputs, kept: Any = loaded) -> dict[str, NDArray[Any]]:  # whose variables it reads
            tensors = {key: tf.convert_to_tensor(array, types[key]) for key, array in inputs.items()}
            return {key: _array(tensor.numpy()) for key, tensor in concrete(**tensors).items()}

        types = {key: spec.dtype for key, spec in signatures[name].inputs.items()}
        return call

    return {name: function(name) for name in signatures}


def _load_v1(folder: Path, tags: list[str], signatures: Mapping[str, Signature]) -> dict[str, Function]:
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    with graph.as_default():
        tf.compat.v1.saved_model.load(session, tags, str(folder))

    def function(signature: Signature) -> Function:
        run = session.make_callable(
            [spec.tensor_name for spec in signature.outputs.values()],
            feed_list=[spec.tensor_name for spec in signature.inputs.values()],
        )

        def call(inputs: Inputs) -> dict[str, NDArray[Any]]:
            answers = run(*(inputs[name] for name in signature.inputs))
            return {name: _array(answer) for name, answer in zip(signature.outputs, answers, strict=True)}

        return call

    return {name: function(signature) for name, signature in signatures.items()}


def _array(value: Any) -> NDArray[Any]:
    """Return an array of any rank: TensorFlow gives a bare bytes or number for rank 0."""
    return np.array(value, object) if isinstance(value, bytes) else np.asarray(value)


def _reason(error: Exception, folder: Path, where: str) -> str:
    """Return an error's first line, with this machine's path to the model taken out."""
    text = str(error).replace(str(folder), where).strip() or type(error).__name__
    return text.splitlines()[0][:300]


def _check_agreement(said: Mapping[str, Signature], present: Mapping[str, Signature], where: str) -> None:
    """Hold model.json to the graph: the same names, dtypes and input shapes."""
    for name, signature in said.items():
        if name not in present:
            raise ModelError(f"{where}: saved_model.pb has no signature {name}")
        for side in ("inputs", "outputs"):
            told = {key: spec.dtype for key, spec in getattr(signature, side).items()}
            found = {key: spec.dtype for key, spec in getattr(present[name], side).items()}
            if told != found:
                raise ModelError(f"{where}: signature {name}, {side}: model.json has {told}; the graph has {found}")
