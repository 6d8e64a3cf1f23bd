"""One JSON object a line, as Cloud Logging reads it; a readable line on a terminal.

Input from a caller only ever stands inside a quoted field, so no request can forge a log entry.
"""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

Severity = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]

# The descriptor itself: functions-framework may wrap sys.stdout and re-parse what is printed.
_STDOUT = 1
_ENCODER = json.JSONEncoder(separators=(",", ":"), default=str)
_lock = threading.Lock()
_notes: ContextVar[dict[str, Any] | None] = ContextVar("notes", default=None)
_bound: ContextVar[Mapping[str, Any]] = ContextVar("bound", default=MappingProxyType({}))


def start_notes() -> dict[str, Any]:
    """Return what `note` fills from here on: the fields of the log line of the request that begins."""
    notes: dict[str, Any] = {}
    _notes.set(notes)
    return notes


def note(**fields: Any) -> None:
    """Add fields to the log line of the request that is being answered; outside of one, nothing happens."""
    notes = _notes.get()
    if notes is not None:
        notes.update(fields)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Add fields to every event that is logged while the block runs, and to the request's own line."""
    note(**fields)
    before = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(before)


def log_event(severity: Severity, message: str, **fields: Any) -> None:
    """Write one event to standard output.

    Args:
        severity: Cloud Logging's name of the level.
        message: What happened, for people.
        fields: What happened, for queries: JSON values.
    """
    event = {"severity": severity, "message": message, "time": _now(), **_bound.get(), **fields}
    _write((readable(event) if os.isatty(_STDOUT) else _ENCODER.encode(event)) + "\n")


def readable(event: Mapping[str, Any]) -> str:
    """Render an event for a terminal: time, severity if it matters, message, request id; below it a stack trace."""
    clock = str(event.get("time", ""))[11:23]
    severity = event.get("severity", "INFO")
    mark = "" if severity in ("INFO", "DEBUG") else f"{severity} "
    request_id = f"  [{event['request_id'][:8]}]" if event.get("request_id") else ""
    trace = str(event.get("stack_trace", "")).splitlines()
    # A line break in a message is shown, not made: what follows it would pass for an event of its own.
    first = f"{clock} {mark}{event.get('message', '')}{request_id}"
    return "\n    ".join(_printable(line) for line in (first, *trace))


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(line: str) -> None:
    data = line.encode("utf-8", "backslashreplace")
    with _lock:
        while data:
            data = data[os.write(_STDOUT, data) :]
