"""python -m model check and add take anyone's SavedModel, say what it is, and never run what was not judged."""

import importlib
import json
import os
import shutil
import sys

import numpy as np
import pytest

from model.__main__ import main
from model.adding import examine
from model.adding.samples import is_batched, request_body, sample_inputs
from model.adding.suggest import suggest_concurrency, suggest_memory_mib
from model.example import example_inputs
from model.manifest import Signature, TensorSpec
from model.registry import Registry
from model.savedmodel.read import read_graph, read_signatures
from shared.errors import ModelError
from tests.unit.test_model_savedmodel import DIGITS, OLD_KERAS, in_a_while_body, write_model

REFUSED = (
    "only SavedModels are taken; a .keras or .h5 file is not opened, since loading one can run code that it holds; "
    "in Keras, model.export(folder) writes a SavedModel"
)

in_tensorflow = pytest.mark.xdist_group("tensorflow")


def fail_to_run(*arguments, **options):
    raise AssertionError("the model was run")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda path: None, "{path}: does not exist; name the folder that holds saved_model.pb"),
        (lambda path: path.write_text(""), "{path}: is a file; name the folder that holds saved_model.pb"),
        (lambda path: path.mkdir(), "{path}: holds no saved_model.pb, so it is not a SavedModel"),
        (
            lambda path: keras(path, "model.h5"),
            "{path}: holds no saved_model.pb, so it is not a SavedModel; " + REFUSED,
        ),
        (lambda path: damaged(path, b""), '{path}/saved_model.pb: holds 0 graphs and none is tagged "serve"'),
        (lambda path: damaged(path, b"\x00\xff"), "{path}/saved_model.pb: is not a SavedModel, or a damaged one"),
        (lambda path: damaged(path, None), "{path}/saved_model.pb: is not a SavedModel, or a damaged one"),
        (lambda path: linked(path), "{path}/variables/more: leads out of the folder"),
        (lambda path: large(path), "{path}: is 300 MB; the limit is 256 MB (--limit-mb)"),
        (
            lambda path: evil(path),
            "{path}: holds an operation that a served model must not: WriteFile (hidden in the function body), "
            "reached from a signature",
        ),
    ],
)
@pytest.mark.parametrize("command", ["check", "add"])
def test_what_cannot_be_served_is_refused_in_a_line_before_it_is_run(
    tmp_path, capsys, monkeypatch, command, prepare, message
):
    """Whatever PATH holds: exit code 1, one line, nothing added."""
    monkeypatch.setattr(examine, "run", fail_to_run)
    path, models = tmp_path / "model", tmp_path / "models"
    prepare(path)
    more = ["--name", "x", "--models-dir", str(models)] if command == "add" else []

    code = main([command, str(path), *more])

    assert code == 1
    assert capsys.readouterr().err == f"error: {message.format(path=path)}\n"
    assert not list(models.glob("x/*"))


@pytest.mark.parametrize("name", ["x.keras", "x.h5", "x.HDF5"])
@pytest.mark.parametrize("command", ["check", "add"])
def test_a_file_of_keras_s_own_is_refused_by_its_name(tmp_path, capsys, command, name):
    """What it holds is not looked at, which a pipe shows: who opened it would wait for ever. Nothing is added."""
    keras(tmp_path, name)
    more = ["--name", "x", "--models-dir", str(tmp_path / "models")] if command == "add" else []

    code = main([command, str(tmp_path / name), *more])

    assert code == 1
    assert capsys.readouterr().err == f"error: {tmp_path / name}: {REFUSED}\n"
    assert not list(tmp_path.glob("models/*/*"))


def keras(path, name):
    """Put a pipe where a file of Keras's own would be."""
    path.mkdir(exist_ok=True)
    os.mkfifo(path / name)


