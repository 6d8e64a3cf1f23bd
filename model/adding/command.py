"""What `python -m model check` and `add` do and show."""

import argparse
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from shared.errors import ConfigurationError, InvalidRequestError, ModelError

from .. import predictor
from ..predictor import Predictor
from ..training.version_directory import describe_signatures, write_manifest
from . import examine
from .examine import Examination
from .report import show_read, show_run
from .target import BucketTarget, FolderTarget, Target

LITERT_FILE = "model.tflite"
PARTS = 4  # that `examine.run` announces, when there is a LiteRT file


def check(options: argparse.Namespace) -> None:
    """Examine a SavedModel and show what was found.

    Raises:
        ServiceError: It cannot be served, or there is none.
    """
    _examine(options, Console(highlight=False))


def add(options: argparse.Namespace, *, created_at: datetime) -> None:
    """Examine a SavedModel and make it a version.

    Raises:
        ServiceError: It cannot be served, or the version exists.
    """
    target = _target(options)
    number = target.new_version(options.name, options.version)
    if options.label is not None:
        target.check_choices()  # a models.yaml that is wrong is better found now
    console = Console(highlight=False)
    hooks: Path = options.path / predictor.FILE
    if hooks.is_file():
        Predictor(hooks.read_bytes(), predictor.FILE)  # one that does not run is better found now
    found = _examine(options, console)
    if hooks.is_file():
        found.files[predictor.FILE] = hooks
    with target.staged(options.name, number) as staged:
        _fill(staged, found)
        write_manifest(staged, _document(found, options.name, number, created_at))
    if options.label is not None:
        target.set_label(options.name, options.label, number)
    labelled = f", labelled {options.label}" if options.label is not None else ""
    console.print(
        f"Added {options.name} version {number}{labelled}: {target.place(options.name, number)}", soft_wrap=True
    )


def _target(options: argparse.Namespace) -> Target:
    if options.to is None:
        return FolderTarget(options.models_dir, force=options.force)
    try:
        from shared.bucket import Bucket
    except ImportError as error:
        raise ConfigurationError(["--to needs the package google-cloud-storage"]) from error
    return BucketTarget(Bucket(options.to, ModelError, "the models'"))


def _examine(options: argparse.Namespace, console: Console) -> Examination:
    example = _example(options.example) if options.example else None
    limit_bytes = options.limit_mb * 1_000_000
    found = examine.read(options.path, limit_bytes)
    show_read(console, found, limit_bytes)
    with _bar(console) as progress:
        task = progress.add_task("", total=PARTS)
        done = -1

        def advance(next_part: str) -> None:
            nonlocal done
            done += 1
            progress.update(task, completed=done, description=next_part)

        examine.run(found, example, advance)
        progress.update(task, completed=PARTS, description="Done")
    show_run(console, found)
    return found


@contextmanager
def _bar(console: Console) -> Iterator[Progress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        yield progress


def _example(path: Path) -> dict[str, Any]:
    try:
        body = json.loads(path.read_bytes())
    except OSError as error:
        raise InvalidRequestError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{path}: is not JSON: {error}") from error
    if not isinstance(body, dict) or not body.keys() & {"instances", "inputs"}:
        raise InvalidRequestError(f'{path}: should hold a request: {{"instances": [...]}} or {{"inputs": ...}}')
    return body


def _fill(staged: Path, found: Examination) -> None:
    for file, path in found.files.items():
        (staged / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, staged / file)
    if found.litert is not None:
        (staged / LITERT_FILE).write_bytes(found.litert_content)


def _document(found: Examination, name: str, version: int, created_at: datetime) -> dict[str, Any]:
    preferred = found.measured[found.runtimes[0]]
    document: dict[str, Any] = {
        "format": 1,
        "name": name,
        "version": version,
        "description": "",
        "created_at": created_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        "signatures": describe_signatures(found.signatures, {}),
        "runtimes": found.runtimes,
    }
    if found.litert is not None:
        document["litert"] = {"file": LITERT_FILE, **found.litert}
    if "speedup_at_8" in preferred:
        document["batching"] = {"speedup_at_8": round(preferred["speedup_at_8"], 2)}
    return document | {
        "operations": {"verdict": "allowed"},
        "measured": {
            runtime: {key: round(value, 4) if isinstance(value, float) else value for key, value in facts.items()}
            for runtime, facts in found.measured.items()
        },
        "libraries": {package: library_version(package) for package in ("ai-edge-litert", "numpy")},
        "example": found.example,
    }
