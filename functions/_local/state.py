"""The folder that holds everything a local stack writes: one stack at a time, and forgotten on request."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from shared.errors import ConfigurationError

_LOCK = ".lock"
_WRITTEN = ("nightshift.db*", "page_token_key*", "dead_letters.jsonl*", "pending", "logs", "objects")


@contextmanager
def held(state_dir: Path, *, fresh: bool) -> Iterator[None]:
    """Keep a state folder for this process alone while the block runs.

    Args:
        state_dir: The folder, made if need be.
        fresh: Remove what earlier runs wrote; nothing else that may lie in the folder.

    Raises:
        ConfigurationError: Another stack holds it, or it cannot be written.
    """
    with ExitStack() as cleanup:
        try:
            state_dir.mkdir(parents=True, exist_ok=True)
            lock = cleanup.enter_context((state_dir / _LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if fresh:
                _forget(state_dir)
        except BlockingIOError:
            raise ConfigurationError(
                [f"another stack runs on the state in {state_dir}: end it, or choose another folder with --state-dir"]
            ) from None
        except OSError as error:
            raise ConfigurationError([f"expected a folder that can be written, for --state-dir: {error}"]) from error
        yield


def _forget(state_dir: Path) -> None:
    for path in [path for pattern in _WRITTEN for path in state_dir.glob(pattern)]:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
