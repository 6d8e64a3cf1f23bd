"""Holds a request's arrays to a signature before a runtime sees them."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import InvalidRequestError

from ..manifest import Signature

Arrays = dict[str, NDArray[Any]]

# TensorFlow ends the process over an array of objects with more dimensions, which numpy has had since its version 2.
MAX_RANK = 32
_COLUMN = (None, 1)


def find_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """Return one signature.

    Raises:
        InvalidRequestError: There is none of this name; TensorFlow Serving's words, and the names there are.
    """
    signature = signatures.get(name)
    if signature is None:
        raise InvalidRequestError(
            f'Serving signature name: "{name}" not found in signature def. '
            f"This model has: {', '.join(sorted(signatures))}"
        )
    return signature


def check_inputs(signature: Signature, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuse arrays that are not the signature's; strings come as arrays of Python bytes.

    Raises:
        InvalidRequestError: An input is missing, left over or of another dtype or shape.
    """
    specs = signature.inputs
    if inputs.keys() != specs.keys():
        raise InvalidRequestError(
            f"Expected the inputs {', '.join(sorted(specs))}; got {', '.join(sorted(inputs)) or 'none'}"
        )
    for name, array in inputs.items():
        spec = specs[name]
        if _dtype_name(array.dtype) != ("object" if spec.dtype == "string" else spec.dtype) or not array.dtype.isnative:
            raise InvalidRequestError(f'Input "{name}" should be {spec.dtype}, is {array.dtype}')
        if spec.unknown_rank:
            if array.ndim > MAX_RANK:
                raise InvalidRequestError(f'Input "{name}" may have {MAX_RANK} dimensions, has {array.ndim}')
        elif not _fits(array.shape, spec.shape):
            raise InvalidRequestError(
                f'Input "{name}" should have the shape {shape_text(spec.shape)}, has {shape_text(array.shape)}'
            )


@lru_cache(maxsize=64)
def _dtype_name(dtype: np.dtype[Any]) -> str:
    """Return numpy's name of an element type, which numpy puts together anew each time."""
    return dtype.name


def is_bare_column(signature: Signature, inputs: Mapping[str, NDArray[Any]]) -> bool:
    """Tell whether the only input, which should have the shape [-1,1], was given as a vector.

    TensorFlow Serving takes it so, and the examples of its documentation rely on it: its half_plus_two is asked with
    [1.0, 2.0, 5.0] and answers as many bare numbers.
    """
    if len(signature.inputs) != 1:
        return False
    (spec,) = signature.inputs.values()
    array = inputs.get(spec.name)
    return array is not None and array.ndim == 1 and spec.shape == _COLUMN


def answer_bare_column(run: Callable[[str, Arrays], Arrays], name: str, inputs: Mapping[str, NDArray[Any]]) -> Arrays:
    """Answer a bare column: asked as a column of one, and each column answered is bare again."""
    outputs = run(name, {key: array.reshape(-1, 1) for key, array in inputs.items()})
    return {key: array.reshape(-1) if array.shape[1:] == (1,) else array for key, array in outputs.items()}


def shape_text(shape: tuple[int | None, ...]) -> str:
    """Write a shape as TensorFlow does, with -1 for any size."""
    return f"[{','.join('-1' if size is None else str(size) for size in shape)}]"


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    for got, size in zip(shape, wanted, strict=True):  # noqa: SIM110 - on every request: a third of any()'s time
        if size is not None and size != got:
            return False
    return True
