"""Finds out all that is to be known of a SavedModel before it is served: first by reading, then by running it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import InvalidRequestError, ModelError

from ..manifest import Signature
from ..savedmodel.formats import KERAS_SUFFIXES, ONLY_SAVED_MODELS
from ..savedmodel.ops import refuse_unsafe
from ..savedmodel.read import FILE, read_graph, read_signatures

# What is copied into a version and counted against the limit: what TensorFlow's loaders read.
PARTS = (FILE, "variables", "assets")
LONGEST_STEP_SECONDS = 900


@dataclass
class Examination:
    """What is known of one SavedModel.

    Args:
        files: What a version of it consists of, by path relative to the folder.
        litert: {"max_difference", "compared_rows", "signatures"} of the converted file; None without one.
        litert_content: The converted file.
        reason: Why there is none.
        measured: {"load_seconds", "latency_ms", "speedup_at_8", "memory_bytes"} by runtime.
        example: A request body that it answers.
    """

    folder: Path
    signatures: dict[str, Signature]
    files: dict[str, Path]
    size_bytes: int
    litert: dict[str, Any] | None = None
    litert_content: bytes = b""
    reason: str = ""
    measured: dict[str, dict[str, Any]] = field(default_factory=dict)
    example: dict[str, Any] = field(default_factory=dict)

    @property
    def runtimes(self) -> list[str]:
        """The runtimes that can serve it, the preferred one first."""
        return ["litert", "tensorflow"] if self.litert is not None else ["tensorflow"]


def read(folder: Path, limit_bytes: int) -> Examination:
    """Learn what can be learnt without running anything.

    Args:
        folder: Anyone's SavedModel.
        limit_bytes: The most that it may weigh.

    Raises:
        InvalidRequestError: The folder holds no SavedModel.
        ModelError: The SavedModel is damaged, too large, or holds an operation that is not on the allow-list.
    """
    if _is_keras(folder):
        raise InvalidRequestError(f"{folder}: {ONLY_SAVED_MODELS}")
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise InvalidRequestError(f"{folder}: {what}; name the folder that holds {FILE}")
    if not (folder / FILE).exists():
        keras = f"; {ONLY_SAVED_MODELS}" if any(map(_is_keras, folder.glob("*"))) else ""
        raise InvalidRequestError(f"{folder}: holds no {FILE}, so it is not a SavedModel{keras}")
    where = str(folder)
    files = dict(_files(folder))
    size_bytes = sum(path.stat().st_size for path in files.values())
    if size_bytes > limit_bytes:
        raise ModelError(f"{where}: is {size_bytes / 1e6:.0f} MB; the limit is {limit_bytes / 1e6:.0f} MB (--limit-mb)")
    graph = read_graph(folder, where)
    signatures = read_signatures(graph, where)
    refuse_unsafe(graph, where)
    return Examination(folder, signatures, files, size_bytes)


def run(found: Examination, example: dict[str, Any] | None, progress: Callable[[str], None]) -> None:
    """Load, measure and convert a SavedModel that reading found nothing against, and note the results in it.

    Args:
        example: A request body to do so with; None makes inputs up.
        progress: Called with what comes next, before each part.

    Raises:
        ModelError: TensorFlow cannot load it or answers no sample.
    """
    with tempfile.TemporaryDirectory(prefix="nightshift-") as folder:
        work = Path(folder)
        _write_order(found, work, example)
        progress("Loading with TensorFlow")
        facts: dict[str, Any] = {}
        for line in _step("tensorflow", work):
            facts |= line
            if "load_seconds" in line:
                progress("Measuring TensorFlow")
            if "example" in line:
                found.example, found.measured["tensorflow"] = example or line["example"], _measurements(facts)
                progress("Converting to LiteRT")
        found.litert, found.reason = facts.get("litert"), facts.get("reason", "the converter ended the process")
        if not found.example:
            raise ModelError(f"{found.folder}: TensorFlow ended before it had answered anything")
        if found.litert is None:
            return
        found.litert_content = (work / "model.tflite").read_bytes()
        _write_order(found, work, found.example, found.litert["signatures"])
        progress("Measuring LiteRT")
        facts = {}
        for line in _step("litert", work):
            facts |= line
        found.measured["litert"] = _measurements(facts)


def _is_keras(path: Path) -> bool:
    return path.suffix.lower() in KERAS_SUFFIXES and not path.is_dir()


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    root = folder.resolve()
    for part in PARTS:
        found = folder / part
        below = [Path(parent) / name for parent, _, names in os.walk(found) for name in names]
        for path in sorted(below) if found.is_dir() else [found]:
            if not path.resolve().is_relative_to(root):
                raise ModelError(f"{path}: leads out of the folder")
            if path.is_file():
                yield path.relative_to(folder).as_posix(), path


def _write_order(
    found: Examination, work: Path, example: dict[str, Any] | None, file_names: dict[str, str] | None = None
) -> None:
    order = {
        "folder": str(found.folder.resolve()),
        "where": str(found.folder),
        "example": example,
        "file_names": file_names or {},
    }
    (work / "order.json").write_text(json.dumps(order))


def _measurements(facts: dict[str, Any]) -> dict[str, Any]:
    names = ("load_seconds", "latency_ms", "speedup_at_8", "memory_bytes", "loader")
    return {name: facts[name] for name in names if name in facts}


def step_command(runtime: str, work: Path) -> list[str]:
    """Return the command that does one part in a process of its own."""
    return [sys.executable, "-m", "model.adding.step", runtime, str(work)]


def _step(runtime: str, work: Path) -> Iterator[dict[str, Any]]:
    """Run one part in a process of its own and yield what it finds.

    Once TensorFlow has answered, that its process ends (in the converter, say) is no longer an error.
    """
    with (
        (work / "log").open("wb") as log,
        subprocess.Popen(step_command(runtime, work), stdout=subprocess.PIPE, stderr=log) as process,  # noqa: S603 - this module's own
    ):
        patience = threading.Timer(LONGEST_STEP_SECONDS, process.kill)
        patience.start()
        answered = False
        try:
            assert process.stdout is not None
            for text in process.stdout:
                line = json.loads(text)
                if "error" in line:
                    raise ModelError(line["error"])
                answered = answered or "memory_bytes" in line
                yield line
            code = process.wait()
        finally:
            patience.cancel()
            process.kill()
    if code and not answered:
        ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise ModelError(f"the model ended {runtime}'s process with {ended}")
