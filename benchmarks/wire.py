"""Requests as they go over the wire, and checks of what comes back."""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from .answers import Answer

# LiteRT and TensorFlow, and a batch and a single row, round differently; another input's answer is further off.
_TOLERANCE = 1e-4


def http_request(
    method: str, path: str, body: bytes = b"", fields: str = "", content_type: str = "application/json"
) -> bytes:
    """Return a whole request.

    Args:
        fields: Header lines of its own, each with its line end.
    """
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: nightshift-benchmarks\r\n{fields}"
    if body:
        head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def as_json(value: Any) -> bytes:
    """Write a body without spaces."""
    return json.dumps(value, separators=(",", ":")).encode()


class JsonCheck:
    """Checks a JSON answer; a body equal to the one found right last is not parsed again.

    Args:
        is_right: Judges the parsed body; what it trips over (a missing key, another type) is a wrong answer.
    """

    def __init__(self, is_right: Callable[[Any], bool], status: int = 200) -> None:
        self._status = status
        self._is_right = is_right
        self._right_body: bytes | None = None

    def __call__(self, answer: Answer) -> bool:
        """Tell whether the answer is right."""
        if answer.status != self._status:
            return False
        if answer.body != self._right_body:
            try:
                right = self._is_right(json.loads(answer.body))
            except (ValueError, LookupError, TypeError):
                return False
            self._right_body = answer.body if right else None
        return self._right_body is not None


def is_close(found: Sequence[float], expected: Sequence[float]) -> bool:
    """Tell whether a model's outputs are those expected, but for rounding."""
    return len(found) == len(expected) and all(
        math.isclose(a, b, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE) for a, b in zip(found, expected, strict=True)
    )
