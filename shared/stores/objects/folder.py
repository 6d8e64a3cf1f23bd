"""Objects as files of a folder: written beside, synced to the disk, then named."""

import errno
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ServiceError, UnavailableError

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Words between slashes, none of which leads up; a row that somebody altered must not lead out of the folder.
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class FolderObjects:
    """The objects of one folder; see `shared.ports.ObjectStore`.

    Args:
        folder: Made when the first object is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, name: str, content: bytes) -> None:
        """Keep an object."""
        path = self._path(name)
        with _translated():
            # A file outlives a crash once every name on its path does, so folders that are made here count too.
            last = next(parent for parent in self._folder.parents if parent.exists())
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".incoming-")  # readable by its owner alone
            named = Path(draft)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                named = named.rename(path)
                _sync_folders(path.parent, last)
            except BaseException:
                named.unlink(missing_ok=True)
                raise

    def get(self, name: str) -> bytes:
        """Return an object."""
        path = self._path(name)
        with _translated():
            try:
                return path.read_bytes()
            except FileNotFoundError as error:
                raise _lost() from error

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        with _translated():
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise _lost()
        return self._folder / name


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


def _lost() -> ServiceError:
    return ServiceError("the payload of a result is lost", reason="PAYLOAD_LOST")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise UnavailableError(
                "there is no room left for payloads", reason="STORE_FULL", retry_after_seconds=60
            ) from error
        raise UnavailableError("payloads cannot be reached", reason="STORAGE_UNAVAILABLE") from error
