"""Finds models and versions by name in a folder of TensorFlow Serving's layout, reading no weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.errors import ConfigurationError, InvalidRequestError, ModelError, NotFoundError

from .choices import FILE as CHOICES_FILE
from .choices import Choice, read_choices
from .manifest import Manifest, read_manifest
from .version import ModelVersion

__all__ = ["ModelVersion", "Registry"]


class Registry:
    """The models of one folder, as they were when it was scanned."""

    def __init__(self, models: dict[str, dict[int, ModelVersion]], choices: Mapping[str, Choice] | None = None) -> None:
        self._models = models
        self._choices = choices or {}

    @classmethod
    def scan(cls, models_dir: Path, *, pool_size: int = 2) -> "Registry":
        """Read names, versions and manifests.

        A model is a folder with at least one folder named by digits alone. A version that cannot be
        read is kept as broken and stops no other. Symlinks that lead out of the folder are ignored.

        Args:
            models_dir: The folder that holds `<name>/<version>/`.
            pool_size: How many calls may run in one version at the same time.

        Raises:
            ModelError: The folder cannot be listed.
            ConfigurationError: Its models.yaml is wrong: a default that is not meant must not be served.
        """
        root = models_dir.resolve()
        try:
            folders = sorted(_folders_inside(root, root))
        except OSError as error:
            raise ModelError(f"the models folder cannot be listed: {error.strerror}") from error
        scanned = {folder.name: _scan_model(folder, root, pool_size) for folder in folders}
        models = {name: versions for name, versions in scanned.items() if versions}
        if not _is_inside(root / CHOICES_FILE, root):
            raise ConfigurationError([f"{CHOICES_FILE}: leads out of the models folder"])
        return cls(models, read_choices(root, models))

    def names(self) -> list[str]:
        """Return the names of all models, sorted."""
        return sorted(self._models)

    def versions(self, name: str) -> list[ModelVersion]:
        """Return a model's versions, the lowest number first.

        Raises:
            NotFoundError: There is no such model.
        """
        if name not in self._models:
            raise _not_found(f"Latest({name})")
        return [version for _, version in sorted(self._models[name].items())]

    def labels(self, name: str) -> dict[str, int]:
        """Return a model's versions by label."""
        return dict(self._choices.get(name, Choice()).labels)

    def default_version(self, name: str) -> int | None:
        """Return the version that answers when none is named: models.yaml's, else the highest that is not broken.

        Returns:
            None if there is no such model, or every version is broken.
        """
        chosen = self._choices.get(name, Choice()).default
        sound = [number for number, found in self._models.get(name, {}).items() if found.broken is None]
        return chosen if chosen is not None else max(sound, default=None)

    def find(self, name: str, version: int | None = None, label: str | None = None) -> ModelVersion:
        """Return one version: by label, by number, or the default.

        Raises:
            InvalidRequestError: The model has no such label, in TensorFlow Serving's words.
            NotFoundError: There is no such model or version, in TensorFlow Serving's words.
            ModelError: Neither was given and every version is broken.
        """
        if label is not None:
            version = self.labels(name).get(label)
            if version is None:
                raise InvalidRequestError(f"Unrecognized servable version label: {label}", reason="LABEL_NOT_FOUND")
        versions = self._models.get(name, {})
        if version is not None:
            if version not in versions:
                raise _not_found(f"Specific({name}, {version})")
            return versions[version]
        if not versions:
            raise _not_found(f"Latest({name})")
        default = self.default_version(name)
        if default is None:
            newest = versions[max(versions)]
            raise ModelError(f"{name}: no version can be served; the newest: {newest.broken}")
        return versions[default]

    def default_name(self, preferred: str | None) -> str | None:
        """Return the model for requests that name none: the preferred, else the only one.

        Args:
            preferred: The configured name; None or empty when there is none.

        Raises:
            NotFoundError: The preferred model does not exist.
        """
        if preferred:
            self.versions(preferred)
            return preferred
        return next(iter(self._models)) if len(self._models) == 1 else None


def _not_found(wanted: str) -> NotFoundError:
    return NotFoundError(f"Servable not found for request: {wanted}", reason="MODEL_NOT_FOUND")


def _folders_inside(parent: Path, root: Path) -> Iterator[Path]:
    """Yield the folders in `parent` that are not hidden and really lie inside `root`."""
    for entry in parent.iterdir():
        if not entry.name.startswith(".") and entry.is_dir() and _is_inside(entry, root):
            yield entry


def _is_inside(path: Path, root: Path) -> bool:
    return path.resolve().is_relative_to(root)


def _scan_model(folder: Path, root: Path, pool_size: int) -> dict[int, ModelVersion]:
    try:
        candidates = sorted(_folders_inside(folder, root))
    except OSError as error:
        # Whether it holds versions cannot be known; leaving it out would leave its owner guessing.
        broken = f"{folder.name}: cannot be listed: {error.strerror}"
        return {0: ModelVersion(folder / "0", broken=broken)}
    versions: dict[int, ModelVersion] = {}
    for candidate in candidates:
        if not (candidate.name.isascii() and candidate.name.isdigit()):
            continue
        version = _scan_version(candidate, root, pool_size)
        if version.version in versions:
            broken = f"{folder.name}/{candidate.name}: another folder is version {version.version} too"
            version = ModelVersion(candidate, broken=broken)
        versions[version.version] = version
    return versions


def _scan_version(folder: Path, root: Path, pool_size: int) -> ModelVersion:
    try:
        bare = not (folder / "model.json").exists() and (folder / "saved_model.pb").exists()
        file = "saved_model.pb" if bare else "model.json"
        if not _is_inside(folder / file, root):
            raise ModelError(f"{folder.parent.name}/{folder.name}/{file}: leads out of the models folder")
        return ModelVersion(folder, manifest=_read(folder, bare=bare), pool_size=pool_size)
    except ModelError as error:
        return ModelVersion(folder, broken=error.message)


def _read(folder: Path, *, bare: bool) -> Manifest:
    if not bare:
        return read_manifest(folder)
    try:
        from .savedmodel.read import read_bare  # not sooner: most folders hold no bare SavedModel
    except ImportError as error:
        raise ModelError(f"{folder.parent.name}/{folder.name}: reading it needs the package protobuf") from error
    return read_bare(folder)
