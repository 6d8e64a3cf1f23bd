"""Tensors into response JSON: float32 in as few digits as tell it apart, NaN and Infinity as bare tokens."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy
import orjson

from shared.errors import InvalidRequestError, ModelError

from .tensors import Tensor

# Element types that have a JSON form; complex numbers, halves and the like have none, as in TensorFlow Serving.
# By numpy's one-letter codes: a dtype's name is made anew each time it is asked for, which takes a microsecond.
_WRITABLE = frozenset("?bBhHiIlLqQfd")


def encode_rows(outputs: Mapping[str, Tensor]) -> bytes:
    """Return the text of `predictions`: bare values for a model of one output, else an object a row.

    Args:
        outputs: Each output with its rows in dimension 0.

    Raises:
        InvalidRequestError: The outputs do not share dimension 0, so there are no rows to speak of.
        ModelError: An output of text is not UTF-8.
    """
    sizes = {name: array.shape[0] if array.ndim else None for name, array in outputs.items()}
    rows = next(iter(sizes.values()))
    for name, size in sizes.items():
        if size is None:
            raise InvalidRequestError(f"Tensor name: {name} has no shape information; ask with 'inputs' instead")
        if size != rows:
            raise InvalidRequestError(f"Tensor name: {name} has inconsistent batch size: {size} expecting: {rows}")
    values = {name: _writable(name, array) for name, array in outputs.items()}
    if len(values) == 1:
        return _dumps(next(iter(values.values())), outputs)
    return _dumps([{name: array[row] for name, array in values.items()} for row in range(rows or 0)], outputs)


def encode_columns(outputs: Mapping[str, Tensor]) -> bytes:
    """Return the text of `outputs`: the bare tensor for a model of one output, else an object by name.

    Raises:
        InvalidRequestError: An output's element type has no JSON form.
        ModelError: An output of text is not UTF-8.
    """
    values = {name: _writable(name, array) for name, array in outputs.items()}
    return _dumps(next(iter(values.values())) if len(values) == 1 else values, outputs)


def _writable(name: str, array: Tensor) -> Any:
    """Return what an encoder can write: numbers as they are, strings as lists of text or {"b64": ...}."""
    if array.dtype.char in _WRITABLE:
        return numpy.ascontiguousarray(array) if array.ndim else array
    if array.dtype != object:
        raise InvalidRequestError(f"Failed to write JSON value for tensor type: {array.dtype.name}, output {name}")
    if name.endswith("_bytes"):
        return _mapped(array.tolist(), lambda raw: {"b64": base64.b64encode(raw).decode()})
    try:
        return _mapped(array.tolist(), bytes.decode)
    except UnicodeDecodeError as error:
        raise ModelError(
            f"output {name} holds bytes that are not UTF-8: name it {name}_bytes to have it answered in base64"
        ) from error


def _mapped(value: Any, write: Callable[[bytes], Any]) -> Any:
    return [_mapped(item, write) for item in value] if isinstance(value, list) else write(value)


def _dumps(value: Any, outputs: Mapping[str, Tensor]) -> bytes:
    if all(array.dtype.kind != "f" or numpy.isfinite(array).all() for array in outputs.values()):
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
