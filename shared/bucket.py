"""The one door to Cloud Storage: a folder of a bucket, its failures told apart.

An object may be read by the generation that was listed, so that one which was replaced meanwhile is an error and never
a mixture. Source: https://cloud.google.com/storage/docs/request-preconditions.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, PreconditionFailed, Unauthorized
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import storage  # type: ignore[attr-defined]
from google.cloud.storage.exceptions import DataCorruption  # type: ignore[import-untyped]
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]

from shared.errors import ConfigurationError, ConflictError, ServiceError, UnavailableError
from shared.lazy import Once
from shared.log import log_event

# The bucket's name, then the prefix; https://cloud.google.com/storage/docs/buckets#naming
BUCKET_URL = r"gs://([a-z0-9][a-z0-9._-]{1,220}[a-z0-9])(?:/(.*?))?/?"
# Of one attempt, to connect and between two pieces of an answer; and of all attempts together.
TIMEOUT_SECONDS, DEADLINE_SECONDS = 10.0, 30.0

# The reason of the failure of an object that is not there.
NOT_THERE = "OBJECT_NOT_FOUND"


class Stored(NamedTuple):
    """What a listing says of one object."""

    size_bytes: int
    generation: int


class Bucket:
    """The objects below one prefix, by their names relative to it.

    Args:
        url: `gs://bucket` or `gs://bucket/prefix`.
        failure: What is raised for an object that is missing, changed, or not ours to read or write.
        holds: What the bucket holds, as messages name it.
        deadline_seconds: After this long a call that fails is not tried again.

    Raises:
        ConfigurationError: The URL is not of this form.
    """

    def __init__(
        self,
        url: str,
        failure: type[ServiceError] = ServiceError,
        holds: str = "the",
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> None:
        found = re.fullmatch(BUCKET_URL, url)
        if not found:
            raise ConfigurationError([f"expected gs://bucket/prefix, got {url!r}"])
        self.url = url.rstrip("/")
        self._failure = failure
        self._patience = {
            "timeout": min(TIMEOUT_SECONDS, deadline_seconds),
            "retry": DEFAULT_RETRY.with_timeout(deadline_seconds),
        }
        self._holds = holds
        self._name = found[1]
        self._prefix = f"{found[2]}/" if found[2] else ""
        # Not sooner than needed: a client looks for credentials.
        self._bucket = Once(lambda: storage.Client(project=None).bucket(self._name))

    def close(self) -> None:
        """Close its connections; it is not used afterwards."""
        self._bucket().client.close()

    def list(self, beginning: str = "") -> dict[str, Stored]:
        """Return every object below the prefix whose name begins so."""
        with self._answers(f"{self._holds} bucket"):
            blobs = self._bucket().list_blobs(
                prefix=self._prefix + beginning,
                fields="items(name,size,generation),nextPageToken",
                **self._patience,
            )
            return {blob.name[len(self._prefix) :]: Stored(blob.size, blob.generation) for blob in blobs}

    def find(self, name: str) -> Stored:
        """Return what is known of one object."""
        with self._answers(name):
            blob = self._blob(name)
            blob.reload(**self._patience)
            return Stored(blob.size, blob.generation)

    def read(
        self, name: str, generation: int | None = None, *, start: int | None = None, end: int | None = None
    ) -> bytes:
        """Return an object's content.

        Args:
            generation: What it must still be; None: whichever it is.
            start: The offset of the first byte that is wanted; None: that of the first there is.
            end: The offset after the last byte that is wanted, above `start`; None: the object's end.
        """
        with self._answers(name):
            content: bytes = self._blob(name).download_as_bytes(
                start=start,
                end=None if end is None else end - 1,
                if_generation_match=generation,
                **self._patience,
            )
        return content

    def save(self, name: str, generation: int, path: Path) -> None:
        """Write an object's content to a file, piece by piece."""
        with self._answers(name):
            self._blob(name).download_to_filename(
                str(path),
                if_generation_match=generation,
                **self._patience,
            )

    def create(self, name: str, path: Path) -> None:
        """Make an object of a file's content.

        Raises:
            ConflictError: There is one of this name.
        """
        with self._answers(name, exists="exists already"):
            self._blob(name).upload_from_filename(
                str(path),
                if_generation_match=0,
                **self._patience,
            )

    def write(self, name: str, content: bytes, generation: int) -> None:
        """Give an object new content, or make it.

        Args:
            generation: What it must still be; 0: there must be none.

        Raises:
            ConflictError: It was changed meanwhile.
        """
        with self._answers(name, exists="was changed meanwhile"):
            self._blob(name).upload_from_string(
                content,
                if_generation_match=generation,
                **self._patience,
            )

    def replace(self, name: str, content: Iterable[bytes], piece_bytes: int) -> None:
        """Give an object new content, or make it, in one upload: a reader sees the old content or the new.

        Args:
            content: In pieces of any size; what it raises ends the upload, and nothing was changed.
            piece_bytes: How much is sent at a time, a multiple of 256 KiB.
        """
        with self._answers(name):
            blob = self._blob(name)
            blob.chunk_size = piece_bytes
            blob.upload_from_file(_Joined(content), content_type="application/octet-stream", **self._patience)

    def delete(self, name: str) -> None:
        """Remove an object."""
        with self._answers(name):
            self._blob(name).delete(**self._patience)

    def _blob(self, name: str) -> storage.Blob:
        return self._bucket().blob(self._prefix + name)

    @contextmanager
    def _answers(self, what: str, exists: str = "") -> Iterator[None]:
        """Translate the library's errors; the bucket's own name goes to the log alone.

        Raises:
            `failure`: It is missing, changed, or not ours to read or write.
            UnavailableError: Cloud Storage, or whoever gives out credentials, did not answer in time.
            ConflictError: `exists`, and it does.
        """
        try:
            yield
        except PreconditionFailed as error:
            if exists:
                raise ConflictError(f"{what}: {exists}") from error
            raise self._failure(f"{what}: was changed after it was listed") from error
        except NotFound as error:
            raise self._failure(f"{what}: does not exist", reason=NOT_THERE) from error
        except (GoogleAPIError, GoogleAuthError, DataCorruption, requests.RequestException) as error:
            log_event("ERROR", f"{self.url}: {what}: {type(error).__name__}: {error}"[:1000])
            if isinstance(error, Forbidden | Unauthorized | GoogleAuthError) and not _may_pass(error):
                raise self._failure(f"{what}: Cloud Storage allows no access to it with these credentials") from error
            raise UnavailableError(f"{what}: Cloud Storage did not answer", reason="STORAGE_UNAVAILABLE") from error


class _Joined:
    """Pieces as a file that an upload reads; it goes only forward."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = bytearray()
        self._at = 0

    def read(self, size: int) -> bytes:
        """Return so many bytes; fewer at the end alone."""
        while len(self._held) < size and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        content = bytes(self._held[:size])
        del self._held[:size]
        self._at += len(content)
        return content

    def tell(self) -> int:
        """Return how many bytes were read."""
        return self._at


def _may_pass(error: Exception) -> bool:
    """Tell whether whoever gives out credentials was only out of reach."""
    return isinstance(error, TransportError) or getattr(error, "retryable", False)
