"""The LiteRT runtime answers right, from many threads at once, and says whose fault a failure is."""

import dataclasses
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.manifest import Manifest, Signature, TensorSpec
from model.runtimes import Runtime, litert
from model.runtimes.litert import KEPT_ROWS, LiteRTRuntime
from shared.errors import InvalidRequestError, ModelError
from tests.support import manifest_of

DIGITS = Path(__file__).parents[2] / "model" / "digits" / "1"
SERVING = "serving_default"

Array = NDArray[Any]


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return manifest_of(DIGITS)


@pytest.fixture(scope="module")
def content() -> bytes:
    return (DIGITS / "model.tflite").read_bytes()


@pytest.fixture(scope="module")
def runtime(content: bytes, manifest: Manifest) -> Runtime:
    return LiteRTRuntime(content, manifest.signatures)


@pytest.fixture(scope="module")
def held_out() -> tuple[Array, Array]:
    """The 360 images that no version was trained on, and their digits."""
    document = json.loads((DIGITS.parent / "held_out.json").read_bytes())
    return np.array(document["images"], np.float32), np.array(document["digits"], np.int64)


def changed(signature: Signature, side: str, name: str, **change: Any) -> dict[str, Signature]:
    """Return the signatures with one tensor described otherwise."""
    specs = dict(getattr(signature, side))
    specs[name] = dataclasses.replace(specs[name], **change)
    return {SERVING: dataclasses.replace(signature, **{side: specs})}


def test_the_bundled_model_is_as_accurate_as_it_says(
    runtime: Runtime, manifest: Manifest, held_out: tuple[Array, Array]
) -> None:
    """On the held-out images the accuracy is the one in model.json, within half a per cent."""
    images, digits = held_out

    answers = runtime.run(SERVING, {"image": images})

    accuracy = float(np.mean(answers["digit"] == digits))
    assert accuracy == pytest.approx(manifest.metrics["accuracy"], abs=0.005)
    assert accuracy >= 0.97


def test_answers_have_the_manifest_s_names_dtypes_and_shapes(runtime: Runtime, held_out: tuple[Array, Array]) -> None:
    """Probabilities add up to one, and the digit is the likeliest."""
    answers = runtime.run(SERVING, {"image": held_out[0][:7]})

    assert {name: (array.dtype.name, array.shape) for name, array in answers.items()} == {
        "digit": ("int64", (7,)),
        "probabilities": ("float32", (7, 10)),
    }
    np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(answers["probabilities"].argmax(axis=1), answers["digit"])


def test_an_answer_is_the_caller_s_to_keep(runtime: Runtime, held_out: tuple[Array, Array]) -> None:
    """The next call does not write into what an earlier one was given."""
    image = held_out[0][:1]
    answers = runtime.run(SERVING, {"image": image})
    kept = answers["probabilities"].copy()

    runtime.run(SERVING, {"image": 16 - image})

    np.testing.assert_array_equal(answers["probabilities"], kept)


def test_an_image_that_is_not_contiguous_in_memory_is_read_right(
    runtime: Runtime, held_out: tuple[Array, Array]
) -> None:
    """A transposed view answers like its copy."""
    view = held_out[0][:3].transpose(0, 2, 1)

    answers = runtime.run(SERVING, {"image": view})

    expected = runtime.run(SERVING, {"image": np.ascontiguousarray(view)})
    np.testing.assert_array_equal(answers["probabilities"], expected["probabilities"])


