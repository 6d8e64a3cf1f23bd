"""The dead letters of a local stack: taken from their file one by one, each when its function has acknowledged it."""

import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from shared.errors import ConfigurationError, ConflictError, InvalidRequestError

from .broker_files import append_line
from .broker_messages import BrokerMessage

# A push may take ten minutes.
_TIMEOUT_SECONDS = 660.0
# Makes a letter's data what is to be delivered, from its topic, its data and when it was published.
Prepare = Callable[[str, bytes, datetime], bytes]
# What a letter may raise that somebody else has written.
_UNREADABLE = (ValueError, LookupError, TypeError, OverflowError, RecursionError, InvalidRequestError)


def redrive_file(path: Path, urls: Mapping[str, str], prepare: Prepare, say: Callable[[str], None]) -> tuple[int, int]:
    """Push every letter of a file to its topic's function, as the local broker does.

    The letters are moved to a file beside first, so that the stack may go on to bury others meanwhile.

    Args:
        path: The dead letters.
        urls: Where the function of each topic is.
        prepare: Applied to each.
        say: Told of each letter that stays, and why.

    Returns:
        How many were acknowledged, and how many stay.

    Raises:
        ConflictError: Another redrive is at it.
        ConfigurationError: The files cannot be read or written; no letter is lost.
    """
    draft = path.with_name(f"{path.name}.redriving")
    done, kept = 0, 0
    with _alone(path):
        _move(path, draft)
        lines = _lines(draft)
        while lines:
            problem = _deliver(lines[0], urls, prepare)
            if problem:
                say(f"{_name(lines[0])}: {problem}")
                # First there, then not here: after a crash it is in both.
                append_line(path, lines[0])
                kept += 1
            else:
                done += 1
            lines = lines[1:]
            _replace(draft, lines)
        draft.unlink(missing_ok=True)
    return done, kept


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except BlockingIOError:
        raise ConflictError("another redrive is under way", reason="REDRIVE_IN_PROGRESS") from None
    except OSError as error:
        raise ConfigurationError([f"STATE_DIR: the dead letters cannot be read or written: {error}"]) from error


def _move(path: Path, draft: Path) -> None:
    """Move all letters into the draft, behind those that an earlier redrive left there."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        # The stack holds the same lock while it adds a letter; the file stays the same file, since it may wait for it.
        fcntl.flock(file, fcntl.LOCK_EX)
        _replace(draft, [*_lines(draft), *file.read().splitlines()])
        file.truncate(0)


def _lines(path: Path) -> list[bytes]:
    return [line for line in path.read_bytes().splitlines() if line.strip()] if path.exists() else []


def _replace(path: Path, lines: list[bytes]) -> None:
    whole = path.with_name(f"{path.name}.new")
    with whole.open("wb") as file:
        file.writelines(line + b"\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    whole.replace(path)


def _deliver(line: bytes, urls: Mapping[str, str], prepare: Prepare) -> str | None:
    """Push a letter, and return why it must stay, or None."""
    try:
        topic, message = _message(line, prepare)
        url = urls[topic]
        body = message.push_body("projects/local/subscriptions/redrive", 1)
    except _UNREADABLE as error:
        return f"expected a line that the local stack wrote: {error!r}"
    try:
        answer = httpx.post(
            f"{url}/", content=body, headers={"Content-Type": "application/json"}, timeout=_TIMEOUT_SECONDS
        )
    except httpx.TransportError as error:
        return f"nothing answers at {url} ({type(error).__name__}): is `make run` running?"
    return None if answer.is_success else f"{url} answered {answer.status_code}: {answer.text[:300]}"


def _message(line: bytes, prepare: Prepare) -> tuple[str, BrokerMessage]:
    letter: dict[str, Any] = json.loads(line)
    encoded = "data" in letter
    data = base64.b64decode(letter["data"], validate=True) if encoded else json.dumps(letter["message"]).encode()
    publish_time = datetime.fromisoformat(letter["publish_time"])
    if publish_time.tzinfo is None:
        raise ValueError("publish_time: expected an offset from UTC")
    publish_time = publish_time.astimezone(UTC)
    attributes = letter.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise TypeError("attributes: expected an object of strings")
    topic = letter["topic"]
    return topic, BrokerMessage(str(letter["message_id"]), publish_time, prepare(topic, data, publish_time), attributes)


def _name(line: bytes) -> str:
    try:
        # Lone surrogates, which JSON may hold, cannot be printed.
        return f"message {json.loads(line)['message_id']}".encode("utf-8", "backslashreplace").decode()
    except _UNREADABLE:
        return "a line"
