"""What each key of a service.yaml may be set to: a parsed value in, a checked one out, else ValueError."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .cloud_run_limits import CPUS, MAX_CONCURRENCY, MAX_INSTANCES, MAX_TIMEOUT_SECONDS, checked_memory

TOPICS = ("nightly", "predictions")
SECRETS = ("PAGE_TOKEN_KEY",)
_ACCESS = ("none", "read", "write")


def unknown_key(name: object) -> str:
    """Return what is wrong with a key that there is not."""
    near = difflib.get_close_matches(name, CHECKS, n=1) if isinstance(name, str) else []
    if not isinstance(name, str):
        return "expected a key that is text"
    return f"{name}: unknown key: {f'did you mean {near[0]}?' if near else 'expected some of ' + ', '.join(CHECKS)}"


def _memory(value: object) -> str:
    try:
        return checked_memory(value if isinstance(value, str) else "")
    except ValueError as error:
        raise ValueError(f"{error}, got {value!r}") from None


def _cpu(value: object) -> int:
    # A fraction would need the first generation, which mounts no bucket, and serve one request at a time.
    if type(value) is not int or value not in CPUS:
        expected = f"expected {', '.join(map(str, CPUS[:-1]))} or {CPUS[-1]} vCPUs"
        raise ValueError(f"{expected}, as Cloud Run's second generation has them, got {value!r}")
    return value


def _between(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if type(value) is not int or not least <= value <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, got {value!r}")
        return value

    return check


def _path(value: object) -> str:
    # Cloud Run keeps paths that end in z, /eventlog and /_ah/ to itself.
    if not isinstance(value, str) or not re.fullmatch(r"/[A-Za-z0-9/_.-]*", value):
        raise ValueError(f"expected a path such as /health, got {value!r}")
    if value.endswith("z") or value == "/eventlog" or value.startswith("/_ah/"):
        raise ValueError(f"expected a path that Cloud Run does not keep to itself, as it does {value}")
    return value


def _one_of(choices: Sequence[str]) -> Callable[[object], str]:
    def check(value: object) -> str:
        if not isinstance(value, str) or value not in choices:
            raise ValueError(f"expected {' or '.join(choices)}, got {value!r}")
        return value

    return check


def _some_of(choices: Sequence[str] | None) -> Callable[[object], tuple[str, ...]]:
    def check(value: object) -> tuple[str, ...]:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"expected a list of texts, got {value!r}")
        if len(set(value)) < len(value):
            raise ValueError("expected each once")
        for item in value:
            if choices is not None and item not in choices:
                raise ValueError(f"expected some of {', '.join(choices)}, got {item!r}")
        return tuple(value)

    return check


def _include(value: object) -> tuple[str, ...]:
    patterns = _some_of(None)(value)
    for pattern in patterns:
        if not pattern or pattern.startswith("/") or ".." in pattern.split("/"):
            raise ValueError(f"expected paths inside the repository, got {pattern!r}")
    return patterns


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"expected true or false, got {value!r}")
    return value


REQUIRED = ("memory", "cpu", "concurrency", "max_instances", "timeout_seconds", "startup_path")
# Every key there can be, with its check; which functions `calls` may name is checked over all files.
CHECKS: Mapping[str, Callable[[object], Any]] = {
    "include": _include,
    "memory": _memory,
    "cpu": _cpu,
    "concurrency": _between(1, MAX_CONCURRENCY),
    "max_instances": _between(1, MAX_INSTANCES),
    "timeout_seconds": _between(1, MAX_TIMEOUT_SECONDS),
    "startup_path": _path,
    "database": _one_of(_ACCESS),
    "objects": _one_of(_ACCESS),
    "secrets": _some_of(SECRETS),
    "publishes": _some_of(TOPICS),
    "subscribes": _one_of(TOPICS),
    "calls": _some_of(None),
    "models": _flag,
}
