"""Finds models and versions by name in TensorFlow Serving's layout, reading no weights."""

from collections.abc import Mapping
from pathlib import Path

from shared.errors import InvalidRequestError, ModelError, NotFoundError

from .choices import FILE as CHOICES_FILE
from .choices import Choice, read_choices
from .manifest import FILE as MANIFEST_FILE
from .manifest import Manifest, read_manifest
from .savedmodel.formats import ONLY_SAVED_MODELS
from .storage import open_storage
from .storage.ports import ModelStorage, VersionFiles
from .version import ModelVersion

__all__ = ["ModelVersion", "Registry"]


class Registry:
    """The models of one place, as they were when it was scanned."""

    def __init__(self, models: dict[str, dict[int, ModelVersion]], choices: Mapping[str, Choice] | None = None) -> None:
        self._models = models
        self._choices = choices or {}

    @classmethod
    def scan(cls, models: Path | str, *, pool_size: int = 2) -> "Registry":
        """Read names, versions and manifests.

        A model is a folder with at least one folder named by digits alone. A version that cannot be
        read is kept as broken and stops no other. Symlinks that lead out of the folder are ignored.

        Args:
            models: The folder that holds `<name>/<version>/`, or `gs://bucket/prefix` of objects named so.
            pool_size: How many calls may run in one version at the same time.

        Raises:
            ModelError: The models cannot be listed.
            UnavailableError: The bucket did not answer; the same call may succeed.
            ConfigurationError: models.yaml is wrong: a default that is not meant must not be served.
        """
        storage = open_storage(models)
        scanned = {name: _scan_model(storage, name, pool_size) for name in storage.names()}
        found = {name: versions for name, versions in scanned.items() if versions}
        return cls(found, read_choices(storage.read(CHOICES_FILE), found))

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
        """Return the version that answers when none is named: models.yaml's, else the highest that can be served.

        One that turned out not to load gives way to the next, as in TensorFlow Serving.

        Returns:
            None if there is no such model, or every version is broken.
        """
        versions = self._models.get(name, {})
        chosen = self._choices[name].default if name in self._choices else None
        if chosen is not None:
            return chosen
        sound = [number for number, found in versions.items() if found.broken is None]
        # One that failed to load gives way to one that may not; if all failed, the newest says why.
        return max((number for number in sound if versions[number].failure is None), default=max(sound, default=None))

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


def _scan_model(storage: ModelStorage, name: str, pool_size: int) -> dict[int, ModelVersion]:
    try:
        listed = storage.versions(name)
    except ModelError as error:
        # Whether it holds versions cannot be known; leaving it out would leave its owner guessing.
        return {0: ModelVersion(storage.version(name, "0"), broken=error.message)}
    versions: dict[int, ModelVersion] = {}
    for files in listed:
        version = _scan_version(files, pool_size)
        if version.version in versions:
            broken = f"{files.where}: another folder is version {version.version} too"
            version = ModelVersion(files, broken=broken)
        versions[version.version] = version
    return versions


def _scan_version(files: VersionFiles, pool_size: int) -> ModelVersion:
    try:
        return ModelVersion(files, manifest=_read(files), pool_size=pool_size)
    except ModelError as error:
        return ModelVersion(files, broken=error.message)


def _read(files: VersionFiles) -> Manifest:
    if MANIFEST_FILE in files:
        return read_manifest(files.read(MANIFEST_FILE), files.model, files.folder)
    if "saved_model.pb" not in files:
        raise ModelError(f"{files.where}: holds neither {MANIFEST_FILE} nor saved_model.pb; {ONLY_SAVED_MODELS}")
    try:
        from .savedmodel.read import read_bare  # not sooner: most folders hold no bare SavedModel
    except ImportError as error:
        raise ModelError(f"{files.where}: reading it needs the package protobuf") from error
    return read_bare(files)
