"""The models that are measured: digits as it is bundled, and those made for a run, added as users add theirs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from shared.config import ROOT, child_environment

from .errors import MeasurementError
from .in_process import Answered, Model, answer_of
from .pictures import nested, pixels
from .subjects import digit_example
from .wire import as_json

SHAPES = {"cnn": (28, 28), "image": (224, 224, 3), "dense": (1024,)}
UNBATCHED_VERSION = 2


class Models:
    """Makes each model when it is first asked for; it stays for the run.

    Args:
        folder: Takes them; an empty folder.
        progress: Told what is being made.
    """

    def __init__(self, folder: Path, progress: Callable[[str], None]) -> None:
        self._folder = folder
        self._progress = progress
        self._added: dict[str, Model] = {}
        self._answers: dict[Model, Answered] = {}

    @cached_property
    def digits(self) -> Model:
        """digits as it is bundled: its first runtime is LiteRT."""
        body_file = self._folder / "digits.json"
        body_file.write_bytes(as_json({"instances": [{"image": digit_example()[0]}]}))
        return Model(ROOT / "model", "digits", 1, body_file)

    @cached_property
    def digits_in_tensorflow(self) -> Model:
        """The same version, told to be served with TensorFlow alone."""
        model = Model(self._folder / "digits-in-tensorflow", "digits", 1, self.digits.body_file)
        _copy(self.digits, model, {"runtimes": ["tensorflow"]})
        return model

    def added(self, name: str) -> Model:
        """Return a model of `SHAPES`, which `python -m model add` has examined, measured and made version 1.

        Raises:
            MeasurementError: It could not be made or added.
        """
        if name not in self._added:
            saved = self._saved_models / name
            model = Model(self._folder / f"models-{name}", name, 1, self._folder / f"{name}.json")
            self._progress(f"adding the model {name}, as python -m model add does")
            _run("model", "add", str(saved), "--name", name, "--models-dir", str(model.models_dir))
            rows = f'{{"instances":[{{"image":{nested(pixels(*SHAPES[name]), *SHAPES[name])}}}]}}'
            model.body_file.write_text(rows, "utf-8")
            self._added[name] = model
        return self._added[name]

    @cached_property
    def dense_unbatched(self) -> Model:
        """The dense model as a version that says nothing of what a batch gains, so that predict does not batch it."""
        batched = self.added("dense")
        model = Model(batched.models_dir, batched.name, UNBATCHED_VERSION, batched.body_file)
        _copy(batched, model, {"version": UNBATCHED_VERSION, "batching": {}})
        return model

    def answer(self, model: Model) -> Answered:
        """Return what a model answers when it is called in process."""
        if model not in self._answers:
            self._answers[model] = answer_of(model)
        return self._answers[model]

    @cached_property
    def _saved_models(self) -> Path:
        folder = self._folder / "saved-models"
        folder.mkdir()
        self._progress("making models with TensorFlow")
        _run("benchmarks.saved_models", str(folder))
        return folder


def _copy(model: Model, copy: Model, changes: dict[str, Any]) -> None:
    shutil.copytree(model.folder, copy.folder)
    file = copy.folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_bytes()) | changes), "utf-8")


def _run(module: str, *arguments: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=child_environment({}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if finished.returncode:
        said = finished.stdout.decode("utf-8", "replace")[-2000:]
        raise MeasurementError(f"python -m {module} ended with exit code {finished.returncode}:\n{said}")
