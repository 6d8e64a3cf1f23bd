"""TensorFlow Serving's request bodies into tensors: the row form (`instances`) and the columnar form (`inputs`)."""

import json
from typing import Any, NoReturn

import orjson

from model.manifest import Signature
from shared.errors import InvalidRequestError
from shared.strict_json import check_depth, decode_text, kind_of, parsed, refuse_duplicates

from .tensors import Tensor, is_base64, leaf_kind, shape_text, to_tensor

Tensors = dict[str, Tensor]


def parse_body(body: bytes) -> dict[str, Any]:
    """Parse a request body; NaN, Infinity and -Infinity are numbers, as in TensorFlow Serving.

    Raises:
        InvalidRequestError: It is not a JSON object, nests deeper than 64 levels, or has a member twice.
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
    refuse_duplicates(body, value)
    return value


def rows_to_tensors(rows: object, signature: Signature) -> Tensors:
    """Turn `instances` into one tensor an input; the rows become dimension 0.

    Args:
        rows: A non-empty list: of objects with exactly the signature's input names, or, for a signature of one
            input, of its plain values. The first row decides which.
        signature: What the model takes.

    Raises:
        InvalidRequestError: Names, shapes or element types are not the signature's; says which and where.
    """
    if not isinstance(rows, list):
        raise InvalidRequestError(f"Expecting 'instances' to be an list/array; got {kind_of(rows)}")
    if not rows:
        raise InvalidRequestError("No values in 'instances' array")
    names = list(signature.inputs)
    if not isinstance(rows[0], dict) or is_base64(rows[0]):
        if len(names) != 1:
            raise InvalidRequestError(
                "instances is a plain list, but expecting list of objects as multiple input tensors required: "
                f"{_described(signature)}"
            )
        return {names[0]: to_tensor(rows, signature.inputs[names[0]], "instances", bare_column=True)}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != signature.inputs.keys():
            _refuse_row(row, index, signature)
    alone = len(names) == 1
    return {
        name: to_tensor([row[name] for row in rows], signature.inputs[name], "instances", name, bare_column=alone)
        for name in names
    }


def columns_to_tensors(columns: object, signature: Signature) -> Tensors:
    """Turn `inputs` into one tensor an input: an object by name, or the bare tensor of the only input.

    Raises:
        InvalidRequestError: An input is missing, or its shape or element types are not the signature's.
    """
    names = list(signature.inputs)
    if not isinstance(columns, dict) or is_base64(columns):
        if len(names) != 1:
            raise InvalidRequestError(f"'inputs' should be an object; the model takes {_described(signature)}")
        return {names[0]: to_tensor(columns, signature.inputs[names[0]], "inputs", bare_column=True)}
    missing = [name for name in names if name not in columns]
    if missing:
        raise InvalidRequestError(
            f"Missing named input: {missing[0]} in 'inputs' object. The model takes {_described(signature)}"
        )
    alone = len(names) == 1
    return {
        name: to_tensor(columns[name], signature.inputs[name], f"inputs.{name}", bare_column=alone) for name in names
    }


def _refuse_row(row: object, index: int, signature: Signature) -> NoReturn:
    place = f"instances[{index}]"
    if not isinstance(row, dict):
        raise InvalidRequestError(f"{place}: expected an object like the first row, got {leaf_kind(row)}")
    for name in signature.inputs:
        if name not in row:
            raise InvalidRequestError(f"{place}: has no input {name}; the model takes {_described(signature)}")
    extra = json.dumps(sorted(row.keys() - signature.inputs.keys())[0][:40])
    raise InvalidRequestError(
        f"{place}: JSON object: does not have named input: {extra}; the model takes {_described(signature)}"
    )


def _described(signature: Signature) -> str:
    return ", ".join(f"{spec.name} ({spec.dtype} {shape_text(spec)})" for spec in signature.inputs.values())
