"""Finds models and versions by name in a folder of TensorFlow Serving's layout, reading no weights."""

from collections.abc import Iterator
from pathlib import Path

from shared.errors import ModelError, NotFoundError

from .manifest import read_manifest
from .version import ModelVersion

__all__ = ["ModelVersion", "Registry"]


class Registry:
    """The models of one folder, as they were when it was scanned."""

    def __init__(self, models: dict[str, dict[int, ModelVersion]]) -> None:
        self._models = models

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
        """
        root = models_dir.resolve()
        try:
            folders = sorted(_folders_inside(root, root))
        except OSError as error:
            raise ModelError(f"the models folder cannot be listed: {error.strerror}") from error
        models = {folder.name: _scan_model(folder, root, pool_size) for folder in folders}
        return cls({name: versions for name, versions in models.items() if versions})

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

    def find(self, name: str, version: int | None = None) -> ModelVersion:
        """Return one version; without a number, the highest that is not broken.

        Raises:
            NotFoundError: There is no such model or version, in TensorFlow Serving's words.
            ModelError: No number was given and every version is broken.
        """
        versions = self._models.get(name, {})
        if version is not None:
            if version not in versions:
                raise _not_found(f"Specific({name}, {version})")
            return versions[version]
        if not versions:
            raise _not_found(f"Latest({name})")
        sound = [number for number, found in versions.items() if found.broken is None]
        if not sound:
            newest = versions[max(versions)]
            raise ModelError(f"{name}: no version can be served; the newest: {newest.broken}")
        return versions[max(sound)]

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
        if not _is_inside(folder / "model.json", root):
            where = f"{folder.parent.name}/{folder.name}/model.json"
            raise ModelError(f"{where}: leads out of the models folder")
        return ModelVersion(folder, manifest=read_manifest(folder), pool_size=pool_size)
    except ModelError as error:
        return ModelVersion(folder, broken=error.message)
