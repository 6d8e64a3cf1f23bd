"""Where `add` puts a version: into a folder of models, or into a bucket of them."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.errors import ConfigurationError, ConflictError, InvalidRequestError, ServiceError

from ..choices import FILE as CHOICES_FILE
from ..labelling import labelled, set_label
from ..manifest import FILE as MANIFEST_FILE
from ..registry import Registry
from ..training.version_directory import next_version, refuse_existing, staged_version

if TYPE_CHECKING:
    from shared.bucket import Bucket

# How often a label is set anew when models.yaml was changed between reading and writing it.
LABEL_ATTEMPTS = 5


class Target(Protocol):
    """Takes new versions of models."""

    def new_version(self, name: str, number: int | None) -> int:
        """Return the number of the version to make.

        Args:
            number: The one asked for; None: the next free one.

        Raises:
            ConflictError: It is taken.
            ServiceError: The target cannot take versions of this name, or cannot be reached.
        """
        ...

    def check_choices(self) -> None:
        """Find out now whether models.yaml is as it should be.

        Raises:
            ConfigurationError: It is not.
        """
        ...

    @contextmanager
    def staged(self, name: str, number: int) -> Iterator[Path]:
        """Give an empty folder to fill, and make it the version when the block ends without an error.

        Raises:
            ConflictError: The version came into being meanwhile.
        """
        ...

    def set_label(self, name: str, label: str, number: int) -> None:
        """Point a label at a version.

        Raises:
            ConfigurationError: models.yaml is not what Nightshift reads.
        """
        ...

    def place(self, name: str, number: int) -> str:
        """Return where a version is, for people."""
        ...


class FolderTarget:
    """A folder; see `Target`.

    Args:
        models_dir: Made if it is not there.
        force: Replace a version that is there.
    """

    def __init__(self, models_dir: Path, *, force: bool = False) -> None:
        self._models_dir = models_dir
        self._force = force

    def new_version(self, name: str, number: int | None) -> int:
        """Return the number of the version to make."""
        model_dir = self._models_dir / name
        number = number or next_version(model_dir)
        if not self._force:
            refuse_existing(model_dir / str(number))
        if (model_dir / "__init__.py").exists():
            raise InvalidRequestError(f"{name}: is a folder of code, not a model; choose another name")
        self._models_dir.mkdir(parents=True, exist_ok=True)
        return number

    def check_choices(self) -> None:
        """Find out now whether models.yaml is as it should be."""
        Registry.scan(self._models_dir)

    @contextmanager
    def staged(self, name: str, number: int) -> Iterator[Path]:
        """Give an empty folder to fill, and make it the version when the block ends without an error."""
        with staged_version(self._models_dir / name / str(number), force=self._force) as staged:
            yield staged

    def set_label(self, name: str, label: str, number: int) -> None:
        """Point a label at a version."""
        set_label(self._models_dir, name, label, number)

    def place(self, name: str, number: int) -> str:
        """Return where a version is."""
        return str(self._models_dir / name / str(number))


class BucketTarget:
    """A bucket; see `Target`. A version in it is never replaced.

    Args:
        bucket: Holds `<name>/<version>/...`.
    """

    def __init__(self, bucket: "Bucket") -> None:
        self._bucket = bucket

    def new_version(self, name: str, number: int | None) -> int:
        """Return the number of the version to make; what an upload that was cut short left counts as a version."""
        folders = {parts[1] for parts in (file.split("/") for file in self._bucket.list()) if parts[0] == name}
        taken = {int(folder) for folder in folders if folder.isascii() and folder.isdigit()}
        if number in taken:
            raise ConflictError(f"{name} version {number} exists already in {self._bucket.url}: name another version")
        return number or max(taken, default=0) + 1

    def check_choices(self) -> None:
        """Find out now whether models.yaml is as it should be."""
        Registry.scan(self._bucket.url)

    @contextmanager
    def staged(self, name: str, number: int) -> Iterator[Path]:
        """Give an empty folder to fill, and upload it when the block ends without an error."""
        with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
            staged = Path(folder)
            yield staged
            self._upload(staged, f"{name}/{number}")

    def set_label(self, name: str, label: str, number: int) -> None:
        """Point a label at a version; a label that somebody else sets at the same time is kept."""
        for attempt in range(LABEL_ATTEMPTS):
            stored = self._bucket.list().get(CHOICES_FILE)
            content = self._bucket.read(CHOICES_FILE, stored.generation) if stored else b""
            changed = labelled(_text(content), name, label, number).encode()
            try:
                self._bucket.write(CHOICES_FILE, changed, stored.generation if stored else 0)
            except ConflictError:
                if attempt == LABEL_ATTEMPTS - 1:
                    raise
            else:
                return

    def place(self, name: str, number: int) -> str:
        """Return where a version is."""
        return f"{self._bucket.url}/{name}/{number}"

    def _upload(self, staged: Path, version: str) -> None:
        """Upload a version: what makes it one goes last, so that a reader finds a whole version or none."""
        files = sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
        # A saved_model.pb alone would pass for a SavedModel without a description.
        files.sort(key=lambda file: (file == MANIFEST_FILE, file.startswith("saved_model.")))
        created: list[str] = []
        try:
            for file in files:
                self._bucket.create(f"{version}/{file}", staged / file)
                created.append(file)
        except BaseException:  # Ctrl-C too
            for file in created:
                with suppress(ServiceError):  # what is left takes the number, and is served by nobody
                    self._bucket.delete(f"{version}/{file}")
            raise


def _text(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{CHOICES_FILE}: cannot be read: {error}"]) from error
