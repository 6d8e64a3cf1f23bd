"""The dead letters of a local stack: taken from their file one by one, each when its function has acknowledged it."""

import base64
import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from shared.errors import ConflictError

from .broker_messages import BrokerMessage

# A push may take ten minutes.
_TIMEOUT_SECONDS = 660.0
# Makes a letter's data what is to be delivered, from its topic, its data and when it was published.
Prepare = Callable[[str, bytes, datetime], bytes]


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
                _append(path, lines[0])
                kept += 1
            else:
                done += 1
            lines = lines[1:]
            _replace(draft, lines)
        draft.unlink(missing_ok=True)
    return done, kept


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError("another redrive is under way", reason="REDRIVE_IN_PROGRESS") from None
        yield


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


def _append(path: Path, line: bytes) -> None:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line + b"\n")


def _deliver(line: bytes, urls: Mapping[str, str], prepare: Prepare) -> str | None:
    """Push a letter, and return why it must stay, or None."""
    try:
        topic, message = _message(line, prepare)
        url = urls[topic]
    except (ValueError, LookupError, TypeError) as error:
        return f"expected a line that the local stack wrote: {error!r}"
    body = message.push_body("projects/local/subscriptions/redrive", 1)
    try:
        answer = httpx.post(
            f"{url}/", content=body, headers={"Content-Type": "application/json"}, timeout=_TIMEOUT_SECONDS
        )
    except httpx.TransportError as error:
        return f"nothing answers at {url} ({type(error).__name__}): is `make run` running?"
    return None if answer.is_success else f"{url} answered {answer.status_code}: {answer.text[:300]}"


def _message(line: bytes, prepare: Prepare) -> tuple[str, BrokerMessage]:
    letter: dict[str, Any] = json.loads(line)
    data = base64.b64decode(letter["data"]) if "data" in letter else json.dumps(letter["message"]).encode()
    publish_time = datetime.fromisoformat(letter["publish_time"])
    topic = letter["topic"]
    return topic, BrokerMessage(
        str(letter["message_id"]), publish_time, prepare(topic, data, publish_time), letter.get("attributes", {})
    )


def _name(line: bytes) -> str:
    try:
        return f"message {json.loads(line)['message_id']}"
    except (ValueError, LookupError, TypeError):
        return "a line"
