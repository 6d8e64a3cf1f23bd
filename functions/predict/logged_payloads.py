"""What was asked and answered as JSON text, for the log of predictions."""

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy
import orjson

from shared.errors import ModelError, PayloadTooLargeError

from .encode import encode_columns
from .tensors import Tensor

# Pub/Sub takes 10 MB, and pushes it as base64, a third longer.
MAX_MESSAGE_BYTES = 7_000_000

# Finds where a value ends; what it reads is thrown away.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
_SPACE = re.compile(r"[ \t\r\n]*")


def member_text(body: bytes, members: dict[str, Any], name: str) -> bytes:
    """Return the text of one member of a body, to the character.

    Args:
        body: A JSON object.
        members: The same, parsed: its names in their order, none twice.
        name: Which of them.
    """
    text, at, last = body.decode(), 0, next(reversed(members))
    for member in members:
        _, at = _DECODER.raw_decode(text, text.index('"', at))
        value = _SPACE.match(text, text.index(":", at) + 1)
        start = value.end() if value else at
        # The last, mostly the largest, need not be read: it ends with the object.
        at = text.rindex("}") if member == last else _DECODER.raw_decode(text, start)[1]
        if member == name:
            return text[start:at].rstrip(" \t\r\n").encode()
    raise KeyError(name)


def examples_text(body: bytes, members: dict[str, Any]) -> bytes:
    """Return the text of the examples of a classify or regress call, with their context if they have one."""
    examples = member_text(body, members, "examples")
    if "context" not in members:
        return examples
    return _object({"context": member_text(body, members, "context"), "examples": examples})


def columns_text(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors in the columnar form, by name: what a binary call would have looked like as JSON.

    Raises:
        PayloadTooLargeError: It is more than any message holds.
        InvalidRequestError: An element type has no JSON form.
    """
    # The shortest number has a digit and a comma.
    if 2 * sum(array.size for array in tensors.values()) > MAX_MESSAGE_BYTES:
        raise PayloadTooLargeError("the tensors are more than a message holds")
    return _object({name: _column(name, array) for name, array in tensors.items()})


def _object(texts: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(orjson.dumps(name) + b":" + text for name, text in texts.items()) + b"}"


def _column(name: str, array: Tensor) -> bytes:
    if array.dtype == numpy.float16:
        array = array.astype(numpy.float32)
    # A binary input lies in its body wherever it came to lie; the encoder may count on more.
    array = numpy.require(array, requirements=["C", "A"])
    try:
        return encode_columns({name: array})
    except ModelError:
        # Bytes that are no text are written in base64 where the name asks for it.
        return encode_columns({f"{name}_bytes": array})