def damaged(path, content):
    path.mkdir()
    whole = (OLD_KERAS / "saved_model.pb").read_bytes()
    (path / "saved_model.pb").write_bytes(whole[: len(whole) // 2] if content is None else content)


def linked(path):
    damaged(path, b"")
    (path / "variables").mkdir()
    (path / "variables" / "more").symlink_to("/etc/hostname")


def large(path):
    damaged(path, b"")
    with (path / "saved_model.pb").open("wb") as file:
        file.truncate(300_000_000)


def evil(path):
    graph = read_graph(DIGITS, "m")
    in_a_while_body(graph)
    write_model(path, graph)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--name", "../x"], "argument --name: should be up to 100 letters"),
        (["--name", ""], "argument --name: should be up to 100 letters"),
        (["--name", "x", "--label", "a b"], "argument --label: should be up to 100 letters"),
        (["--name", "x", "--version", "0"], "argument --version: should be a whole number from 1"),
        (["--name", "x", "--limit-mb", "0"], "argument --limit-mb: should be a whole number from 1"),
        ([], "the following arguments are required: --name"),
    ],
)
def test_wrong_arguments_to_add_are_explained(arguments, message, capsys):
    """A name becomes a folder, so it is held to what is safe as one."""
    with pytest.raises(SystemExit) as raised:
        main(["add", str(OLD_KERAS), *arguments])

    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_add_refuses_an_existing_version_a_folder_of_code_and_a_wrong_models_yaml(tmp_path, capsys, monkeypatch):
    """All of it before the slow part."""
    monkeypatch.setattr(examine, "run", fail_to_run)
    (tmp_path / "x" / "1").mkdir(parents=True)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "__init__.py").touch()
    (tmp_path / "models.yaml").write_text("y: {default: 1}")

    for name, message in (
        ("x", "error: x version 1 exists already: name another version, or replace it with --force\n"),
        ("code", "error: code: is a folder of code, not a model; choose another name\n"),
        ("z", "error: Nightshift cannot start:\n  - models.yaml: y: there is no such model; there are x\n"),
    ):
        command = ["add", str(OLD_KERAS), "--models-dir", str(tmp_path), "--name", name, "--version", "1"]
        assert main([*command, "--label", "stable"]) == 1
        assert capsys.readouterr().err == message


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"rows": 1}'])
def test_an_example_that_is_no_request_is_refused(tmp_path, capsys, text):
    """It would be written into model.json and answered on every start."""
    (tmp_path / "example.json").write_text(text)

    assert main(["check", str(OLD_KERAS), "--example", str(tmp_path / "example.json")]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}/example.json: ")


def signature(inputs, outputs):
    def specs(tensors):
        return {name: TensorSpec(name, dtype, shape) for name, (dtype, shape) in tensors.items()}

    return Signature(specs(inputs), specs(outputs), "tensorflow/serving/predict")


@pytest.mark.parametrize(
    ("inputs", "batched"),
    [
        ({"x": ("float32", (None, 2)), "n": ("int64", (None,)), "s": ("string", (None, None))}, True),
        ({"x": ("float32", (3,)), "flag": ("bool", ())}, False),
        ({"image": ("uint8", (None, None, None, 3))}, True),
    ],
)
def test_a_sample_written_as_a_request_reads_back_the_same(inputs, batched):
    """What is measured is what model.json shows as the example."""
    made = signature(inputs, {"y": ("float32", (None,) if batched else ())})

    samples = sample_inputs(made, 2, 4)
    body = json.loads(json.dumps(request_body("serving_default", made, samples)))
    manifest = type("M", (), {"name": "m", "version": 1, "example": body, "signatures": {"serving_default": made}})
    name, read = example_inputs(manifest)

    assert (name, is_batched(made), "instances" in body) == ("serving_default", batched, batched)
    for key, array in samples.items():
        assert (array.shape, array.dtype) == (read[key].shape, read[key].dtype)
        np.testing.assert_array_equal(array, read[key])


@pytest.mark.parametrize(
    ("peak_mb", "memory_mib"), [(55, 256), (150, 256), (160, 512), (600, 1024), (2000, 4096), (99_000, 32768)]
)
def test_memory_is_suggested_with_room_to_spare(peak_mb, memory_mib):
    """A third more than the model took, and what the server takes, rounded up to what is usual."""
    assert suggest_memory_mib(peak_mb * 1e6) == memory_mib


