"""What the bodies of Google's APIs have in common: known fields, update masks, times."""

import base64
import re
from collections.abc import Collection, Mapping
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from .wire import ApiError, invalid


def only(body: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """Return a body as it is.

    Raises:
        ApiError: 400; it has a field that the API does not know.
    """
    for name in body:
        if name not in known:
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')
    return dict(body)


def masked(
    current: Mapping[str, Any], change: Mapping[str, Any], mask: str, mutable: Collection[str]
) -> dict[str, Any]:
    """Return a resource after an update: the fields that the mask names, and no others, as the change has them.

    Args:
        current: As it is.
        change: The resource of the request.
        mask: Paths with commas between them, in either spelling of names.
        mutable: The first parts of the paths that may change.

    Raises:
        ApiError: 400; the mask is empty, or names what cannot be changed.
    """
    paths = [_camel(path) for path in mask.split(",") if path]
    if not paths:
        raise invalid("The update_mask in the request must be set and not be empty.")
    after = deepcopy(dict(current))
    for path in paths:
        first, *rest = path.split(".")
        if first not in mutable:
            raise invalid(f"Invalid update_mask provided in the request: the field {path} is not mutable.")
        _put(after, [first, *rest], change)
    return after


def now() -> str:
    """Return the time as the APIs write it, in UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def seconds(duration: str, what: str) -> float:
    """Return the seconds of a duration such as `600s`.

    Raises:
        ApiError: 400; it is not one.
    """
    if not re.fullmatch(r"\d+(\.\d+)?s", duration):
        raise invalid(f"Invalid {what}: {duration}; expected seconds such as 600s.")
    return float(duration[:-1])


def between(value: float, low: float, high: float, what: str) -> None:
    """Let a number from low to high pass.

    Raises:
        ApiError: 400; it is outside.
    """
    if not low <= value <= high:
        raise invalid(f"The value for {what} is out of range: {value:g}; expected {low:g} to {high:g}.")


def decoded(text: str, what: str) -> bytes:
    """Return the bytes that a field holds in base64, in either alphabet, as Google's JSON takes them.

    Raises:
        ApiError: 400; it is not base64.
    """
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError as error:
        raise invalid(f"Invalid value at '{what}' (TYPE_BYTES): {error}") from error


def denied(permission: str, what: str) -> ApiError:
    """Return the refusal of what the caller may not do."""
    return ApiError(403, "PERMISSION_DENIED", f"Permission '{permission}' denied on resource {what}.")


def _put(after: dict[str, Any], path: list[str], change: Any) -> None:
    for name in path[:-1]:
        after = after.setdefault(name, {})
        change = change.get(name, {})
    if path[-1] in change:
        after[path[-1]] = change[path[-1]]
    else:
        after.pop(path[-1], None)


def _camel(path: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), path.strip())
