"""Reads the parameters of a task: those it knows, of the kind and in the range that it takes."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from shared.errors import InvalidRequestError

T = TypeVar("T", int, float)


class Params:
    """The parameters of one run, taken one by one.

    Args:
        params: As the run has them.
        known: Their names; any other is refused.

    Raises:
        InvalidRequestError: reason INVALID_PARAMS, here and in every method.
    """

    def __init__(self, params: Mapping[str, Any], known: tuple[str, ...]) -> None:
        self._params = params
        if unknown := sorted(params.keys() - set(known)):
            raise _refusal(f"unknown parameter {unknown[0][:40]!a}: expected some of {', '.join(known)}")

    def text(self, name: str, default: str | None = None, pattern: str = ".+") -> str:
        """Return a text of a pattern; a whole number counts as one, since in YAML a version is a number."""
        value = self._params.get(name, default)
        text = str(value) if type(value) is int else value
        if not isinstance(text, str) or not re.fullmatch(pattern, text):
            raise _refusal(
                f"params.{name}: expected text"
                + (f" that matches {pattern}" if pattern != ".+" else "")
                + (f", got {ascii(value)[:40]}" if name in self._params else ", it is not there")
            )
        return text

    def number(self, name: str, default: T, least: T, most: T) -> T:
        """Return a number within bounds, a whole one where the default is."""
        value = self._params.get(name, default)
        kinds = (int,) if isinstance(default, int) else (int, float)
        if type(value) not in kinds or not least <= value <= most:
            kind = "a whole number" if isinstance(default, int) else "a number"
            raise _refusal(f"params.{name}: expected {kind} from {least} to {most}, got {ascii(value)[:40]}")
        return type(default)(value)


def _refusal(message: str) -> InvalidRequestError:
    return InvalidRequestError(message, reason="INVALID_PARAMS")