@pytest.mark.parametrize(("latency_ms", "concurrency"), [(0, 80), (0.1, 80), (10, 20), (150, 1), (5000, 1)])
def test_concurrency_is_suggested_from_the_time_of_a_call(latency_ms, concurrency):
    """What an instance takes at once it can answer within a fifth of a second."""
    assert suggest_concurrency(latency_ms) == concurrency


@pytest.mark.tensorflow
@in_tensorflow
def test_check_says_everything_of_an_old_keras_model(capsys):
    """Signatures, size, operations, LiteRT, both runtimes and what to deploy it with."""
    assert main(["check", str(OLD_KERAS)]) == 0

    shown = " ".join(capsys.readouterr().out.split())
    for part in (
        "Signature serving_default",
        "takes measurements: float32 [-1, 4]",
        "answers kind: float32 [-1, 3]",
        "Size 0.1 MB of 256 MB allowed",
        "Operations all on the allow-list",
        "LiteRT yes; differs by ",
        "litert loads in ",
        "(v1 loader), answers in ",
        "service.yaml memory: 256Mi concurrency: 80",
    ):
        assert part in shown


def test_a_predictor_that_does_not_run_is_refused_before_anything_is(tmp_path, capsys, monkeypatch):
    """It is named, and the model is not touched."""
    monkeypatch.setattr(examine, "run", fail_to_run)
    shutil.copytree(DIGITS, tmp_path / "model")
    (tmp_path / "model" / "predictor.py").write_text("def preprocess(:")

    code = main(["add", str(tmp_path / "model"), "--name", "x", "--models-dir", str(tmp_path / "models")])

    assert code == 1
    assert capsys.readouterr().err.startswith("error: predictor.py: cannot be run: SyntaxError")


@in_tensorflow
def test_a_predictor_comes_along_with_the_model_and_is_hashed(tmp_path):
    """It is a file of the version like any other, and runs around it."""
    shutil.copytree(DIGITS, tmp_path / "model")
    (tmp_path / "model" / "predictor.py").write_text("def postprocess(predictions): return ['mine']")

    code = main(["add", str(tmp_path / "model"), "--name", "x", "--models-dir", str(tmp_path / "models")])

    found = Registry.scan(tmp_path / "models").find("x")
    assert code == 0
    assert "predictor.py" in found.manifest.files
    assert found.predictor().postprocess([1]) == ["mine"]


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """A models folder to which the real command added old_keras with a label and an example, and a Keras 3 export."""
    keras = importlib.import_module("keras")
    folder = tmp_path_factory.mktemp("added")
    models, exported, example = folder / "models", folder / "exported", folder / "example.json"
    example.write_text('{"instances": [{"measurements": [0, 1, 0, 1]}]}')
    layers = keras.layers
    network = keras.Sequential([keras.Input((4,), name="m"), layers.Dense(8), layers.Dropout(0.5), layers.Dense(3)])
    network.compile("adam", "mse")
    network.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0)
    network.export(exported, verbose=0)
    common = ["--models-dir", str(models)]
    old = ["--name", "old", "--version", "7", "--label", "stable", "--example", str(example)]
    assert main(["add", str(OLD_KERAS), *old, *common]) == 0
    (models / "new" / "1").mkdir(parents=True)
    assert main(["add", str(exported), "--name", "new", "--version", "1", "--force", *common]) == 0
    return models, network


