"""Where models lie: a folder here, a Cloud Storage bucket there, both in TensorFlow Serving's layout."""

from pathlib import Path

from shared.errors import ConfigurationError, ModelError

from .ports import BUCKET_SCHEME, ModelStorage


def open_storage(place: Path | str) -> ModelStorage:
    """Return the storage for a folder, or for `gs://bucket/prefix`, which is listed now.

    Raises:
        ConfigurationError: The package that it needs is not installed.
        ModelError: The bucket cannot be listed.
        UnavailableError: Cloud Storage did not answer.
    """
    if not str(place).startswith(BUCKET_SCHEME):
        from .folder import FolderStorage

        return FolderStorage(Path(place))
    try:
        from shared.bucket import Bucket  # not sooner: most models lie in a folder, and it is a large package
    except ImportError as error:
        raise ConfigurationError([f"{BUCKET_SCHEME} needs the package google-cloud-storage"]) from error
    from .bucket_storage import BucketStorage

    return BucketStorage(Bucket(str(place), ModelError, "the models'"))
