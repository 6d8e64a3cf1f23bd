"""Where payloads lie that are too large for a row, and files: a folder, or a Cloud Storage bucket."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConfigurationError
from shared.ports import Files, ObjectStore


def open_objects(url: str) -> ObjectStore:
    """Return the object store that a URL names; nothing is asked of it yet.

    Args:
        url: `file:///path` or `gs://bucket/prefix`.

    Raises:
        ConfigurationError: It names none, or the package that it needs is not installed.
    """
    if url.startswith("file:///"):
        from shared.stores.objects.folder import FolderObjects

        return FolderObjects(_folder(url))
    with _naming_the_package(url):
        from shared.stores.objects.bucket import BucketObjects
    return BucketObjects(url)


def open_files(url: str) -> Files:
    """Return the files at a URL, beside the objects; arguments and errors are those of `open_objects`."""
    if url.startswith("file:///"):
        from shared.stores.objects.folder_files import FolderFiles

        return FolderFiles(_folder(url))
    with _naming_the_package(url):
        from shared.stores.objects.bucket_files import BucketFiles
    return BucketFiles(url)


def _folder(url: str) -> Path:
    return Path(url.removeprefix("file://"))


@contextmanager
def _naming_the_package(url: str) -> Iterator[None]:
    if not url.startswith("gs://"):
        raise ConfigurationError([f"OBJECTS_URL: expected file:///path or gs://bucket/prefix, got {url!r}"])
    try:
        yield
    except ImportError as error:
        raise ConfigurationError(["OBJECTS_URL: gs:// needs the package google-cloud-storage"]) from error
