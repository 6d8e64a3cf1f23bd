"""What a model is to answer to its own example, worked out on this machine before the cloud is asked."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model.registry import ModelVersion, Registry
from shared.errors import ServiceError

_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Golden:
    """A question, and what answers it well.

    Attributes:
        path: Of predict.
        body: What is sent.
        predictions: One an instance, as TensorFlow Serving writes them; None where this machine cannot tell.
    """

    path: str
    body: dict[str, Any]
    predictions: list[Any] | None

    def is_met_by(self, answer: Any) -> bool:
        """Say whether an answer holds as many predictions, and the same ones as far as floats can be the same."""
        found = answer.get("predictions") if isinstance(answer, dict) else None
        if not isinstance(found, list) or len(found) != len(self.body["instances"]):
            return False
        return self.predictions is None or _close(found, self.predictions)


def golden_questions(models: Path) -> list[Golden]:
    """Return one question for each model that has an example: to the version that answers when none is named."""
    registry, found = Registry.scan(models), []
    for name in registry.names():
        number = registry.default_version(name)
        version = next((each for each in registry.versions(name) if each.version == number), None)
        example = version.manifest.example if version and version.manifest else None
        if version and isinstance(example, dict) and isinstance(example.get("instances"), list):
            found.append(Golden(f"/v1/models/{name}:predict", example, _answers(version, example["instances"])))
    return found


def _answers(version: ModelVersion, instances: list[Any]) -> list[Any] | None:
    """Return what the model answers here; None where its runtime is not installed, or its own code has a say."""
    import numpy as np

    signature = version.sound_manifest().signatures.get("serving_default")
    if signature is None:
        return None
    try:
        if version.predictor() is not None:
            return None
        columns = {
            name: np.array([each[name] if isinstance(each, dict) else each for each in instances], dtype=spec.dtype)
            for name, spec in signature.inputs.items()
        }
        outputs = {name: value.tolist() for name, value in version.load().run("serving_default", columns).items()}
    except (ServiceError, KeyError, TypeError, ValueError):
        return None
    rows = [dict(zip(outputs, row, strict=True)) for row in zip(*outputs.values(), strict=True)]
    return [next(iter(row.values())) if len(row) == 1 else row for row in rows]


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, float) or isinstance(other, float):
        return isinstance(one, int | float) and isinstance(other, int | float) and abs(one - other) <= _TOLERANCE
    return bool(one == other)


def golden_of(root: Path) -> list[Golden]:
    """Return the questions of a repository's models, worked out in a process of its own: a runtime writes as it likes.

    Raises:
        ServiceError: That process failed.
    """
    command = [sys.executable, "-m", "deployment.golden", str(root / "model")]
    done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=root)  # noqa: S603 - all our own
    if done.returncode:
        raise ServiceError(f"the models' examples could not be answered here: {done.stderr.strip()[-300:]}")
    return [Golden(**each) for each in json.loads(done.stdout.splitlines()[-1])]


if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps([asdict(each) for each in golden_questions(Path(sys.argv[1]))]) + "\n")
