"""Objects in a Cloud Storage bucket, where an upload is there whole or not at all."""

import contextlib

from shared.bucket import NOT_THERE, Bucket
from shared.errors import ConflictError, ServiceError

# A caller waits for it, and for the database besides.
_DEADLINE_SECONDS = 8.0


class BucketObjects:
    """The objects below one prefix; see `shared.ports.ObjectStore`.

    Args:
        url: `gs://bucket/prefix`.
    """

    def __init__(self, url: str) -> None:
        self._bucket = Bucket(url, holds="the payloads'", deadline_seconds=_DEADLINE_SECONDS)

    def put(self, name: str, content: bytes) -> None:
        """Keep an object."""
        # The name was never used: what is there already is this very object, and its answer was lost.
        with contextlib.suppress(ConflictError):
            self._bucket.write(name, content, 0)

    def get(self, name: str) -> bytes:
        """Return an object."""
        try:
            return self._bucket.read(name)
        except ServiceError as error:
            if error.reason == NOT_THERE:
                raise ServiceError("the payload of a result is lost", reason="PAYLOAD_LOST") from error
            raise

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        try:
            self._bucket.delete(name)
        except ServiceError as error:
            if error.reason != NOT_THERE:
                raise
