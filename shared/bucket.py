"""The one door to Cloud Storage: a folder of a bucket, its failures told apart.

Objects are read by the generation that was listed, so that one which was replaced meanwhile is an error and never a
mixture. Source: https://cloud.google.com/storage/docs/request-preconditions.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import requests
from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound, PreconditionFailed, Unauthorized
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import storage  # type: ignore[import-untyped]
from google.cloud.storage.retry import DEFAULT_RETRY  # type: ignore[import-untyped]

from shared.errors import ConfigurationError, ConflictError, ModelError, UnavailableError
from shared.lazy import Once
from shared.log import log_event

from .ports import BUCKET_URL

# Of one attempt, to connect and between two pieces of an answer; and of all attempts together.
_TIMEOUT_SECONDS = 10.0
_RETRY = DEFAULT_RETRY.with_timeout(30.0)


class Stored(NamedTuple):
    """What a listing says of one object."""

    size_bytes: int
    generation: int


class Bucket:
    """The objects below one prefix, by their names relative to it.

    Args:
        url: `gs://bucket` or `gs://bucket/prefix`.

    Raises:
        ConfigurationError: The URL is not of this form.
    """

    def __init__(self, url: str) -> None:
        found = re.fullmatch(BUCKET_URL, url)
        if not found:
            raise ConfigurationError([f"expected gs://bucket/prefix, got {url!r}"])
        self.url = url.rstrip("/")
        self._name = found[1]
        self._prefix = f"{found[2]}/" if found[2] else ""
        # Not sooner than needed: a client looks for credentials.
        self._bucket = Once(lambda: storage.Client(project=None).bucket(self._name))

    def list(self) -> dict[str, Stored]:
        """Return every object below the prefix."""
        with self._answers("the models' bucket"):
            blobs = self._bucket().list_blobs(
                prefix=self._prefix,
                fields="items(name,size,generation),nextPageToken",
                timeout=_TIMEOUT_SECONDS,
                retry=_RETRY,
            )
            return {blob.name[len(self._prefix) :]: Stored(blob.size, blob.generation) for blob in blobs}

    def read(self, name: str, generation: int) -> bytes:
        """Return an object's content."""
        with self._answers(name):
            content: bytes = self._blob(name).download_as_bytes(
                if_generation_match=generation, timeout=_TIMEOUT_SECONDS, retry=_RETRY
            )
        return content

    def save(self, name: str, generation: int, path: Path) -> None:
        """Write an object's content to a file, piece by piece."""
        with self._answers(name):
            self._blob(name).download_to_filename(
                str(path), if_generation_match=generation, timeout=_TIMEOUT_SECONDS, retry=_RETRY
            )

    def create(self, name: str, path: Path) -> None:
        """Make an object of a file's content.

        Raises:
            ConflictError: There is one of this name.
        """
        with self._answers(name, exists="exists already"):
            self._blob(name).upload_from_filename(
                str(path), if_generation_match=0, timeout=_TIMEOUT_SECONDS, retry=_RETRY
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
                content, if_generation_match=generation, timeout=_TIMEOUT_SECONDS, retry=_RETRY
            )

    def delete(self, name: str) -> None:
        """Remove an object."""
        with self._answers(name):
            self._blob(name).delete(timeout=_TIMEOUT_SECONDS, retry=_RETRY)

    def _blob(self, name: str) -> storage.Blob:
        return self._bucket().blob(self._prefix + name)

    @contextmanager
    def _answers(self, what: str, exists: str = "") -> Iterator[None]:
        """Translate the library's errors; the bucket's own name goes to the log alone.

        Raises:
            ModelError: It is missing, changed, or not ours to read or write.
            UnavailableError: Cloud Storage, or whoever gives out credentials, did not answer in time.
            ConflictError: `exists`, and it does.
        """
        try:
            yield
        except PreconditionFailed as error:
            if exists:
                raise ConflictError(f"{what}: {exists}") from error
            raise ModelError(f"{what}: was changed after it was listed") from error
        except NotFound as error:
            raise ModelError(f"{what}: does not exist") from error
        except (GoogleAPIError, GoogleAuthError, requests.RequestException) as error:
            log_event("ERROR", f"{self.url}: {what}: {type(error).__name__}: {error}"[:1000])
            if isinstance(error, Forbidden | Unauthorized | GoogleAuthError) and not _may_pass(error):
                raise ModelError(f"{what}: Cloud Storage allows no access to it with these credentials") from error
            raise UnavailableError(f"{what}: Cloud Storage did not answer", reason="MODELS_UNAVAILABLE") from error


def _may_pass(error: Exception) -> bool:
    """Tell whether whoever gives out credentials was only out of reach."""
    return isinstance(error, TransportError) or getattr(error, "retryable", False)
