"""Holds a version's files to what model.json recorded when the version was made."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from shared.errors import ModelError

from .manifest import FileRecord, Manifest

# Where TensorFlow's loaders look; anything else that lies in a version's folder is never read.
_READ_BY_TENSORFLOW = ("saved_model.", "variables/", "assets/")


def checked_content(folder: Path, file: str, record: FileRecord | None) -> bytes:
    """Return a file's content, which must be what the manifest recorded.

    Args:
        folder: The version's: `<models folder>/<name>/<version>`.
        file: Relative to the folder.
        record: What the file was; None where nothing was recorded, as of a bare SavedModel.

    Raises:
        ModelError: The file is missing, outside the models folder, or of another size or content.
    """
    where, path = f"{folder.parent.name}/{folder.name}/{file}", folder / file
    _check_inside(path, folder, where)
    try:
        with path.open("rb") as stream:
            if record:
                _check_size(os.fstat(stream.fileno()).st_size, record, where)
            content = stream.read()
    except OSError as error:
        raise ModelError(f"{where}: cannot be read: {error.strerror}") from error
    if record:
        _check_hash(hashlib.sha256(content).hexdigest(), record, where)
    return content


def check_saved_model(folder: Path, manifest: Manifest) -> None:
    """Check every file that TensorFlow would read, without keeping any in memory.

    Args:
        folder: The version's.
        manifest: What its files were; one without records (a bare SavedModel) allows any file inside.

    Raises:
        ModelError: A file is missing, unknown, outside the models folder, or of another size or content.
    """
    version = f"{folder.parent.name}/{folder.name}"
    present = dict(_files_for_tensorflow(folder))
    for file, path in present.items():
        _check_inside(path, folder, f"{version}/{file}")
        if manifest.files and file not in manifest.files:
            raise ModelError(f"{version}/{file}: is not one of the files that model.json lists")
    for file, record in manifest.files.items():
        if not file.startswith(_READ_BY_TENSORFLOW):
            continue
        where = f"{version}/{file}"
        try:
            with (folder / file).open("rb") as stream:
                _check_size(os.fstat(stream.fileno()).st_size, record, where)
                _check_hash(hashlib.file_digest(stream, "sha256").hexdigest(), record, where)
        except OSError as error:
            raise ModelError(f"{where}: cannot be read: {error.strerror}") from error


def _files_for_tensorflow(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield files, and links to folders, by their path relative to the version."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if (Path(parent) / name).is_symlink()]
        for path in (Path(parent) / name for name in (*links, *files)):
            file = path.relative_to(folder).as_posix()
            if f"{file}/".startswith(_READ_BY_TENSORFLOW):
                yield file, path


def _check_inside(path: Path, folder: Path, where: str) -> None:
    if not path.resolve().is_relative_to(folder.parent.parent.resolve()):
        raise ModelError(f"{where}: leads out of the models folder")


def _check_size(size_bytes: int, record: FileRecord, where: str) -> None:
    if size_bytes != record.size_bytes:
        raise ModelError(f"{where}: is {size_bytes} bytes, model.json says {record.size_bytes}")


def _check_hash(sha256: str, record: FileRecord, where: str) -> None:
    if sha256 != record.sha256:
        raise ModelError(f"{where}: sha256 does not match model.json")
