"""Models in a bucket: read straight into memory, or into a folder in memory where TensorFlow insists on files."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from shared.bucket import Bucket, Stored
from shared.errors import ModelError

from ..manifest import FileRecord, Manifest
from .folder import FolderVersion
from .ports import VersionFiles
from .records import check_hash, check_size, is_for_tensorflow

# Linux keeps this folder in memory, on Cloud Run too.
MEMORY_FOLDER = Path("/dev/shm")  # noqa: S108 - files in it are the owner's alone


class BucketStorage:
    """The models of a bucket as they were when it was listed, which is at once; see `ModelStorage`.

    Args:
        bucket: Holds `<name>/<version>/...`.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._top: dict[str, Stored] = {}
        self._models: dict[str, dict[str, dict[str, Stored]]] = {}
        for name, stored in bucket.list().items():
            self._file(name, stored)

    def names(self) -> list[str]:
        """Return the names of what has versions, sorted."""
        return sorted(self._models)

    def versions(self, name: str) -> list[VersionFiles]:
        """Return a model's versions."""
        return [self.version(name, folder) for folder in sorted(self._models[name])]

    def version(self, name: str, folder: str) -> "BucketVersion":
        """Return the files of one version, there or not."""
        return BucketVersion(self._bucket, name, folder, self._models.get(name, {}).get(folder, {}))

    def read(self, file: str) -> bytes | None:
        """Return what a file beside the models holds; None if there is none."""
        stored = self._top.get(file)
        return None if stored is None else self._bucket.read(file, stored.generation)

    def generation(self, file: str) -> int:
        """Return the generation of a file beside the models; 0 if there is none."""
        return self._top[file].generation if file in self._top else 0

    def _file(self, name: str, stored: Stored) -> None:
        parts = name.split("/")
        # What no folder could hold, and the empty objects by which some tools mark a folder.
        if any(part in ("", ".", "..") or "\0" in part for part in parts):
            return
        if len(parts) == 1:
            self._top[name] = stored
        elif len(parts) > 2 and not parts[0].startswith(".") and parts[1].isascii() and parts[1].isdigit():
            self._models.setdefault(parts[0], {}).setdefault(parts[1], {})["/".join(parts[2:])] = stored


class BucketVersion:
    """The files of one version; see `VersionFiles`.

    Args:
        bucket: Where they lie.
        model: The model's name.
        folder: The version's folder.
        stored: What the listing says of each file.
    """

    def __init__(self, bucket: Bucket, model: str, folder: str, stored: Mapping[str, Stored]) -> None:
        self.model = model
        self.folder = folder
        self.where = f"{model}/{folder}"
        self._bucket = bucket
        self._stored = stored

    def __contains__(self, file: str) -> bool:
        return file in self._stored

    def size_bytes(self) -> int:
        """Return what all files weigh together."""
        return sum(stored.size_bytes for stored in self._stored.values())

    def read(self, file: str, record: FileRecord | None = None) -> bytes:
        """Return a file's content."""
        where = f"{self.where}/{file}"
        if file not in self._stored:
            raise ModelError(f"{where}: does not exist")
        if record:
            check_size(self._stored[file].size_bytes, record, where)
        content = self._bucket.read(where, self._stored[file].generation)
        if record:
            check_hash(hashlib.sha256(content), record, where)
        return content

    @contextmanager
    def saved_model(self, manifest: Manifest) -> Iterator[Path]:
        """Lend a copy in memory, which is gone when the block ends: TensorFlow keeps what it needs of it."""
        if not MEMORY_FOLDER.is_dir():
            raise ModelError(
                f"{self.where}: TensorFlow reads files, and there is no {MEMORY_FOLDER} to keep them in memory; "
                "serve it from a folder"
            )
        with tempfile.TemporaryDirectory(dir=MEMORY_FOLDER, prefix="nightshift-") as memory:
            copied = Path(memory) / self.model / self.folder
            try:
                self._copy(copied)
            except OSError as error:
                raise ModelError(f"{self.where}: cannot be kept in memory: {error.strerror}") from error
            with FolderVersion(copied).saved_model(manifest) as checked:
                yield checked

    def _copy(self, folder: Path) -> None:
        for file, stored in self._stored.items():
            if is_for_tensorflow(file):
                path = folder / file
                path.parent.mkdir(parents=True, exist_ok=True)
                self._bucket.save(f"{self.where}/{file}", stored.generation, path)
