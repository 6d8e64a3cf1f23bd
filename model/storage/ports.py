"""What a place where models lie must do, be it a folder or a bucket."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from ..manifest import FileRecord, Manifest

BUCKET_SCHEME = "gs://"


class VersionFiles(Protocol):
    """The files of one version, each named by its path relative to the version's folder.

    Attributes:
        model: The model's name.
        folder: The version's folder as it is named, such as 1 or 0001.
        where: How messages name it: `<model>/<folder>`.
    """

    model: str
    folder: str
    where: str

    def __contains__(self, file: str) -> bool:
        """Tell whether there is such a file."""
        ...

    def size_bytes(self) -> int:
        """Return what all files weigh together.

        Raises:
            ModelError: They cannot be listed.
        """
        ...

    def read(self, file: str, record: FileRecord | None = None) -> bytes:
        """Return a file's content.

        Args:
            record: What the file must be; None where nothing was recorded, as of a bare SavedModel.

        Raises:
            ModelError: The file is missing, outside the models, or of another size or content.
            UnavailableError: Where it lies did not answer.
        """
        ...

    def saved_model(self, manifest: Manifest) -> AbstractContextManager[Path]:
        """Lend a folder with the files that TensorFlow reads, each checked to be what the manifest recorded.

        Raises:
            ModelError: A file is missing, unknown, outside the models, or of another size or content.
            UnavailableError: Where they lie did not answer.
        """
        ...


class ModelStorage(Protocol):
    """All models of one place."""

    def names(self) -> list[str]:
        """Return the names of what may be models, sorted.

        Raises:
            ModelError: The place cannot be listed.
            UnavailableError: It did not answer.
        """
        ...

    def versions(self, name: str) -> list[VersionFiles]:
        """Return a model's versions, ordered by the names of their folders, which are digits alone.

        Raises:
            ModelError: The model's folder cannot be listed.
        """
        ...

    def version(self, name: str, folder: str) -> VersionFiles:
        """Return the files of one version, there or not."""
        ...

    def read(self, file: str) -> bytes | None:
        """Return what a file beside the models holds; None if there is none.

        Raises:
            ConfigurationError: It cannot be read, or leads out of the place.
            UnavailableError: The place did not answer.
        """
        ...
