"""Training is reproducible, the conversion answers like TensorFlow, and what is written can be served."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from model.registry import Registry
from model.runtimes.litert import LiteRTRuntime
from shared.errors import InvalidRequestError, ModelError
from tests.support import manifest_of

pytestmark = [pytest.mark.tensorflow, pytest.mark.xdist_group("tensorflow")]

MODELS = Path(__file__).parents[2] / "model"


@pytest.fixture(scope="module")
def tf() -> ModuleType:
    """TensorFlow, imported when the first of these tests runs and not when they are collected."""
    return importlib.import_module("tensorflow")


@pytest.fixture(scope="module")
def digits(tf: ModuleType) -> ModuleType:
    return importlib.import_module("model.training.digits")


@pytest.fixture(scope="module")
def export(tf: ModuleType) -> ModuleType:
    return importlib.import_module("model.training.export")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder in which the real command trained the digits model in full."""
    models = tmp_path_factory.mktemp("models")
    subprocess.run(
        [sys.executable, "-m", "model", "train", "digits", "--models-dir", str(models)],
        capture_output=True,
        text=True,
        check=True,
        timeout=110,
    )
    return models


def train_briefly(digits: ModuleType, export: ModuleType, folder: Path, seed: int) -> bytes:
    """Train for one epoch and return the LiteRT file."""
    network = digits.fit(digits.load_data(), seed=seed, epochs=1, report=lambda epoch, loss: None)
    folder.mkdir()
    module = digits.served_module(network)
    export.save(module, {"serving_default": module.serve}, folder)
    converted: bytes = export.convert(folder)
    return converted


def test_the_command_trains_a_model_as_good_as_the_committed_one(trained: Path) -> None:
    """At least 97 %, and within one per cent of what the committed version says."""
    accuracy = manifest_of(trained / "digits" / "1").metrics["accuracy"]

    assert accuracy >= 0.97
    assert accuracy == pytest.approx(manifest_of(MODELS / "digits" / "1").metrics["accuracy"], abs=0.01)


def test_a_trained_version_serves_its_own_example(trained: Path) -> None:
    """What the command wrote is found, loaded and answers the request that it documents."""
    found = Registry.scan(trained).find("digits")
    assert found.manifest is not None
    images = np.array([row["image"] for row in found.manifest.example["instances"]], np.float32)

    answers = found.load().run("serving_default", {"image": images})

    held_out = json.loads((trained / "digits" / "held_out.json").read_bytes())
    assert held_out["images"][0] == images[0].tolist()
    assert answers["digit"].tolist() == held_out["digits"][:1]


def test_training_leaves_the_same_files_as_are_committed(trained: Path) -> None:
    """The recipe and the repository agree, and nothing temporary stays behind."""

    def files(version_dir: Path) -> list[str]:
        return sorted(path.relative_to(version_dir).as_posix() for path in version_dir.rglob("*"))

    assert files(trained / "digits" / "1") == files(MODELS / "digits" / "1")
    assert sorted(path.name for path in (trained / "digits").iterdir()) == ["1", "held_out.json"]
    assert (trained / "digits" / "held_out.json").read_bytes() == (MODELS / "digits" / "held_out.json").read_bytes()


