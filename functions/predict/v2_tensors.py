"""Datatypes and shapes of the Open Inference Protocol, and tensors as the raw bytes of its binary extension.

https://github.com/kserve/open-inference-protocol and, for the binary form, Triton's extension_binary_data.md.
"""

import math
import struct
from collections.abc import Mapping
from itertools import chain
from typing import Any, TypeAlias

import numpy

from model.manifest import TensorSpec
from shared.errors import InvalidRequestError, UnimplementedError

Array: TypeAlias = "numpy.ndarray[Any, Any]"

MAX_RANK = 32
MAX_SIZE = (1 << 31) - 1
# A shape without elements costs its sender nothing, however many rows of nothing it claims; a model may pay for them.
MAX_EMPTY_SIZE = 1 << 20
_LENGTH = struct.Struct("<I")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = {"float16": "FP16", "float32": "FP32", "float64": "FP64"}
_DATATYPES: Mapping[str, str] = {
    "bool": "BOOL",
    "string": "BYTES",
    "bfloat16": "BF16",
    **{dtype: dtype.upper() for dtype in INTEGERS},
    **FLOATS,
}
_RAW: Mapping[str, "numpy.dtype[Any]"] = {
    "bool": numpy.dtype("u1"),
    **{dtype: numpy.dtype(dtype).newbyteorder("<") for dtype in (*INTEGERS, *FLOATS)},
}


def datatype_of(spec: TensorSpec) -> str:
    """Return the protocol's name of a tensor's element type; for one it has no name for, TensorFlow's in capitals."""
    return _DATATYPES.get(spec.dtype, spec.dtype.upper())


def shape_of(spec: TensorSpec) -> list[int]:
    """Return a tensor's shape with -1 for any size; [-1] for any rank, which the protocol cannot say."""
    return [-1] if spec.unknown_rank else [-1 if size is None else size for size in spec.shape]


def checked_shape(shape: object, spec: TensorSpec) -> tuple[int, ...]:
    """Return the shape a request gives, which must be one the signature takes.

    Raises:
        InvalidRequestError: It is not a list of sizes, or not of this tensor.
    """
    place = f'input "{spec.name}"'
    if not isinstance(shape, list) or not all(type(size) is int and 0 <= size <= MAX_SIZE for size in shape):
        raise InvalidRequestError(f"{place}: expected a shape, a list of whole numbers from 0 to {MAX_SIZE}")
    fits = len(shape) == len(spec.shape) and all(
        wanted in (None, size) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not (fits or spec.unknown_rank) or len(shape) > MAX_RANK:
        raise InvalidRequestError(f"{place}: expected shape {shape_of(spec)}, got {str(shape)[:100]}")
    if 0 in shape and math.prod(size or 1 for size in shape) > MAX_EMPTY_SIZE:
        raise InvalidRequestError(f"{place}: a tensor without elements has a shape this large")
    return tuple(shape)


def deduced_shape(spec: TensorSpec, size_bytes: int) -> list[int]:
    """Return the one shape that a raw tensor of this many bytes can have; BYTES is one element.

    Raises:
        InvalidRequestError: More than one size is free.
    """
    shape = shape_of(spec)
    raw = _RAW.get(spec.dtype)
    if raw is None:
        return [1] * len(shape)
    if shape.count(-1) > 1 or spec.unknown_rank:
        raise InvalidRequestError(f'input "{spec.name}": a raw tensor\'s size does not tell its shape {shape}')
    row_bytes = math.prod(size for size in shape if size != -1) * raw.itemsize
    return [size_bytes // row_bytes if size == -1 and row_bytes else max(size, 0) for size in shape]


def object_array(values: list[bytes]) -> Array:
    """Return the elements of a BYTES tensor as a flat array of objects; numpy's own byte strings drop trailing NULs."""
    array = numpy.empty(len(values), object)
    array[:] = values
    return array


def tensor_from_bytes(body: bytes, start: int, size_bytes: int, spec: TensorSpec, shape: tuple[int, ...]) -> Array:
    """Read a tensor where it lies in a body, without copying it (BYTES excepted).

    Args:
        body: The whole body; `start + size_bytes` lies within it.
        start: Where the tensor begins, in bytes; any alignment.
        size_bytes: How many bytes the request says the tensor has.
        spec: The tensor, as the signature has it.
        shape: What `checked_shape` returned.

    Returns:
        A read-only array that may be unaligned.

    Raises:
        InvalidRequestError: The bytes are not a tensor of this shape and datatype.
        UnimplementedError: There is no array for this datatype.
    """
    if spec.dtype == "string":
        return object_array(_split(body[start : start + size_bytes], math.prod(shape), spec)).reshape(shape)
    raw = _RAW.get(spec.dtype)
    if raw is None:
        raise UnimplementedError(f'input "{spec.name}": {datatype_of(spec)} is not served')
    expected_bytes = math.prod(shape) * raw.itemsize
    if size_bytes != expected_bytes:
        wanted = f"{expected_bytes} bytes for {datatype_of(spec)} {list(shape)}"
        raise InvalidRequestError(f'input "{spec.name}": expected {wanted}, got {size_bytes}')
    array: Array = numpy.ndarray(shape, raw, body, start)
    if spec.dtype != "bool":
        return array
    if array.max(initial=0) > 1:
        raise InvalidRequestError(f'input "{spec.name}": expected each BOOL to be a byte 0 or 1')
    return array.view(numpy.bool_)


def tensor_to_bytes(name: str, array: Array) -> bytes:
    """Return a tensor's elements as raw little-endian bytes, in row-major order.

    Raises:
        UnimplementedError: The protocol has no binary form of this datatype.
    """
    if array.dtype.kind == "O":
        return b"".join(chain.from_iterable((_LENGTH.pack(len(value)), value) for value in array.ravel()))
    if array.dtype.kind not in "biuf":
        raise UnimplementedError(f'output "{name}": {array.dtype.name} is not served')
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _split(part: bytes, count: int, spec: TensorSpec) -> list[bytes]:
    """Return the elements of a BYTES tensor, each behind its length."""
    values: list[bytes] = []
    at = 0
    while at < len(part) and len(values) < count:
        end = at + _LENGTH.size
        length = _LENGTH.unpack_from(part, at)[0] if end <= len(part) else len(part)
        if end + length > len(part):
            raise InvalidRequestError(f'input "{spec.name}": element {len(values)} ends beyond the tensor\'s bytes')
        values.append(part[end : end + length])
        at = end + length
    if len(values) != count or at != len(part):
        left = f"{len(values)} and {len(part) - at} bytes more" if at != len(part) else str(len(values))
        raise InvalidRequestError(f'input "{spec.name}": expected {count} BYTES elements, got {left}')
    return values
