"""Tensors into response JSON: float32 in as few digits as tell it apart, NaN and Infinity as bare tokens."""

import json
from collections.abc import Mapping
from typing import Any

import numpy
import orjson

from shared.errors import InvalidRequestError

_Array = "numpy.ndarray[Any, Any]"


def encode_rows(outputs: Mapping[str, "numpy.ndarray[Any, Any]"]) -> bytes:
    """Return the text of `predictions`: bare values for a model of one output, else an object a row.

    Args:
        outputs: Each output with its rows in dimension 0.

    Raises:
        InvalidRequestError: The outputs do not share dimension 0, so there are no rows to speak of.
    """
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    for name, size in sizes.items():
        if size is None:
            raise InvalidRequestError(f"Tensor name: {name} has no shape information; ask with 'inputs' instead")
        if size != next(iter(sizes.values())):
            raise InvalidRequestError(
                f"Tensor name: {name} has inconsistent batch size: {size} expecting: {next(iter(sizes.values()))}"
            )
    if len(outputs) == 1:
        return encode(next(iter(outputs.values())))
    columns = list(outputs.items())
    rows = range(next(iter(sizes.values())) or 0)
    return _dumps([{name: array[row] for name, array in columns} for row in rows], list(outputs.values()))


def encode_columns(outputs: Mapping[str, "numpy.ndarray[Any, Any]"]) -> bytes:
    """Return the text of `outputs`: the bare tensor for a model of one output, else an object by name."""
    if len(outputs) == 1:
        return encode(next(iter(outputs.values())))
    return _dumps(dict(outputs), list(outputs.values()))


def encode(array: "numpy.ndarray[Any, Any]") -> bytes:
    """Return the text of one tensor."""
    return _dumps(array, [array])


def _dumps(value: Any, arrays: list[Any]) -> bytes:
    if all(array.dtype.kind != "f" or numpy.isfinite(array).all() for array in arrays):
        return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)
    # orjson writes null for what is not finite.
    return json.dumps(value, default=_plain, separators=(",", ":")).encode()


def _plain(value: Any) -> Any:
    """Turn what an encoder does not know into plain values."""
    if isinstance(value, numpy.ndarray) and value.ndim:
        return [_plain(item) for item in value]
    if value.dtype == numpy.float32:
        return float(str(value))  # the shortest digits that give this float32 again
    return value.item()
