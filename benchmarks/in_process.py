"""A model called in a process of its own, without HTTP: what it answers, and the time that is the model's own."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import ROOT, child_environment

from .calls import Load
from .errors import MeasurementError, WrongAnswerError
from .server import tree_memory_bytes
from .wire import is_close

BATCHING_RUNTIME = "BatchingRuntime"


@dataclass(frozen=True, slots=True)
class Model:
    """A version of a model, and a request body that it answers.

    Attributes:
        models_dir: Its MODELS_DIR.
        body_file: Holds `{"instances": [...]}`.
    """

    models_dir: Path
    name: str
    version: int
    body_file: Path

    @property
    def folder(self) -> Path:
        """Where its files lie."""
        return self.models_dir / self.name / str(self.version)


@dataclass(frozen=True, slots=True)
class ProcessSample:
    """A model called in a process of its own: from the start of Python on, by one caller."""

    first_answer_seconds: float
    memory_bytes: int
    calls: Load


@dataclass(frozen=True, slots=True)
class Answered:
    """What a model is known by.

    Attributes:
        outputs: Each output's first row.
        speedup_at_8: What `model add` measured a batch of 8 to gain; None for a model that came otherwise.
        batched: Whether predict would batch its requests.
    """

    outputs: Mapping[str, Any]
    speedup_at_8: float | None
    batched: bool


def answer_of(model: Model) -> Answered:
    """Return what a model answers to its body.

    Raises:
        MeasurementError: It does not load or answer.
    """
    with _calling(model, 0.0) as process:
        facts = _line(process, model)
        outputs = {name: rows[0] for name, rows in facts["outputs"].items()}
        return Answered(outputs, facts["speedup_at_8"], facts["runtime"] == BATCHING_RUNTIME)


def call_sample(model: Model, seconds: float, expected: Answered) -> ProcessSample:
    """Start, answer once, answer again for so many seconds.

    Raises:
        WrongAnswerError: It answers something else than expected.
        MeasurementError: It does not load or answer.
    """
    started = time.perf_counter()
    with _calling(model, seconds) as process:
        facts = _line(process, model)
        first_answer_seconds = time.perf_counter() - started
        _check({name: rows[0] for name, rows in facts["outputs"].items()}, expected.outputs, model)
        measured = _line(process, model)
        memory_bytes = tree_memory_bytes(process.pid)
    return ProcessSample(first_answer_seconds, memory_bytes, Load(measured["latencies_seconds"], measured["seconds"]))


def _check(found: Mapping[str, Any], expected: Mapping[str, Any], model: Model) -> None:
    for name, values in expected.items():
        rows = (found[name], values) if isinstance(values, list) else ([found[name]], [values])
        if not is_close(*rows):
            raise WrongAnswerError(f"{model.name} in process: {name}: expected {values}, got {found[name]}")


@contextmanager
def _calling(model: Model, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    command = [sys.executable, "-m", "benchmarks.call_model", str(model.models_dir), model.name, str(model.version)]
    log_path = model.body_file.with_suffix(".log")
    with (
        log_path.open("wb") as log,
        subprocess.Popen(
            [*command, str(model.body_file), str(seconds)],
            cwd=ROOT,
            env=child_environment({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        ) as process,
    ):
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        # Leaving the block closes its input, at which it ends.


def _line(process: "subprocess.Popen[bytes]", model: Model) -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        said = model.body_file.with_suffix(".log").read_text("utf-8", "replace")[-2000:]
        raise MeasurementError(f"{model.folder}: did not answer in process:\n{said}")
    return json.loads(line)
