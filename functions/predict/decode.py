"""Request JSON into tensors, as strictly as TensorFlow Serving: nothing is coerced, nothing is padded.

Python would take "1.5", true and 1.0 where a signature says otherwise, and numpy would make objects of ragged rows.
Both are looked for leaf by leaf before an array is made.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy
import orjson

from model.manifest import Signature, TensorSpec
from shared.errors import InvalidRequestError, ServiceError
from shared.strict_json import check_depth, decode_text, kind_of, parsed

Tensors = dict[str, "numpy.ndarray[Any, Any]"]


class UnimplementedError(ServiceError):
    """501: the signature has an element type that JSON cannot carry."""

    http_status, status, reason = 501, "UNIMPLEMENTED", "DTYPE_UNIMPLEMENTED"


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse a request body; NaN, Infinity and -Infinity are numbers, as in TensorFlow Serving.

    Raises:
        InvalidRequestError: It is not a JSON object, or nests deeper than 64 levels.
    """
    check_depth(body)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        # Slower, but it knows the tokens for non-finite numbers, and its messages are ours.
        text = decode_text(body)
        value = parsed(text, lambda: json.loads(text))
    if not isinstance(value, dict):
        raise InvalidRequestError(f"expected a JSON object; got {kind_of(value)}")
    return value


def rows_to_tensors(rows: object, signature: Signature) -> Tensors:
    """Turn `instances` into one tensor an input; the rows become dimension 0.

    Args:
        rows: A non-empty list: of objects with exactly the signature's input names, or, for a signature of one
            input, of its plain values.
        signature: What the model takes.

    Raises:
        InvalidRequestError: Names, shapes or element types are not the signature's; says which and where.
    """
    if not isinstance(rows, list):
        raise InvalidRequestError(f"Expecting 'instances' to be an list/array; got {kind_of(rows)}")
    if not rows:
        raise InvalidRequestError("No values in 'instances' array")
    names = list(signature.inputs)
    if not isinstance(rows[0], dict):
        if len(names) != 1:
            raise InvalidRequestError(
                "instances is a plain list, but expecting list of objects as multiple input tensors required: "
                f"{_described(signature)}"
            )
        return {names[0]: _tensor(rows, signature.inputs[names[0]], "instances")}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != signature.inputs.keys():
            _refuse_row(row, index, signature)
    return {name: _tensor([row[name] for row in rows], signature.inputs[name], "instances", name) for name in names}


def columns_to_tensors(columns: object, signature: Signature) -> Tensors:
    """Turn `inputs` into one tensor an input: an object by name, or the bare tensor of the only input.

    Raises:
        InvalidRequestError: An input is missing, or its shape or element types are not the signature's.
    """
    names = list(signature.inputs)
    if not isinstance(columns, dict):
        if len(names) != 1:
            raise InvalidRequestError(f"'inputs' should be an object; the model takes {_described(signature)}")
        return {names[0]: _tensor(columns, signature.inputs[names[0]], "inputs")}
    missing = [name for name in names if name not in columns]
    if missing:
        raise InvalidRequestError(
            f"Missing named input: {missing[0]} in 'inputs' object. The model takes {_described(signature)}"
        )
    return {name: _tensor(columns[name], signature.inputs[name], f"inputs.{name}") for name in names}


def _tensor(value: object, spec: TensorSpec, where: str, member: str = "") -> "numpy.ndarray[Any, Any]":
    shape, leaves = _flattened(value, spec, where, member)
    _check_shape(shape, spec)
    wanted = _KINDS.get(spec.dtype)
    if wanted is None:
        raise UnimplementedError(f"{spec.name}: JSON cannot carry {spec.dtype}")
    if not wanted.issuperset(map(type, leaves)):
        at = next(index for index, leaf in enumerate(leaves) if type(leaf) not in wanted)
        place = _place(at, shape, where, member)
        raise InvalidRequestError(f"{place}: {_expected(spec)}, got {_leaf_kind(leaves[at])}")
    try:
        # Too large for float32 is Infinity, as in TensorFlow Serving; numpy would warn.
        with numpy.errstate(over="ignore"):
            return numpy.array(leaves, spec.dtype).reshape(shape)
    except OverflowError:
        raise InvalidRequestError(f"{where}: {_expected(spec)}, got a number out of its range") from None


def _flattened(value: object, spec: TensorSpec, where: str, member: str) -> tuple[list[int], list[Any]]:
    """Return the shape, taken from the first element at each level, and all leaves in row-major order."""
    shape: list[int] = []
    level: list[Any] = [value]
    while level and type(level[0]) is list:
        size = len(level[0])
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            at = next(i for i, item in enumerate(level) if not isinstance(item, list) or len(item) != size)
            got = f"{len(level[at])} items" if isinstance(level[at], list) else _leaf_kind(level[at])
            place = _place(at, shape, where, member)
            raise InvalidRequestError(f"{place}: {_expected(spec)}; expected {size} items like its siblings, got {got}")
        shape.append(size)
        level = list(chain.from_iterable(level))
    return shape, level


def _check_shape(shape: Sequence[int], spec: TensorSpec) -> None:
    fits = len(shape) == len(spec.shape) and all(
        wanted in (None, size) for size, wanted in zip(shape, spec.shape, strict=True)
    )
    if not fits:
        raise InvalidRequestError(f"{spec.name}: {_expected(spec)}, got shape {list(shape)}")


def _place(at: int, shape: Sequence[int], where: str, member: str) -> str:
    """Name a leaf as a reader would look it up: instances[0].image[2][1]."""
    indices: list[int] = []
    for size in reversed(shape):
        at, index = divmod(at, size)
        indices.insert(0, index)
    steps = [f"[{index}]" for index in indices]
    if member and steps:
        return f"{where}{steps[0]}.{member}{''.join(steps[1:])}"
    return where + "".join(steps)


def _refuse_row(row: object, index: int, signature: Signature) -> None:
    place = f"instances[{index}]"
    if not isinstance(row, dict):
        raise InvalidRequestError(f"{place}: expected an object like the first row, got {_leaf_kind(row)}")
    for name in signature.inputs:
        if name not in row:
            raise InvalidRequestError(f"{place}: has no input {name}; the model takes {_described(signature)}")
    extra = json.dumps(sorted(row.keys() - signature.inputs.keys())[0][:40])
    raise InvalidRequestError(
        f"{place}: JSON object: does not have named input: {extra}; the model takes {_described(signature)}"
    )


def _described(signature: Signature) -> str:
    return ", ".join(f"{spec.name} ({spec.dtype} {_shape(spec)})" for spec in signature.inputs.values())


def _expected(spec: TensorSpec) -> str:
    return f"expected {spec.dtype} {_shape(spec)} for {spec.name}"


def _shape(spec: TensorSpec) -> str:
    return str([-1 if size is None else size for size in spec.shape])


def _leaf_kind(value: object) -> str:
    if isinstance(value, float):
        return "a number with a fraction"
    if isinstance(value, int) and not isinstance(value, bool):
        return "a whole number"
    return kind_of(value)


_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_KINDS: Mapping[str, set[type]] = {
    "float32": {int, float},
    "float64": {int, float},
    "bool": {bool},
    **{dtype: {int} for dtype in _INTEGERS},
}
