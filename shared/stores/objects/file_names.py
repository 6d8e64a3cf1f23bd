"""Which names files may have: those that a folder and a bucket can both hold, and that lead nowhere else."""

import re

from shared.errors import InvalidRequestError, NotFoundError
from shared.stores.packing import PAYLOADS_FOLDER

# A bucket takes no longer ones, a file system no longer words; both count bytes of UTF-8.
# https://cloud.google.com/storage/docs/objects#naming
_MAX_BYTES, _MAX_WORD_BYTES = 1024, 255
# Control characters, backslashes, and halves of surrogate pairs, which are no text.
_REFUSED = re.compile(r"[\x00-\x1f\x7f-\x9f\\\ud800-\udfff]")


def is_file_name(name: str) -> bool:
    """Tell whether a file may have this name.

    It is words between slashes, none empty and none that begins with a dot: `..` leads up, and what is hidden is a
    file that is being written. What is below payloads/ are results' payloads and no files.
    """
    words = name.split("/")
    return (
        not _REFUSED.search(name)
        and len(name.encode()) <= _MAX_BYTES
        and all(word and not word.startswith(".") and len(word.encode()) <= _MAX_WORD_BYTES for word in words)
        and words[0] != PAYLOADS_FOLDER
    )


def check_name(name: str) -> str:
    """Return a name that a file may have.

    Raises:
        InvalidRequestError: reason INVALID_NAME.
    """
    if not is_file_name(name):
        raise InvalidRequestError(
            f"expected a file's name such as exports/day.jsonl: words between slashes, none of which begins with a "
            f"dot, not below {PAYLOADS_FOLDER}/; got {name[:80]!a}",
            reason="INVALID_NAME",
        )
    return name


def check_prefix(prefix: str) -> str:
    """Return what a file's name may begin with; raises as `check_name` does."""
    if prefix:
        check_name(prefix + "x" if prefix.endswith("/") else prefix)
    return prefix


def no_such_file(name: str) -> NotFoundError:
    """Return the error for a file that is not there."""
    return NotFoundError(f"there is no file {name[:80]!a}", reason="FILE_NOT_FOUND")
