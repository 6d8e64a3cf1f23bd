"""Turns a TensorFlow model into a SavedModel and a LiteRT file, and measures how far the two agree."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from shared.errors import ModelError

from ..manifest import Signature
from ..runtimes.litert import LiteRTRuntime
from ..savedmodel import read
from .quiet import quiet_stderr

LITERT_FILE = "model.tflite"
LARGEST_DIFFERENCE = 1e-5


@dataclass(frozen=True)
class Agreement:
    """How LiteRT's answers compare with TensorFlow's on the same inputs."""

    max_difference: float
    compared_rows: int
    outputs: dict[str, NDArray[Any]]


def save(module: tf.Module, signatures: dict[str, Any], folder: Path) -> None:
    """Write a SavedModel without what serving does not need.

    Args:
        module: Tracks the variables that the signatures read, and no more: an optimizer that comes
            along makes the LiteRT converter lose the weights without a word (TensorFlow 2.21).
        signatures: A tf.function with an input signature for each name.
        folder: An existing, empty folder.
    """
    with quiet_stderr():
        options = tf.saved_model.SaveOptions(save_debug_info=False)
        tf.saved_model.save(module, str(folder), signatures=signatures, options=options)
    (folder / "fingerprint.pb").unlink(missing_ok=True)
    if not any((folder / "assets").iterdir()):
        (folder / "assets").rmdir()


def convert(folder: Path) -> bytes:
    """Convert a SavedModel to LiteRT: float32, built-in operations only, its signatures kept.

    Raises:
        ModelError: Some operation has no LiteRT counterpart.
    """
    try:
        with quiet_stderr():
            converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
            content: bytes = converter.convert()
    except tf.errors.OpError as error:
        raise ModelError(f"the SavedModel cannot be read: {error.message}") from error
    (folder / LITERT_FILE).write_bytes(content)
    return content


def read_signatures(folder: Path) -> dict[str, Signature]:
    """Return what a SavedModel takes and answers, as its own file says."""
    return read.read_signatures(read.read_graph(folder, folder.name), folder.name)


def answers(
    folder: Path, content: bytes, signature_name: str, inputs: dict[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return what the LiteRT file of a SavedModel answers."""
    with quiet_stderr():
        return LiteRTRuntime(content, read_signatures(folder)).run(signature_name, inputs)


def compare(folder: Path, content: bytes, signature_name: str, inputs: dict[str, NDArray[Any]]) -> Agreement:
    """Answer the same inputs with TensorFlow from disk and with LiteRT, and hold them to each other.

    Returns:
        The largest difference of any floating-point output, and LiteRT's answers.

    Raises:
        ModelError: A floating-point output differs by more than 1e-5, or any other output at all.
    """
    with quiet_stderr():
        function = tf.saved_model.load(str(folder)).signatures[signature_name]
        expected = function(**{name: tf.constant(array) for name, array in inputs.items()})
    answered = answers(folder, content, signature_name, inputs)
    differences = [0.0]
    for name, tensor in expected.items():
        wanted, got = tensor.numpy(), answered[name]
        if np.issubdtype(wanted.dtype, np.floating):
            alike = (wanted == got) | (np.isnan(wanted) & np.isnan(got))  # infinities and NaN included
            with np.errstate(invalid="ignore"):  # infinity less infinity, which `alike` has settled
                differences.append(float(np.max(np.where(alike, 0, np.abs(wanted - got)))))
        elif not np.array_equal(wanted, got):
            rows = int(np.sum(wanted != got))
            raise ModelError(f"LiteRT and TensorFlow answer another {name} on {rows} elements")
    max_difference = float(np.max(differences))  # unlike max(), lets no NaN pass
    if not max_difference <= LARGEST_DIFFERENCE:
        raise ModelError(
            f"LiteRT and TensorFlow differ by {max_difference:.1e}; {LARGEST_DIFFERENCE:.0e} is the most that is taken"
        )
    return Agreement(max_difference, len(next(iter(inputs.values()))), answered)
