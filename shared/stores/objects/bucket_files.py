"""Files in a Cloud Storage bucket, where an upload is there whole or not at all."""

import io
from collections.abc import Iterable
from typing import IO, cast

from shared.bucket import NOT_THERE, Bucket, Stored
from shared.errors import ServiceError
from shared.stores.objects.file_names import check_name, check_prefix, is_file_name, no_such_file

# Of a file is in memory at a time, read or written.
_PIECE_BYTES = 4 * 1024 * 1024


class BucketFiles:
    """The files below one prefix; see `shared.ports.Files`.

    Args:
        url: `gs://bucket/prefix`.
    """

    def __init__(self, url: str) -> None:
        self._bucket = Bucket(url, holds="the files'")

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so, sorted."""
        return sorted(filter(is_file_name, self._bucket.list(check_prefix(prefix))))

    def open(self, name: str) -> IO[bytes]:
        """Open a file to be read in order, as it is now: one that is replaced meanwhile is an error."""
        try:
            stored = self._bucket.find(check_name(name))
        except ServiceError as error:
            if error.reason == NOT_THERE:
                raise no_such_file(name) from error
            raise
        return cast("IO[bytes]", io.BufferedReader(_Ranges(self._bucket, name, stored), _PIECE_BYTES))

    def write(self, name: str, content: Iterable[bytes]) -> None:
        """Write a file in place of any that has the name."""
        self._bucket.replace(check_name(name), content, _PIECE_BYTES)

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        try:
            self._bucket.delete(check_name(name))
        except ServiceError as error:
            if error.reason != NOT_THERE:
                raise


class _Ranges(io.RawIOBase):
    """An object, read range by range."""

    def __init__(self, bucket: Bucket, name: str, stored: Stored) -> None:
        self._bucket = bucket
        self._name = name
        self._stored = stored
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        end = min(self._at + len(buffer), self._stored.size_bytes)
        if end == self._at:
            return 0
        content = self._bucket.read(self._name, self._stored.generation, start=self._at, end=end)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
