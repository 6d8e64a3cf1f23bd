"""Models in a folder of this machine; nothing that a symlink leads to outside of it is read."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import ConfigurationError, ModelError

from ..manifest import FileRecord, Manifest
from .ports import VersionFiles
from .records import check_hash, check_size, is_for_tensorflow


class FolderStorage:
    """The models of a folder; see `ModelStorage`.

    Args:
        models_dir: Holds `<name>/<version>/`.
    """

    def __init__(self, models_dir: Path) -> None:
        self._root = models_dir.resolve()

    def names(self) -> list[str]:
        """Return the names of all folders that are not hidden."""
        try:
            return sorted(folder.name for folder in _folders_inside(self._root, self._root))
        except OSError as error:
            raise ModelError(f"the models folder cannot be listed: {error.strerror}") from error

    def versions(self, name: str) -> list[VersionFiles]:
        """Return a model's versions."""
        try:
            folders = sorted(_folders_inside(self._root / name, self._root))
        except OSError as error:
            raise ModelError(f"{name}: cannot be listed: {error.strerror}") from error
        return [FolderVersion(path) for path in folders if path.name.isascii() and path.name.isdigit()]

    def version(self, name: str, folder: str) -> VersionFiles:
        """Return the files of one version, there or not."""
        return FolderVersion(self._root / name / folder)

    def read(self, file: str) -> bytes | None:
        """Return what a file beside the models holds; None if there is none."""
        path = self._root / file
        if not _is_inside(path, self._root):
            raise ConfigurationError([f"{file}: leads out of the models folder"])
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigurationError([f"{file}: cannot be read: {error.strerror}"]) from error


class FolderVersion:
    """The files of one version; see `VersionFiles`.

    Args:
        path: `<models folder>/<name>/<version>`.
    """

    def __init__(self, path: Path) -> None:
        self.model = path.parent.name
        self.folder = path.name
        self.where = f"{self.model}/{self.folder}"
        self._path = path
        self._root = path.parent.parent.resolve()

    def __contains__(self, file: str) -> bool:
        return (self._path / file).exists()

    def size_bytes(self) -> int:
        """Return what all files weigh together."""
        try:
            return sum(path.stat().st_size for path in self._path.rglob("*") if path.is_file())
        except OSError as error:
            raise ModelError(f"{self.where}: cannot be listed: {error.strerror}") from error

    def read(self, file: str, record: FileRecord | None = None) -> bytes:
        """Return a file's content."""
        where = f"{self.where}/{file}"
        self._check_inside(self._path / file, where)
        try:
            with (self._path / file).open("rb") as stream:
                if record:
                    check_size(os.fstat(stream.fileno()).st_size, record, where)
                content = stream.read()
        except OSError as error:
            raise ModelError(f"{where}: cannot be read: {error.strerror}") from error
        if record:
            check_hash(hashlib.sha256(content), record, where)
        return content

    @contextmanager
    def saved_model(self, manifest: Manifest) -> Iterator[Path]:
        """Lend the version's own folder, after every file that TensorFlow would read was checked where it lies."""
        for file, path in self._for_tensorflow():
            self._check_inside(path, f"{self.where}/{file}")
            if manifest.files and file not in manifest.files:
                raise ModelError(f"{self.where}/{file}: is not one of the files that model.json lists")
        for file, record in manifest.files.items():
            if is_for_tensorflow(file):
                self._check(file, record)
        yield self._path

    def _check(self, file: str, record: FileRecord) -> None:
        """Check a file without keeping it in memory."""
        where = f"{self.where}/{file}"
        try:
            with (self._path / file).open("rb") as stream:
                check_size(os.fstat(stream.fileno()).st_size, record, where)
                check_hash(hashlib.file_digest(stream, "sha256"), record, where)
        except OSError as error:
            raise ModelError(f"{where}: cannot be read: {error.strerror}") from error

    def _for_tensorflow(self) -> Iterator[tuple[str, Path]]:
        """Yield files, and links to folders, by their path relative to the version."""
        for parent, folders, files in os.walk(self._path):
            links = [name for name in folders if (Path(parent) / name).is_symlink()]
            for path in (Path(parent) / name for name in (*links, *files)):
                file = path.relative_to(self._path).as_posix()
                if is_for_tensorflow(file):
                    yield file, path

    def _check_inside(self, path: Path, where: str) -> None:
        if not _is_inside(path, self._root):
            raise ModelError(f"{where}: leads out of the models folder")


def _folders_inside(parent: Path, root: Path) -> Iterator[Path]:
    """Yield the folders in `parent` that are not hidden and really lie inside `root`."""
    for entry in parent.iterdir():
        if not entry.name.startswith(".") and entry.is_dir() and _is_inside(entry, root):
            yield entry


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)
