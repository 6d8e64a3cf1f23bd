"""Files that are there whole or not at all: written beside, synced to the disk, then named."""

import errno
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import UnavailableError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_whole(folder: Path, name: str, content: Iterable[bytes]) -> None:
    """Write a file in place of any that has the name; when this returns, it outlives a crash.

    Args:
        folder: Made if it is not there.
        name: Relative to the folder.
        content: In pieces; what it raises leaves nothing behind.
    """
    path = folder / name
    # A file outlives a crash once every name on its path does, so folders that are made here count too.
    last = next(parent for parent in folder.parents if parent.exists())
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".incoming-")  # readable by its owner alone
    named = Path(draft)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.writelines(content)
            file.flush()
            os.fsync(file.fileno())
        named = named.rename(path)
        _sync_folders(path.parent, last)
    except BaseException:
        named.unlink(missing_ok=True)
        raise


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn errors of the file system into ours; `what` names in messages what lies there.

    Raises:
        UnavailableError: reason STORE_FULL or STORAGE_UNAVAILABLE.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise UnavailableError(
                f"there is no room left for {what}", reason="STORE_FULL", retry_after_seconds=60
            ) from error
        raise UnavailableError(f"{what} cannot be reached", reason="STORAGE_UNAVAILABLE") from error


def _sync_folders(folder: Path, last: Path) -> None:
    """Write the names in folders to the disk, from the innermost one to `last`."""
    for each in (folder, *folder.parents):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if each == last:
            return
