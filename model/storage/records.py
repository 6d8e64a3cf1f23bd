"""Holds files to what model.json recorded when the version was made."""

import hashlib

from shared.errors import ModelError

from ..manifest import FileRecord

# Where TensorFlow's loaders look; anything else that lies in a version's folder is never read.
_READ_BY_TENSORFLOW = ("saved_model.", "variables/", "assets/")


def is_for_tensorflow(file: str) -> bool:
    """Tell whether TensorFlow's loaders would read a file, or look into a folder of this name."""
    return f"{file}/".startswith(_READ_BY_TENSORFLOW)


def check_size(size_bytes: int, record: FileRecord, where: str) -> None:
    """Refuse a file of another size than recorded.

    Raises:
        ModelError: Says both sizes.
    """
    if size_bytes != record.size_bytes:
        raise ModelError(f"{where}: is {size_bytes} bytes, model.json says {record.size_bytes}")


def check_hash(digest: "hashlib._Hash", record: FileRecord, where: str) -> None:
    """Refuse content other than recorded.

    Args:
        digest: The sha256 of the content.

    Raises:
        ModelError: It differs.
    """
    if digest.hexdigest() != record.sha256:
        raise ModelError(f"{where}: sha256 does not match model.json")
