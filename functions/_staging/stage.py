"""Lays a function and what it needs into one folder: what is tried locally is what is deployed.

Only the function's own folder would be uploaded; symlinks and paths in requirements.txt do not survive that.
"""

import shutil
from pathlib import Path

import yaml

from shared.config import ROOT
from shared.errors import ConfigurationError

from .imports import library_files

# Sources of the function that the host has no use for.
TENSORFLOW = "requirements-tensorflow.txt"
_LEFT_OUT = {"service.yaml", "requirements.in", "requirements-tensorflow.in", TENSORFLOW}


def function_names(root: Path = ROOT) -> list[str]:
    """Return the functions there are: the folders with a main.py."""
    return sorted(path.parent.name for path in (root / "functions").glob("*/main.py"))


def needed_files(function: str, root: Path = ROOT) -> list[Path]:
    """Return every file a function needs, its own first.

    Raises:
        ConfigurationError: There is no such function, or it includes what is not there.
    """
    folder = root / "functions" / function
    if function not in function_names(root):
        raise ConfigurationError([f"expected one of {', '.join(function_names(root))}, got {function!r}"])
    own = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return [*own, *sorted(library_files(root, folder)), *_included(function, root)]


def stage(function: str, destination: Path, root: Path = ROOT, *, tensorflow: bool = False) -> Path:
    """Make a folder exactly what is uploaded for a function: its files at the top, libraries and data beside them.

    Args:
        function: A folder's name under functions/.
        destination: The folder to make; what was there is removed.
        root: The repository.
        tensorflow: With the requirements that hold TensorFlow.

    Raises:
        ConfigurationError: As `needed_files` does.
    """
    files = needed_files(function, root)
    folder = root / "functions" / function
    if destination.exists():
        shutil.rmtree(destination)
    for path in files:
        target = destination / path.relative_to(folder if path.is_relative_to(folder) else root)
        if target.name not in _LEFT_OUT:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    if tensorflow:
        shutil.copyfile(folder / TENSORFLOW, destination / "requirements.txt")
    return destination


def _included(function: str, root: Path) -> list[Path]:
    """Return the data files that service.yaml names under `include`, each pattern relative to the repository."""
    service = yaml.safe_load((root / "functions" / function / "service.yaml").read_text("utf-8")) or {}
    found: list[Path] = []
    for pattern in service.get("include", ()):
        matches = [path for path in sorted(root.glob(pattern)) if path.is_file()]
        if not matches:
            raise ConfigurationError([f"functions/{function}/service.yaml: nothing matches include {pattern!r}"])
        found += matches
    return found
