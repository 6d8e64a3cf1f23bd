"""Splits a request body into results without losing a character of their payloads."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.errors import InvalidRequestError
from shared.strict_json import LAX, STRICT, check_depth, decode_text, kind_of, parsed

# Members whose text is kept as it came; only in these are NaN and Infinity taken.
PAYLOADS = frozenset({"instances", "predictions"})
MAX_BATCH_RESULTS = 500

_SPACE = re.compile(r"[ \t\n\r]*")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawResult:
    """One result as it was sent: every member's value, and the exact text of the payloads."""

    values: dict[str, Any] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


def read_one(body: bytes) -> RawResult:
    """Read a body that is one result.

    Raises:
        InvalidRequestError: It is not one JSON object.
    """
    return _read(body, lambda reader: reader.result("the body"))


def read_batch(body: bytes) -> list[RawResult]:
    """Read a body that is `{"results": [...]}` with 1 to 500 results.

    Raises:
        InvalidRequestError: It is not that.
    """
    results = _read(body, _batch)
    if not 1 <= len(results) <= MAX_BATCH_RESULTS:
        raise InvalidRequestError(
            f"results: expected 1 to {MAX_BATCH_RESULTS} results, got {len(results)}", reason="BATCH_SIZE"
        )
    return results


def _read(body: bytes, parse: "Callable[[_Reader], T]") -> T:
    check_depth(body)
    reader = _Reader(decode_text(body))
    return parsed(reader.text, lambda: reader.whole(parse))


def _batch(reader: "_Reader") -> list[RawResult]:
    results: list[RawResult] = []
    for name in reader.members("the body"):
        if name != "results":
            raise InvalidRequestError(f"unknown member {json.dumps(name[:40])}: expected results")
        results = [reader.result(f"results[{index}]") for index in reader.items("results")]
    return results


class _Reader:
    """Walks the outer levels of a JSON text; values below are left to the standard library's parser."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._at = 0

    def whole(self, parse: "Callable[[_Reader], T]") -> T:
        """Return what `parse` reads, if nothing follows it."""
        value = parse(self)
        self._skip()
        if self._at < len(self.text):
            raise json.JSONDecodeError("Extra data", self.text, self._at)
        return value

    def result(self, where: str) -> RawResult:
        """Read one object, keeping the text of its payloads."""
        raw = RawResult()
        for name in self.members(where):
            decoder = LAX if name in PAYLOADS else STRICT
            start = self._at
            raw.values[name], self._at = decoder.raw_decode(self.text, start)
            if name in PAYLOADS:
                raw.texts[name] = self.text[start : self._at]
        return raw

    def members(self, where: str) -> Iterator[str]:
        """Yield the name of each member of an object; the caller reads its value before the next."""
        self._open("{", "an object", where)
        seen: set[str] = set()
        more = not self._took("}")
        while more:
            if self.text[self._at : self._at + 1] != '"':
                raise json.JSONDecodeError("Expecting a member's name in double quotes", self.text, self._at)
            name, self._at = STRICT.raw_decode(self.text, self._at)
            if name in seen:
                raise InvalidRequestError(
                    f"{where}: the member {json.dumps(name[:40])} is there twice", reason="DUPLICATE_KEY"
                )
            seen.add(name)
            self._need(":")
            yield name
            more = self._goes_on("}")

    def items(self, where: str) -> Iterator[int]:
        """Yield the index of each item of an array; the caller reads it before the next."""
        self._open("[", "an array", where)
        index = 0
        more = not self._took("]")
        while more:
            yield index
            index += 1
            more = self._goes_on("]")

    def _open(self, bracket: str, expected: str, where: str) -> None:
        self._skip()
        if not self._took(bracket):
            value, _ = LAX.raw_decode(self.text, self._at)
            raise InvalidRequestError(f"{where}: expected {expected}, got {kind_of(value)}")

    def _goes_on(self, end: str) -> bool:
        self._skip()
        if self._took(end):
            return False
        self._need(",")
        return True

    def _need(self, mark: str) -> None:
        self._skip()
        if not self._took(mark):
            raise json.JSONDecodeError(f"Expecting '{mark}'", self.text, self._at)

    def _took(self, mark: str) -> bool:
        if self.text[self._at : self._at + 1] != mark:
            return False
        self._at += 1
        self._skip()
        return True

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self._at)
        self._at = match.end() if match else self._at
