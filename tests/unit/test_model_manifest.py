"""model.json is checked once, when it is read, and says what is wrong and where."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from model.manifest import Manifest, parse_manifest
from shared.errors import ModelError
from tests.support import manifest_of

DIGITS = Path(__file__).parents[2] / "model" / "digits" / "1"
DOCUMENT: dict[str, Any] = json.loads((DIGITS / "model.json").read_bytes())


def broken(change: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return the committed document with the object at `path` changed; None takes a key away."""
    document = copy.deepcopy(DOCUMENT)
    place = document
    for key in path:
        place = place[key]
    place.update(change)
    for key in [key for key, value in change.items() if value is None]:
        del place[key]
    return document


@pytest.fixture
def version_dir(tmp_path: Path) -> Path:
    """A copy of the committed version, to be spoilt."""
    return Path(shutil.copytree(DIGITS, tmp_path / "models" / "digits" / "1"))


def test_the_bundled_model_is_described() -> None:
    """The committed version says what it takes, answers and was measured to do."""
    manifest = manifest_of(DIGITS)

    signature = manifest.signatures["serving_default"]
    image = signature.inputs["image"]
    assert (manifest.name, manifest.version) == ("digits", 1)
    assert (image.dtype, image.shape, image.minimum, image.maximum) == ("float32", (None, 8, 8), 0, 16)
    assert {name: (spec.dtype, spec.shape) for name, spec in signature.outputs.items()} == {
        "digit": ("int64", (None,)),
        "probabilities": ("float32", (None, 10)),
    }
    assert signature.method_name == "tensorflow/serving/predict"
    assert manifest.runtimes == ("litert", "tensorflow")
    assert manifest.litert_file == "model.tflite"
    assert manifest.summary == {"class": "digit", "scores": "probabilities"}
    assert manifest.raw["interface"] == {"kind": "image", "input": "image"}
    assert manifest.metrics["accuracy"] >= 0.97


def test_every_file_of_the_bundled_model_is_recorded_and_small() -> None:
    """Sizes and hashes cover each file, and a version stays under 1 MB."""
    manifest = manifest_of(DIGITS)

    present = {path.relative_to(DIGITS).as_posix(): path.stat().st_size for path in DIGITS.rglob("*") if path.is_file()}
    del present["model.json"]
    assert {name: record.size_bytes for name, record in manifest.files.items()} == present
    assert manifest.size_bytes == sum(present.values()) < 1_000_000


def test_the_held_out_images_are_360_in_proportion() -> None:
    """Each digit is held out about as often as it occurs, and every value is one the model was trained for."""
    held_out = json.loads((DIGITS.parent / "held_out.json").read_bytes())

    assert len(held_out["images"]) == len(held_out["digits"]) == 360
    assert {held_out["digits"].count(digit) for digit in range(10)} <= set(range(34, 39))
    assert {len(row) for image in held_out["images"] for row in image} == {8}
    assert {value for image in held_out["images"] for row in image for value in row} == set(range(17))
    assert held_out["licence"] == "CC BY 4.0"
    assert "UCI" in held_out["source"]


def test_optional_fields_may_be_left_out() -> None:
    """A version is served without description, metrics, summary or example."""
    absent = dict.fromkeys(("description", "metrics", "summary", "example"))

    manifest = parse_manifest(broken(absent), "m/1/model.json")

    assert isinstance(manifest, Manifest)
    assert (manifest.description, manifest.metrics, manifest.summary, manifest.example) == ("", {}, {}, {})


def test_a_version_without_litert_needs_no_litert_file() -> None:
    """What only TensorFlow can serve is described all the same."""
    manifest = parse_manifest(broken({"runtimes": ["tensorflow"], "litert": None}), "m/1/model.json")

    assert manifest.litert_file is None


INPUT = ("signatures", "serving_default", "inputs", "image")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "m/1/model.json: should hold an object, holds a list"),
        (broken({"format": 2}), "m/1/model.json: format should be 1, is 2"),
        (broken({"name": None}), "m/1/model.json: name should be text, is missing or null"),
        (broken({"version": True}), "m/1/model.json: version should be a whole number, is bool"),
        (broken({"signatures": {}}), "m/1/model.json: signatures and runtimes should each name at least one"),
        (broken({"runtimes": [1]}), "m/1/model.json: signatures and runtimes should each name at least one"),
        (broken({"summary": {"class": 1}}), "m/1/model.json: summary.class should be text, is a whole number"),
        (broken({"litert": None}), "m/1/model.json: litert should be an object, is missing or null"),
        (broken({"file": "x"}, "litert"), "m/1/model.json: litert.file should be one of files, is 'x'"),
        (
            broken({"dtype": "float"}, *INPUT),
            "m/1/model.json: signatures.serving_default.inputs.image.dtype should be one of",
        ),
        (
            broken({"shape": [-2]}, *INPUT),
            "m/1/model.json: signatures.serving_default.inputs.image.shape should list sizes, with -1 for any",
        ),
        (
            broken({"range": {"minimum": "0"}}, *INPUT),
            "m/1/model.json: signatures.serving_default.inputs.image.range should hold numbers",
        ),
        (
            broken({"inputs": 3}, "signatures", "serving_default"),
            "m/1/model.json: signatures.serving_default.inputs should be an object, is a whole number",
        ),
        (
            broken({"serving_default": 3}, "signatures"),
            "m/1/model.json: signatures.serving_default should be an object, is a whole number",
        ),
        (
            broken({"../../secret": {"bytes": 1, "sha256": ""}}, "files"),
            "m/1/model.json: files['../../secret'] should be a path inside the version's folder",
        ),
        (
            broken({"/etc/passwd": {"bytes": 1, "sha256": ""}}, "files"),
            "m/1/model.json: files['/etc/passwd'] should be a path inside the version's folder",
        ),
        (
            broken({"model.tflite": {"bytes": "1", "sha256": ""}}, "files"),
            "m/1/model.json: files['model.tflite'].bytes should be a whole number, is text",
        ),
    ],
)
def test_a_wrong_field_is_named_with_what_it_should_be(document: object, message: str) -> None:
    """The message says which file, which field, what was expected and what came."""
    with pytest.raises(ModelError) as raised:
        parse_manifest(document, "m/1/model.json")

    assert raised.value.message.startswith(message)


@pytest.mark.parametrize("text", ["", "{", '{"format": 1', "\xff", "[" * 100_000])
def test_what_is_not_json_is_said_to_be_so(version_dir: Path, text: str) -> None:
    """A truncated, binary or endlessly nested model.json is a broken model, not a crash."""
    (version_dir / "model.json").write_bytes(text.encode("latin-1"))

    with pytest.raises(ModelError, match=r"^digits/1/model\.json: is not JSON: "):
        manifest_of(version_dir)


def test_a_missing_file_is_named_without_the_machine_s_path(version_dir: Path) -> None:
    """Messages reach callers, so they never tell where on the machine the models lie."""
    (version_dir / "model.json").unlink()

    with pytest.raises(ModelError) as raised:
        manifest_of(version_dir)

    assert raised.value.message == "digits/1/model.json: cannot be read: No such file or directory"


def test_a_version_copied_into_another_folder_is_refused(version_dir: Path) -> None:
    """A version that says it is another would be served under a number that it is not."""
    copied = version_dir.rename(version_dir.with_name("2"))

    with pytest.raises(ModelError, match="describes digits version 1, but lies in the folder digits/2"):
        manifest_of(copied)
