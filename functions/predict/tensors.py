"""One JSON value into one tensor, as strictly as TensorFlow Serving: nothing is coerced, nothing is padded.

Python would take "1.5", true and 1.0 where a signature says otherwise, and numpy would make objects of ragged rows.
Both are looked for leaf by leaf before an array is made.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy

from model.manifest import TensorSpec
from shared.errors import InvalidRequestError, UnimplementedError
from shared.strict_json import kind_of

Tensor = numpy.ndarray[Any, Any]


def to_tensor(value: object, spec: TensorSpec, where: str, member: str = "", *, bare_column: bool = False) -> Tensor:
    """Turn a JSON value into the tensor that a signature asks for.

    Args:
        value: A leaf, or lists of lists of them.
        spec: What the signature asks for.
        where: Where the value stands in the request, for messages.
        member: The name under which each item of `value` was found, when it was gathered from rows.
        bare_column: Whether plain numbers will do where the signature's shape is [-1, 1].

    Returns:
        An array of the signature's dtype and shape (or a bare column); for strings, of objects that are bytes.

    Raises:
        InvalidRequestError: Ragged, of another shape, or a leaf of another type or out of range; says which.
        UnimplementedError: JSON cannot carry the dtype.
    """
    shape, leaves = _flattened(value, spec, where, member)
    if not (bare_column and len(shape) == 1 and spec.shape == (None, 1)):
        _check_shape(shape, spec)
    wanted = _KINDS.get(spec.dtype)
    if wanted is None:
        raise UnimplementedError(f"{spec.name}: JSON cannot carry {spec.dtype}")
    if not wanted.issuperset(map(type, leaves)):
        at = next(index for index, leaf in enumerate(leaves) if type(leaf) not in wanted)
        raise InvalidRequestError(f"{_place(at, shape, where, member)}: {_expected(spec)}, got {leaf_kind(leaves[at])}")
    if spec.dtype == "string":
        return _strings(leaves, shape, where, member)
    try:
        # Too large for float32 is Infinity, as in TensorFlow Serving; numpy would warn.
        with numpy.errstate(over="ignore"):
            return numpy.array(leaves, spec.dtype).reshape(shape)
    except OverflowError:
        raise InvalidRequestError(f"{where}: {_expected(spec)}, got a number out of its range") from None


def is_base64(value: object) -> bool:
    """Tell whether a value is TensorFlow Serving's way to write bytes: {"b64": "..."} and nothing else."""
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def shape_text(spec: TensorSpec) -> str:
    """Write a signature's shape, with -1 where the caller chooses."""
    return str([-1 if size is None else size for size in spec.shape])


def leaf_kind(value: object) -> str:
    """Name what came, for messages: whole numbers apart from others, since a signature tells them apart."""
    if isinstance(value, float):
        return "a number with a fraction"
    if isinstance(value, int) and not isinstance(value, bool):
        return "a whole number"
    return kind_of(value)


def _flattened(value: object, spec: TensorSpec, where: str, member: str) -> tuple[list[int], list[Any]]:
    """Return the shape, taken from the first element at each level, and all leaves in row-major order."""
    shape: list[int] = []
    level: list[Any] = [value]
    while level and type(level[0]) is list:
        size = len(level[0])
        if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
            at = next(i for i, item in enumerate(level) if not isinstance(item, list) or len(item) != size)
            got = f"{len(level[at])} items" if isinstance(level[at], list) else leaf_kind(level[at])
            place = _place(at, shape, where, member)
            raise InvalidRequestError(f"{place}: {_expected(spec)}; expected {size} items like its siblings, got {got}")
        shape.append(size)
        level = list(chain.from_iterable(level))
    return shape, level


def _check_shape(shape: Sequence[int], spec: TensorSpec) -> None:
    fits = spec.unknown_rank or (
        len(shape) == len(spec.shape)
        and all(wanted in (None, size) for size, wanted in zip(shape, spec.shape, strict=True))
    )
    if not fits:
        raise InvalidRequestError(f"{_expected(spec)}, got shape {list(shape)}")


def bytes_of(value: Any, where: str) -> bytes:
    """Return the bytes that a leaf stands for: text as UTF-8, or base64.

    Raises:
        InvalidRequestError: It is neither.
    """
    try:
        if isinstance(value, str):
            return value.encode()
        if is_base64(value):
            # White space and missing padding are taken, as Abseil does; the web-safe alphabet is not.
            text = re.sub(r"\s+", "", value["b64"])
            return base64.b64decode(text + "=" * (-len(text) % 4) if "=" not in text else text, validate=True)
    except UnicodeEncodeError:
        raise InvalidRequestError(f"{where}: expected text, got a lone surrogate", reason="INVALID_TEXT") from None
    except ValueError:
        raise InvalidRequestError(f"{where}: Unable to base64 decode: expected the standard alphabet") from None
    raise InvalidRequestError(f'{where}: expected text or {{"b64": ...}}, got {kind_of(value)}')


def _strings(leaves: list[Any], shape: Sequence[int], where: str, member: str) -> Tensor:
    array = numpy.empty(len(leaves), object)
    for at, leaf in enumerate(leaves):
        try:
            array[at] = bytes_of(leaf, where)
        except InvalidRequestError:
            # Its place is looked for only now: for half a million texts that takes seconds.
            bytes_of(leaf, _place(at, shape, where, member))
    return array.reshape(shape)


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


def _expected(spec: TensorSpec) -> str:
    return f"expected {spec.dtype} {shape_text(spec)} for {spec.name}"


_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_KINDS: Mapping[str, set[type]] = {
    "float32": {int, float},
    "float64": {int, float},
    "bool": {bool},
    "string": {str, dict},
    **{dtype: {int} for dtype in _INTEGERS},
}
