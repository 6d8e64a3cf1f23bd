"""The local broker's memory: a file for each message that nobody acknowledged yet, and one for those given up.

A file a message, since there is nothing to compact then, and one that is published is kept even if this process is
killed right after. A power cut may take the newest: nothing is synced.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from .broker_messages import BrokerMessage


class PendingMessages:
    """The messages of a topic that are to be delivered still.

    Args:
        folder: Holds nothing else; made with the first message.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, message: BrokerMessage) -> str:
        """Keep a message, and return the name it has here; names sort by publish time."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = f"{message.publish_time.astimezone(UTC):%Y%m%dT%H%M%S%f}-{message.message_id}.json"
        # Under another name until it is whole.
        draft = self._folder / f".{name}"
        draft.write_bytes(message.to_json())
        draft.replace(self._folder / name)
        return name

    def read(self, name: str) -> BrokerMessage:
        """Return a message.

        Raises:
            OSError or ValueError: Somebody removed or changed it.
        """
        return BrokerMessage.from_json((self._folder / name).read_bytes())

    def settle(self, name: str) -> None:
        """Forget a message."""
        (self._folder / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the messages' names, the oldest first."""
        return sorted(path.name for path in self._folder.glob("*.json") if not path.name.startswith("."))


class DeadLetters:
    """The messages that were never acknowledged, a line of JSON each, with what became of them.

    Args:
        path: The file, made with the first letter.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def bury(self, letter: Mapping[str, Any]) -> None:
        """Add a letter."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.path, json.dumps(letter).encode())


def append_line(path: Path, line: bytes) -> None:
    """Add a line to the dead letters, all of it or nothing: half a line would spoil the next one too.

    Args:
        path: The file, made if need be.
        line: Without its end.

    Raises:
        OSError: It was not added, such as to a full disk.
    """
    # Unbuffered: closing would write what is left of a line that was given up.
    with path.open("ab", buffering=0) as file:
        # Whoever takes letters out again holds the same lock.
        fcntl.flock(file, fcntl.LOCK_EX)
        size = file.seek(0, os.SEEK_END)
        rest = line + b"\n"
        try:
            while rest:
                rest = rest[file.write(rest) :]
        except OSError:
            file.truncate(size)
            raise
