"""Where payloads lie that are too large for a row: a folder, or a Cloud Storage bucket."""

from pathlib import Path

from shared.errors import ConfigurationError
from shared.ports import ObjectStore


def open_objects(url: str) -> ObjectStore:
    """Return the object store that a URL names; nothing is asked of it yet.

    Args:
        url: `file:///path` or `gs://bucket/prefix`.

    Raises:
        ConfigurationError: It names none, or the package that it needs is not installed.
    """
    if url.startswith("file:///"):
        from shared.stores.objects.folder import FolderObjects

        return FolderObjects(Path(url.removeprefix("file://")))
    if url.startswith("gs://"):
        try:
            from shared.stores.objects.bucket import BucketObjects
        except ImportError as error:
            raise ConfigurationError(["OBJECTS_URL: gs:// needs the package google-cloud-storage"]) from error
        return BucketObjects(url)
    raise ConfigurationError([f"OBJECTS_URL: expected file:///path or gs://bucket/prefix, got {url!r}"])
