"""Tensors of the Open Inference Protocol as JSON: `data`, flat in row-major order or nested as the shape is.

Nothing is coerced: an element is of the tensor's datatype and in its range, or the request is refused.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy
import orjson

from model.manifest import TensorSpec
from shared.errors import InvalidRequestError, UnimplementedError
from shared.strict_json import kind_of

from .v2_tensors import FLOATS, INTEGERS, Array, datatype_of, object_array

_JSON_TYPES: Mapping[str, set[type]] = {
    "bool": {bool},
    "string": {str},
    **{dtype: {int} for dtype in INTEGERS},
    **{dtype: {int, float} for dtype in FLOATS},
}
_TOKENS = {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}


def tensor_from_json(data: object, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Decode `data`, flat in row-major order or nested as the shape is.

    Args:
        data: A parsed JSON value.
        spec: The tensor, as the signature has it.
        shape: What `checked_shape` returned.

    Raises:
        InvalidRequestError: The count, the nesting, an element's type or its range is not the tensor's; says where.
        UnimplementedError: JSON cannot carry this datatype.
    """
    wanted = _JSON_TYPES.get(spec.dtype)
    if wanted is None:
        raise UnimplementedError(f'input "{spec.name}": JSON cannot carry {datatype_of(spec)}')
    if not isinstance(data, list):
        raise InvalidRequestError(f'input "{spec.name}": expected data to be an array, got {kind_of(data)}')
    nested = len(shape) > 1 and bool(data) and type(data[0]) is list
    sizes = shape if nested else (math.prod(shape),)
    leaves = _leaves(data, spec, sizes)
    if not wanted.issuperset(map(type, leaves)):
        at = next(index for index, leaf in enumerate(leaves) if type(leaf) not in wanted)
        raise _refused(spec, at, sizes, f"expected {datatype_of(spec)}, got {_json_kind(leaves[at])}")
    return _array(leaves, spec, sizes).reshape(shape)


def tensor_to_json(name: str, array: Array) -> bytes:
    """Return a tensor's elements as a flat JSON array; NaN and the infinities are bare tokens.

    Raises:
        InvalidRequestError: The output has bytes that are no text, so JSON cannot carry it; binary can.
        UnimplementedError: JSON cannot carry this datatype.
    """
    flat = array.ravel()
    kind = array.dtype.kind
    if kind == "O":
        try:
            return orjson.dumps([value.decode() for value in flat])
        except UnicodeDecodeError:
            raise InvalidRequestError(
                f'output "{name}": has bytes that are not UTF-8; ask for it with "binary_data": true',
                reason="OUTPUT_NOT_TEXT",
            ) from None
    if kind not in "biuf":
        raise UnimplementedError(f'output "{name}": JSON cannot carry {array.dtype.name}')
    text = orjson.dumps(flat, option=orjson.OPT_SERIALIZE_NUMPY)
    if kind != "f" or (finite := numpy.isfinite(flat)).all():
        return text
    # orjson has null for what is not finite.
    elements = text[1:-1].split(b",")
    for index in numpy.flatnonzero(~finite):
        elements[index] = _TOKENS[str(flat[index])]
    return b"[" + b",".join(elements) + b"]"


def _leaves(data: list[Any], spec: TensorSpec, sizes: Sequence[int]) -> list[Any]:
    """Return the elements in row-major order from arrays nested exactly as `sizes` says."""
    level: list[Any] = [data]
    for depth, size in enumerate(sizes):
        if set(map(type, level)) - {list} or set(map(len, level)) - {size}:
            at = next(i for i, item in enumerate(level) if type(item) is not list or len(item) != size)
            got = f"{len(level[at])}" if type(level[at]) is list else kind_of(level[at])
            raise _refused(spec, at, sizes[:depth], f"expected an array of {size}, got {got}")
        level = list(chain.from_iterable(level)) if depth else data
    return level


def _array(leaves: list[Any], spec: TensorSpec, sizes: Sequence[int]) -> Array:
    if spec.dtype == "string":
        try:
            return object_array([leaf.encode() for leaf in leaves])
        except UnicodeEncodeError:
            raise InvalidRequestError(f'input "{spec.name}": data: expected text without lone surrogates') from None
    try:
        # Too large for a float is Infinity, as in TensorFlow Serving; numpy would warn.
        with numpy.errstate(over="ignore"):
            return numpy.array(leaves, spec.dtype)
    except OverflowError:
        low, high = _limits(spec.dtype)
        at = next(i for i, leaf in enumerate(leaves) if type(leaf) is int and not low <= leaf <= high)
        raise _refused(spec, at, sizes, f"expected {datatype_of(spec)}, got a number out of its range") from None


def _limits(dtype: str) -> tuple[float, float]:
    if dtype in FLOATS:
        return -sys.float_info.max, sys.float_info.max
    limits = numpy.iinfo(dtype)
    return limits.min, limits.max


def _refused(spec: TensorSpec, at: int, sizes: Sequence[int], text: str) -> InvalidRequestError:
    """Name a place as a reader would look it up: input "image": data[0][1][2]."""
    indices: list[int] = []
    for size in reversed(sizes):
        at, index = divmod(at, size)
        indices.insert(0, index)
    steps = "".join(f"[{index}]" for index in indices)
    return InvalidRequestError(f'input "{spec.name}": data{steps}: {text}')


def _json_kind(value: object) -> str:
    if isinstance(value, float):
        return "a number with a fraction, or beyond 64 bits"
    if isinstance(value, int) and not isinstance(value, bool):
        return "a whole number"
    return kind_of(value)
