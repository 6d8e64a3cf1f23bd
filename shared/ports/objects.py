"""Objects and files: what is too large for a row, and what comes and goes as files."""

from collections.abc import Iterable
from typing import IO, Protocol


class ObjectStore(Protocol):
    """Keeps what is too large for a row: objects that are there whole or not at all, and never change."""

    def put(self, name: str, content: bytes) -> None:
        """Keep an object under a name that was never used; when this returns, it outlives a crash.

        Raises:
            UnavailableError: It could not be kept now.
        """
        ...

    def get(self, name: str) -> bytes:
        """Return an object.

        Raises:
            ServiceError: reason PAYLOAD_LOST; there is none of this name.
            UnavailableError: It could not be read now.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object, if it is there.

        Raises:
            UnavailableError: It could not be removed now.
        """
        ...


class Files(Protocol):
    """Files under one place, by names such as `exports/results/2026-11-21.parquet`: read and written as streams.

    Every method raises `InvalidRequestError` with the reason INVALID_NAME for a name, or a prefix, that leads out of
    the place or that no file can have.
    """

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so, sorted.

        Raises:
            UnavailableError: They could not be listed now.
        """
        ...

    def open(self, name: str) -> IO[bytes]:
        """Open a file to be read in order; the caller closes it.

        Raises:
            NotFoundError: reason FILE_NOT_FOUND; there is none of this name.
            UnavailableError: It could not be read now; reading on raises it too.
        """
        ...

    def write(self, name: str, content: Iterable[bytes]) -> None:
        """Write a file in place of any that has the name; it is there whole or not at all.

        What `content` raises comes through, and nothing was written.

        Raises:
            UnavailableError: It could not be kept now.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            UnavailableError: It could not be removed now.
        """
        ...