def test_sixteen_threads_with_unlike_batches_get_their_own_answers(
    content: bytes, manifest: Manifest, held_out: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two interpreters serve sixteen callers, each of another batch size, and mix nothing up."""
    built: list[int] = []

    class CountedInterpreter(litert.Interpreter):
        def __init__(self, **kwargs: Any) -> None:
            built.append(threading.get_ident())
            super().__init__(**kwargs)

    images = held_out[0]
    expected = LiteRTRuntime(content, manifest.signatures).run(SERVING, {"image": images})["probabilities"]
    monkeypatch.setattr(litert, "Interpreter", CountedInterpreter)
    runtime = LiteRTRuntime(content, manifest.signatures, pool_size=2)
    together = threading.Barrier(16)

    def call_often(caller: int) -> float:
        together.wait()
        worst = 0.0
        for turn in range(40):
            start, rows = (caller * 7 + turn) % 300, 1 + (caller + turn) % 60
            answers = runtime.run(SERVING, {"image": images[start : start + rows]})
            difference = np.abs(answers["probabilities"] - expected[start : start + rows])
            worst = max(worst, float(difference.max()))
        return worst

    with ThreadPoolExecutor(16) as callers:
        differences = list(callers.map(call_often, range(16)))

    assert max(differences) < 1e-5
    assert 1 <= len(built) <= 2


def test_a_large_batch_does_not_keep_its_memory(
    content: bytes, manifest: Manifest, held_out: tuple[Array, Array], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interpreter that grew is dropped, and the next call has a new one."""
    built: list[int] = []

    class CountedInterpreter(litert.Interpreter):
        def __init__(self, **kwargs: Any) -> None:
            built.append(1)
            super().__init__(**kwargs)

    monkeypatch.setattr(litert, "Interpreter", CountedInterpreter)
    runtime = LiteRTRuntime(content, manifest.signatures, pool_size=1)
    images = held_out[0]

    for rows in (1, KEPT_ROWS, 1, KEPT_ROWS + 1, 1, 1):
        assert len(runtime.run(SERVING, {"image": images[:rows]})["digit"]) == rows

    assert len(built) == 2


def test_no_rows_answer_no_rows(runtime: Runtime) -> None:
    """LiteRT cannot run an empty batch; the shapes of nothing come from the manifest."""
    answers = runtime.run(SERVING, {"image": np.zeros((0, 8, 8), np.float32)})

    assert {name: (array.dtype.name, array.shape) for name, array in answers.items()} == {
        "digit": ("int64", (0,)),
        "probabilities": ("float32", (0, 10)),
    }


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "Expected the inputs image; got none"),
        ({"picture": np.zeros((1, 8, 8), np.float32)}, "Expected the inputs image; got picture"),
        (
            {"image": np.zeros((1, 8, 8), np.float32), "x": np.zeros(1)},
            "Expected the inputs image; got image, x",
        ),
        ({"image": np.zeros((1, 8, 8))}, 'Input "image" should be float32, is float64'),
        ({"image": np.zeros((1, 8, 8), ">f4")}, 'Input "image" should be float32, is >f4'),
        ({"image": np.zeros((1, 8, 8), np.int64)}, 'Input "image" should be float32, is int64'),
        ({"image": np.zeros((1, 8, 8), object)}, 'Input "image" should be float32, is object'),
        ({"image": np.zeros((8, 8), np.float32)}, 'Input "image" should have the shape [-1,8,8], has [8,8]'),
        ({"image": np.zeros((1, 8, 7), np.float32)}, 'Input "image" should have the shape [-1,8,8], has [1,8,7]'),
        ({"image": np.zeros((0, 8, 7), np.float32)}, 'Input "image" should have the shape [-1,8,8], has [0,8,7]'),
        ({"image": np.float32(1)}, 'Input "image" should have the shape [-1,8,8], has []'),
    ],
)
def test_inputs_of_the_wrong_name_dtype_or_shape_are_the_caller_s_fault(
    runtime: Runtime, inputs: dict[str, Any], message: str
) -> None:
    """The message says what was expected and what came."""
    with pytest.raises(InvalidRequestError) as raised:
        runtime.run(SERVING, inputs)

    assert raised.value.message == message


def test_an_unknown_signature_is_refused_with_those_there_are(runtime: Runtime) -> None:
    """TensorFlow Serving's words, and then the names that would do."""
    with pytest.raises(InvalidRequestError) as raised:
        runtime.run("s", {"image": np.zeros((1, 8, 8), np.float32)})

    assert raised.value.message == (
        'Serving signature name: "s" not found in signature def. This model has: serving_default'
    )


def test_nan_goes_in_and_comes_out(runtime: Runtime) -> None:
    """A value that is no number is the model's business, not the runtime's."""
    answers = runtime.run(SERVING, {"image": np.full((1, 8, 8), np.nan, np.float32)})

    assert answers["probabilities"].shape == (1, 10)


@pytest.mark.parametrize(
    ("side", "name", "change", "message"),
    [
        ("inputs", "image", {"dtype": "int64"}, "inputs: image is int64 in model.json, float32 in the file"),
        (
            "inputs",
            "image",
            {"dtype": "string"},
            "inputs: image is a string tensor, which needs the runtime tensorflow",
        ),
        ("inputs", "image", {"shape": (None, 64)}, " image is [-1,64] in model.json, [-1,8,8] in the file"),
        ("outputs", "digit", {"dtype": "int32"}, "outputs: digit is int32 in model.json, int64 in the file"),
    ],
)
def test_a_file_that_disagrees_with_model_json_does_not_load(
    content: bytes, manifest: Manifest, side: str, name: str, change: dict[str, Any], message: str
) -> None:
    """A description that is wrong is found when the model is loaded, not by the first caller."""
    signatures = changed(manifest.signatures[SERVING], side, name, **change)

    with pytest.raises(ModelError) as raised:
        LiteRTRuntime(content, signatures, where="digits/1/model.tflite")

    assert raised.value.message.startswith("digits/1/model.tflite: signature serving_default")
    assert message in raised.value.message


def test_a_name_that_the_file_lacks_does_not_load(content: bytes, manifest: Manifest) -> None:
    """Both sides' names are in the message, for signatures as for tensors."""
    signature = manifest.signatures[SERVING]
    renamed = dataclasses.replace(signature, inputs={"x": TensorSpec("x", "float32", (None, 8, 8))})

    with pytest.raises(ModelError, match=r"model\.json has x; the file has image"):
        LiteRTRuntime(content, {SERVING: renamed})
    with pytest.raises(ModelError, match="has no signature other"):
        LiteRTRuntime(content, {"other": signature})


@pytest.mark.parametrize("damaged", [b"", b"not a model", b"\0\0\0\0TFL3" + b"\xff" * 100])
def test_a_file_that_is_no_model_does_not_load(damaged: bytes, manifest: Manifest) -> None:
    """Garbage whose hash was recorded is still refused, and does not end the process."""
    with pytest.raises(ModelError, match="is not a model that LiteRT can run"):
        LiteRTRuntime(damaged, manifest.signatures)


def test_a_truncated_file_does_not_end_the_process(content: bytes, manifest: Manifest) -> None:
    """LiteRT checks the file's structure before it follows its offsets."""
    with pytest.raises(ModelError):
        LiteRTRuntime(content[: len(content) // 2], manifest.signatures)
