"""JSON from strangers: bounded in depth, one value per key, and every refusal says where.

Python's own parser takes what others refuse: NaN anywhere, the last of two equal keys, lone surrogates, integers
of any length, and nesting until the stack ends.
"""

import json
import math
import re
from collections.abc import Callable
from itertools import accumulate
from typing import Any, NoReturn, TypeVar

from shared.errors import InvalidRequestError

T = TypeVar("T")

MAX_DEPTH = 64

# Possessive, and without need of a closing quote: never tried twice on the same bytes, however they are broken.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


def check_depth(body: bytes, max_depth: int = MAX_DEPTH) -> None:
    """Refuse nesting beyond `max_depth` levels before anything recursive sees the text.

    Raises:
        InvalidRequestError: reason JSON_TOO_DEEP.
    """
    # Most bodies have fewer opening brackets than levels allowed; then there is nothing to walk.
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    brackets = _STRINGS.sub(b"", body).translate(None, _NOT_BRACKETS)
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > max_depth:
        raise InvalidRequestError(
            f"JSON is nested too deeply: expected at most {max_depth} levels",
            reason="JSON_TOO_DEEP",
            metadata={"max_depth": str(max_depth)},
        )


def decode_text(body: bytes) -> str:
    """Decode a body as UTF-8, the only encoding JSON travels in.

    Raises:
        InvalidRequestError: reason INVALID_TEXT, with the offset of the first bad byte.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"expected UTF-8 text; the byte at offset {error.start} is not", reason="INVALID_TEXT"
        ) from None


def loads(body: bytes) -> Any:
    """Parse a body strictly: finite numbers, unique keys, valid text.

    Raises:
        InvalidRequestError: reason INVALID_JSON, JSON_TOO_DEEP, DUPLICATE_KEY, NON_FINITE or INVALID_TEXT.
    """
    check_depth(body)
    text = decode_text(body)
    value: Any = parsed(text, lambda: STRICT.decode(text))
    return value


def refuse_duplicates(body: bytes, value: Any) -> None:
    """Refuse a body in which an object has two members of one name; for parsers that keep one of them in silence.

    Args:
        body: JSON in UTF-8.
        value: What the other parser made of it.

    Raises:
        InvalidRequestError: reason DUPLICATE_KEY.
    """
    # Each member has one colon. Text may have more: then Python's own parser decides, which takes longer.
    colons, members, level = body.count(b":"), 0, [value]
    while level and members < colons:
        objects = [item for item in level if type(item) is dict]
        members += sum(map(len, objects))
        if members < colons:
            level = [item for parent in level if type(parent) is list for item in parent if type(item) in (dict, list)]
            level += [item for parent in objects for item in parent.values() if type(item) in (dict, list)]
    if members < colons:
        text = decode_text(body)
        parsed(text, lambda: LAX.decode(text))


def canonical(value: Any) -> bytes:
    """Return the one spelling of a JSON value: keys sorted, no spaces. Two bodies are equal if these are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def parsed(text: str, parse: Callable[[], T]) -> T:
    """Run a parser over a text, its own errors in our words.

    Raises:
        InvalidRequestError: reason INVALID_JSON with the offset, or NUMBER_OUT_OF_RANGE.
    """
    try:
        return parse()
    except json.JSONDecodeError as error:
        what = "an empty body" if not text.strip() else f"{error.msg} at offset {error.pos}"
        raise InvalidRequestError(f"expected JSON: {what}", reason="INVALID_JSON") from None
    except ValueError:
        # The interpreter's own limit on the digits of an integer.
        raise InvalidRequestError(
            "a number is too long: expected at most 4300 digits", reason="NUMBER_OUT_OF_RANGE"
        ) from None


def kind_of(value: Any) -> str:
    """Name a parsed value's JSON type, for messages."""
    if value is None:
        return "null"
    names = {dict: "object", list: "array", str: "string", bool: "boolean"}
    return names.get(type(value), "number")


def check_text(value: str, where: str) -> str:
    """Refuse text that no database can keep: lone surrogates and NUL.

    Raises:
        InvalidRequestError: reason INVALID_TEXT.
    """
    if "\0" in value or (not value.isascii() and re.search("[\ud800-\udfff]", value)):
        raise InvalidRequestError(f"{where}: expected text without NUL or lone surrogates", reason="INVALID_TEXT")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        _refuse_duplicate(next(k for k, _ in pairs if k in seen or seen.add(k)))  # type: ignore[func-returns-value]
    return result


def _refuse_duplicate(key: str) -> NoReturn:
    shown = key[:40].encode("ascii", "backslashreplace").decode()
    raise InvalidRequestError(f"the member {json.dumps(shown)} is there twice", reason="DUPLICATE_KEY")


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidRequestError(f"{name} is not taken here: expected finite numbers", reason="NON_FINITE")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        _refuse_constant(text[:24])
    return value


STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_finite)
LAX = json.JSONDecoder(object_pairs_hook=_object)