def test_the_command_refuses_an_existing_version_before_it_trains(trained: Path) -> None:
    """The message says what to do; the version is as it was."""
    before = (trained / "digits" / "1" / "model.json").read_bytes()

    done = subprocess.run(
        [sys.executable, "-m", "model", "train", "digits", "--version", "1", "--models-dir", str(trained)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 1
    assert done.stderr == ("error: digits version 1 exists already: name another version, or replace it with --force\n")
    assert (trained / "digits" / "1" / "model.json").read_bytes() == before


def test_one_seed_gives_one_model_and_another_seed_another(
    digits: ModuleType, export: ModuleType, tmp_path: Path
) -> None:
    """The same seed gives the same file, byte for byte."""
    first = train_briefly(digits, export, tmp_path / "first", seed=3)
    again = train_briefly(digits, export, tmp_path / "again", seed=3)
    other = train_briefly(digits, export, tmp_path / "other", seed=4)

    assert first == again
    assert first != other


def test_no_version_trains_on_held_out_images(digits: ModuleType) -> None:
    """No held-out image, and no copy of one, is among those trained on; each of the 1,797 is in one set."""
    data = digits.load_data()

    trained_on = {image.tobytes() for image in data.train_images}
    assert (len(data.train_images), len(data.test_images)) == (1437, 360)
    assert not trained_on & {image.tobytes() for image in data.test_images}


def test_the_saved_model_answers_like_litert(tf: ModuleType) -> None:
    """The committed SavedModel loads with its names and agrees with LiteRT on every held-out image."""
    images = np.array(json.loads((MODELS / "digits" / "held_out.json").read_bytes())["images"], np.float32)
    found = Registry.scan(MODELS).find("digits", 1)

    function = tf.saved_model.load(str(MODELS / "digits" / "1")).signatures["serving_default"]
    expected = function(image=tf.constant(images))
    answers = found.load().run("serving_default", {"image": images})

    difference = np.abs(expected["probabilities"].numpy() - answers["probabilities"]).max()
    assert sorted(expected) == ["digit", "probabilities"]
    np.testing.assert_array_equal(expected["digit"].numpy(), answers["digit"])
    assert difference <= 1e-5
    assert found.manifest is not None
    assert found.manifest.raw["litert"]["max_difference"] <= 1e-5
    assert found.manifest.raw["litert"]["compared_images"] == 360


@pytest.mark.parametrize(
    ("number", "wrong_number", "message"),
    [
        (np.float32(1), np.float32(1.0001), r"^LiteRT and TensorFlow differ by 1\.0e-04; 1e-05 is the most"),
        (np.float32(1), np.float32(np.nan), r"^LiteRT and TensorFlow differ by nan"),
        (np.int32(1), np.int32(2), r"^LiteRT and TensorFlow answer another output_0 on 3 elements"),
    ],
)
def test_a_conversion_that_answers_otherwise_is_refused(
    tf: ModuleType, export: ModuleType, tmp_path: Path, number: Any, wrong_number: Any, message: str
) -> None:
    """A wrong conversion, which TensorFlow does not always report, never becomes a version."""

    def convert(factor: Any, folder: Path) -> bytes:
        module, spec = tf.Module(), tf.TensorSpec([None], factor.dtype, name="x")
        module.multiply = tf.function(lambda x: x * factor, input_signature=[spec])
        folder.mkdir()
        export.save(module, {"multiply": module.multiply}, folder)
        converted: bytes = export.convert(folder)
        return converted

    # Both answer infinity to the first; that is no difference.
    inputs = {"x": np.array([np.inf if number.dtype == np.float32 else 1, 1, 1], number.dtype)}
    right = convert(number, tmp_path / "right")
    wrong = convert(wrong_number, tmp_path / "wrong")

    agreement = export.compare(tmp_path / "right", right, "multiply", inputs)
    assert (agreement.max_difference, agreement.compared_rows) == (0, 3)
    with pytest.raises(ModelError, match=message):
        export.compare(tmp_path / "right", wrong, "multiply", inputs)


@pytest.fixture(scope="module")
def three_signatures(tf: ModuleType, export: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> LiteRTRuntime:
    """A model with three entry points, whose inputs can be wrong in ways that only running it shows."""
    folder = tmp_path_factory.mktemp("three_signatures")
    module = tf.Module()
    module.table = tf.Variable([10.0, 20.0, 30.0])
    rows = tf.TensorSpec([None], tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="index")])
    def look_up(index: Any) -> Any:
        return {"value": tf.gather(module.table, index)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="index")])
    def look_past(index: Any) -> Any:
        return {"value": tf.gather(module.table, index + 5)}

    @tf.function(input_signature=[rows, rows])
    def add(left: Any, right: Any) -> Any:
        return {"sum": left + right}

    module.look_up, module.look_past, module.add = look_up, look_past, add
    export.save(module, {"look_up": look_up, "look_past": look_past, "add": add}, folder)
    return LiteRTRuntime(export.convert(folder), export.read_signatures(folder), pool_size=1)


def test_every_signature_of_a_file_is_served(three_signatures: LiteRTRuntime) -> None:
    """Signatures share one interpreter and do not disturb each other."""
    index, numbers = np.array([2, 0], np.int32), np.array([1, 2, 3], np.float32)

    for _ in range(2):
        assert three_signatures.run("look_up", {"index": index})["value"].tolist() == [30.0, 10.0]
        assert three_signatures.run("add", {"left": numbers, "right": numbers})["sum"].tolist() == [2.0, 4.0, 6.0]


@pytest.mark.parametrize(
    ("signature_name", "inputs"),
    [
        ("look_up", {"index": np.array([3], np.int32)}),
        ("add", {"left": np.zeros(2, np.float32), "right": np.zeros(3, np.float32)}),
        ("add", {"left": np.zeros(0, np.float32), "right": np.zeros(3, np.float32)}),
    ],
)
def test_values_that_the_model_cannot_take_are_the_caller_s_fault(
    three_signatures: LiteRTRuntime, signature_name: str, inputs: dict[str, Any]
) -> None:
    """A failure while the model runs is the request's, if the model answers otherwise; the next call works."""
    with pytest.raises(InvalidRequestError):
        three_signatures.run(signature_name, inputs)

    assert three_signatures.run("look_up", {"index": np.array([1], np.int32)})["value"].tolist() == [20.0]


def test_a_model_that_fails_whatever_it_is_given_is_ours_to_mend(three_signatures: LiteRTRuntime) -> None:
    """No request would have worked, so the caller is not told to change theirs."""
    with pytest.raises(ModelError, match="fails on every input"):
        three_signatures.run("look_past", {"index": np.array([0], np.int32)})
