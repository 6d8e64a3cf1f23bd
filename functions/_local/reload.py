"""Restarts just the functions whose code changed."""

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from functions._staging.stage import needed_files
from shared.config import ROOT
from shared.errors import ConfigurationError

_POLL_SECONDS = 0.5


class Reloader:
    """Looks at the files of each function twice a second and reports the functions whose files changed.

    Args:
        functions: Which to watch.
        on_change: Called with a function's name and the file that changed, from the watching thread.
    """

    def __init__(self, functions: Iterable[str], on_change: Callable[[str, Path], None]) -> None:
        self._functions = list(functions)
        self._on_change = on_change
        self._seen: dict[str, dict[Path, int | None]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="reload", daemon=True)

    def start(self) -> None:
        """Begin to watch; what changes from now on is noticed."""
        self._seen = {function: _stamps(function) for function in self._functions}
        self._thread.start()

    def stop(self) -> None:
        """Stop, once a restart that is under way is done."""
        self._stopping.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopping.wait(_POLL_SECONDS):
            for function, before in self._seen.items():
                changed = sorted(path for path, stamp in before.items() if _stamp(path) != stamp)
                # A file caught half written does not parse; its function's turn comes with the next look.
                now = _stamps(function) if changed else {}
                if now:
                    self._seen[function] = now
                    self._on_change(function, changed[0].relative_to(ROOT))


def _stamps(function: str) -> dict[Path, int | None]:
    """Return when each file of a function changed last; nothing if they cannot be told at the moment."""
    try:
        return {path: _stamp(path) for path in needed_files(function)}
    except (OSError, SyntaxError, ConfigurationError):
        return {}


def _stamp(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None
