"""STATE_DIR/logs: what each function logged, for whoever asks afterwards."""

import threading
from pathlib import Path
from typing import BinaryIO

MAX_BYTES = 10_000_000


class LogFiles:
    """Keeps each function's JSON log lines in a file of its own, and the file before that.

    Args:
        folder: Holds <function>.jsonl and, once that was full, <function>.jsonl.1.
        max_bytes: When a file is full.
    """

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._files: dict[str, BinaryIO] = {}
        self._lock = threading.Lock()

    def write(self, function: str, line: str) -> None:
        """Keep a line, if it is an event of ours; a file may pass its limit by one line."""
        if not (line.startswith("{") and line.endswith("}")):
            return
        with self._lock:
            file = self._files.get(function) or self._open(function)
            file.write(line.encode("utf-8", "backslashreplace") + b"\n")
            if file.tell() >= self._max_bytes:
                self._files.pop(function).close()
                path = self._path(function)
                path.replace(path.with_name(f"{path.name}.1"))

    def close(self) -> None:
        """Be done; a line that comes afterwards opens its file anew."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def _open(self, function: str) -> BinaryIO:
        self._folder.mkdir(parents=True, exist_ok=True)
        # Unbuffered: a line can be read as soon as it is printed, and is whole.
        self._files[function] = self._path(function).open("ab", buffering=0)
        return self._files[function]

    def _path(self, function: str) -> Path:
        return self._folder / f"{function}.jsonl"
