"""Files in a folder."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from shared.errors import InvalidRequestError
from shared.stores.objects.file_names import check_name, check_prefix, is_file_name, no_such_file
from shared.stores.objects.writing import translated, write_whole


class FolderFiles:
    """The files below one folder; see `shared.ports.Files`.

    Args:
        folder: Made when the first file is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so, sorted."""
        start = self._folder / check_prefix(prefix).rpartition("/")[0]
        found = []
        with translated("files"):
            for folder, _, names in os.walk(start, onerror=_raised):
                place = Path(folder).relative_to(self._folder)
                found += [(place / name).as_posix() for name in names]
        return sorted(name for name in found if name.startswith(prefix) and is_file_name(name))

    def open(self, name: str) -> IO[bytes]:
        """Open a file to be read in order."""
        path = self._folder / check_name(name)
        with translated("files"):
            try:
                return path.open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
                raise no_such_file(name) from error

    def write(self, name: str, content: Iterable[bytes]) -> None:
        """Write a file in place of any that has the name."""
        path = self._folder / check_name(name)
        with translated("files"):
            # What a bucket can have, a folder cannot: a file a/b beside a file a.
            above = path.relative_to(self._folder).parents
            if path.is_dir() or any((self._folder / parent).is_file() for parent in list(above)[:-1]):
                raise InvalidRequestError(
                    f"{name[:80]!a}: a folder of this name, or a file of a folder's, is in the way",
                    reason="INVALID_NAME",
                )
            write_whole(self._folder, name, content)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        path = self._folder / check_name(name)
        with translated("files"):
            if path.is_file():
                path.unlink(missing_ok=True)


def _raised(error: OSError) -> None:
    # A folder that is not there, or is gone by now, holds nothing.
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
