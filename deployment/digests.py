"""What a release is made of, as digests: the same files and settings give the same ones on every machine."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

# Of a label's 63 characters; 80 bits do not collide by accident.
_CHARS = 20


def folder_digest(folder: Path, *, also: str = "") -> str:
    """Return the digest of a folder's files: names and contents, in the order of the names; never their times.

    Args:
        folder: Such as a staged function.
        also: What else decides how it is built, such as the Python it runs on.
    """
    whole = hashlib.sha256(also.encode())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        whole.update(
            f"{path.relative_to(folder).as_posix()}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode()
        )
    return whole.hexdigest()[:_CHARS]


def settings_digest(settings: Mapping[str, str]) -> str:
    """Return the digest of a service's settings."""
    return hashlib.sha256(json.dumps(dict(settings), sort_keys=True).encode()).hexdigest()[:_CHARS]
