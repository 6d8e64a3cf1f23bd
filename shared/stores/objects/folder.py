"""Objects as files of a folder."""

import re
from pathlib import Path

from shared.errors import ServiceError
from shared.stores.objects.writing import translated, write_whole

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
        _check(name)
        with translated("payloads"):
            write_whole(self._folder, name, [content])

    def get(self, name: str) -> bytes:
        """Return an object."""
        _check(name)
        with translated("payloads"):
            try:
                return (self._folder / name).read_bytes()
            except FileNotFoundError as error:
                raise _lost() from error

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        _check(name)
        with translated("payloads"):
            (self._folder / name).unlink(missing_ok=True)


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise _lost()


def _lost() -> ServiceError:
    return ServiceError("the payload of a result is lost", reason="PAYLOAD_LOST")