@pytest.mark.tensorflow
@in_tensorflow
def test_an_added_old_keras_model_is_served_by_litert_under_its_label(added):
    """Converted with its signature, described, hashed, labelled, and the same by both runtimes."""
    found = Registry.scan(added[0]).find("old", label="stable")
    manifest = found.manifest
    inputs = {"measurements": np.array([[0, 0, 0, 0]], np.float32)}
    tensorflow = importlib.import_module("model.runtimes.tensorflow")

    answer = found.load().run("serving_default", inputs)["kind"]
    slow = tensorflow.TensorFlowRuntime(added[0] / "old" / "7", manifest.signatures).run("serving_default", inputs)

    assert (found.version, manifest.runtimes) == (7, ("litert", "tensorflow"))
    np.testing.assert_allclose(answer, slow["kind"], atol=1e-6)
    assert manifest.example == {"instances": [{"measurements": [0, 1, 0, 1]}]}
    assert manifest.raw["operations"] == {"verdict": "allowed"}
    assert manifest.raw["batching"]["speedup_at_8"] > 0
    assert manifest.raw["litert"]["max_difference"] < 1e-5
    assert set(manifest.raw["measured"]) == {"litert", "tensorflow"}
    assert manifest.raw["measured"]["litert"]["memory_bytes"] < manifest.raw["measured"]["tensorflow"]["memory_bytes"]
    assert set(manifest.files) == {
        *("model.tflite", "saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"),
    }


@pytest.mark.tensorflow
@in_tensorflow
def test_an_added_keras_export_answers_like_its_network(added):
    """Every signature of it: the converter keeps one of the two that are the same function."""
    models, network = added
    found = Registry.scan(models).find("new")
    inputs = np.random.default_rng(1).random((5, 4)).astype(np.float32)

    answers = [found.load().run(name, {"m": inputs})["output_0"] for name in ("serving_default", "serve")]

    assert found.manifest.runtimes == ("litert", "tensorflow")
    for answer in answers:
        np.testing.assert_allclose(answer, network(inputs), atol=1e-5)


@pytest.mark.tensorflow
@in_tensorflow
def test_a_conversion_that_fails_names_the_operation(tmp_path):
    """So that the model's owner can see what to do without."""
    tf = importlib.import_module("tensorflow")
    conversion = importlib.import_module("model.training.conversion")
    module, spec = tf.Module(), tf.TensorSpec([None], tf.string, name="word")
    module.upper = tf.function(lambda word: {"upper": tf.strings.upper(word)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.upper})
    signatures = read_signatures(read_graph(tmp_path, "m"), "m")

    with pytest.raises(ModelError, match=r"^LiteRT has no StringUpper that would do$"):
        conversion.convert_directly(tmp_path, signatures, ["serve"])


@pytest.mark.tensorflow
@in_tensorflow
def test_a_conversion_that_answers_otherwise_is_not_taken(added):
    """Neither of other weights, nor of a signature that only looks the same."""
    agreement = importlib.import_module("model.training.agreement")
    found = Registry.scan(added[0]).find("new").manifest
    content = (added[0] / "new" / "1" / "model.tflite").read_bytes()
    inputs = {"m": np.ones((2, 4), np.float32)}
    wrong = {"output_0": np.full((2, 3), 0.5, np.float32)}

    for name in ("serve", "serving_default"):
        samples, answers = {"serve": inputs, name: inputs}, {name: wrong}
        if name != "serve":
            answers["serve"] = {"output_0": added[1](inputs["m"]).numpy()}
        with pytest.raises(ModelError, match=f"^{name}: output_0: LiteRT and TensorFlow differ by "):
            agreement.largest_difference(content, found.signatures, samples, answers, found.litert_signatures)
    with pytest.raises(ModelError, match="lost the signature serve, and no sample shows"):
        agreement.largest_difference(content, found.signatures, {}, {}, found.litert_signatures)


@pytest.mark.parametrize(
    ("code", "ended"), [("import os; os.kill(os.getpid(), 11)", "SIGSEGV"), ("exit(3)", "exit code 3")]
)
def test_a_model_that_ends_its_process_gives_one_line(tmp_path, monkeypatch, code, ended):
    """A crash in TensorFlow's own code takes the step with it, and not the command."""
    monkeypatch.setattr(examine, "step_command", lambda *_: [sys.executable, "-c", code])
    found = examine.read(OLD_KERAS, 10**6)

    with pytest.raises(ModelError, match=f"^the model ended tensorflow's process with {ended}$"):
        examine.run(found, None, lambda part: None)
