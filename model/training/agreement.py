"""Converts a SavedModel to LiteRT by the first way whose answers are TensorFlow's."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from shared.errors import ModelError, ServiceError

from ..manifest import Signature
from ..runtimes.litert import LiteRTRuntime
from .conversion import convert_directly, convert_frozen

Answers = Mapping[str, Mapping[str, NDArray[Any]]]

# Of the largest value in an output, or of one where all are smaller. Kernels add in another order, no more.
LARGEST_RELATIVE_DIFFERENCE = 1e-4


def convert_and_compare(
    folder: Path, signatures: Mapping[str, Signature], tags: list[str], inputs: Answers, answers: Answers
) -> tuple[bytes, dict[str, Any]]:
    """Convert every signature, and hold the file's answers to TensorFlow's.

    Args:
        inputs: Samples by signature; one without is converted and not compared.
        answers: What TensorFlow answers to them.

    Returns:
        The file, and {"max_difference", "compared_rows", "signatures"}, the last as in `same_signatures`.

    Raises:
        ModelError: Neither way gives a file that agrees; says why the last one failed.
    """
    failures = []
    for convert in (convert_directly, convert_frozen):
        try:
            content = convert(folder, signatures, tags)
            names = same_signatures(content, signatures)
            return content, largest_difference(content, signatures, inputs, answers, names) | {"signatures": names}
        except ServiceError as error:
            if error.message.startswith("LiteRT has no "):  # the other way would meet the same operation
                raise
            failures.append(error.message)
    raise ModelError("; ".join(dict.fromkeys(failures)))


def same_signatures(content: bytes, signatures: Mapping[str, Signature]) -> dict[str, str]:
    """Return which signature of the file stands for one that the converter left out.

    It keeps one of several signatures that are the same function, as Keras exports `serve` and `serving_default`.
    What takes and answers the same tensors may be it; `largest_difference` finds out.
    """
    present = Interpreter(model_content=content).get_signature_list()

    def tensors(name: str) -> list[list[tuple[str, str, tuple[int | None, ...]]]]:
        sides = (signatures[name].inputs, signatures[name].outputs)
        return [[(spec.name, spec.dtype, spec.shape) for spec in side.values()] for side in sides]

    found = {}
    for name in signatures:
        alike = [other for other in signatures if other in present and tensors(other) == tensors(name)]
        if name not in present and alike:
            found[name] = alike[0]
    return found


def largest_difference(
    content: bytes,
    signatures: Mapping[str, Signature],
    inputs: Answers,
    answers: Answers,
    file_names: Mapping[str, str],
) -> dict[str, Any]:
    """Return how far LiteRT's answers lie from TensorFlow's.

    Raises:
        ModelError: Too far, or an output that is not floating point differs at all.
    """
    uncompared = [name for name in file_names if name not in answers]
    if uncompared:
        raise ModelError(f"LiteRT's file lost the signature {uncompared[0]}, and no sample shows which one it equals")
    runtime, largest, rows = LiteRTRuntime(content, signatures, file_names=file_names), 0.0, 0
    for signature, expected in answers.items():
        answered = runtime.run(signature, inputs[signature])
        rows = max(rows, *(len(array) for array in inputs[signature].values() if array.ndim), 1)
        for name, wanted in expected.items():
            largest = max(largest, _difference(f"{signature}: {name}", wanted, answered[name]))
    return {"max_difference": largest, "compared_rows": rows}


def _difference(name: str, wanted: NDArray[Any], got: NDArray[Any]) -> float:
    if wanted.shape != got.shape:
        raise ModelError(f"{name}: LiteRT answers the shape {got.shape}, TensorFlow {wanted.shape}")
    if not np.issubdtype(wanted.dtype, np.inexact):
        if not np.array_equal(wanted, got):
            raise ModelError(f"{name}: LiteRT and TensorFlow answer otherwise on {int(np.sum(wanted != got))} elements")
        return 0.0
    alike = (wanted == got) | (np.isnan(wanted) & np.isnan(got))  # infinities and NaN included
    with np.errstate(invalid="ignore"):
        apart = np.where(alike, 0, np.abs(wanted - got))
    largest = float(np.max(apart, initial=0))
    finite = np.abs(wanted[np.isfinite(wanted)])
    if not largest <= LARGEST_RELATIVE_DIFFERENCE * max(1.0, float(np.max(finite, initial=0))):
        raise ModelError(f"{name}: LiteRT and TensorFlow differ by {largest:.1e}")
    return largest
