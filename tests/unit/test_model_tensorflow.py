"""The TensorFlow runtime serves what LiteRT cannot, loads old Keras, and runs nothing that was not judged."""

import importlib
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from model.registry import Registry
from model.savedmodel.read import read_bare
from model.storage.folder import FolderVersion
from model.training.version_directory import describe_signatures, write_manifest
from shared.errors import InvalidRequestError, ModelError
from tests.support import manifest_of

pytestmark = [pytest.mark.tensorflow, pytest.mark.xdist_group("tensorflow")]

ROOT = Path(__file__).parents[2]
OLD_KERAS = ROOT / "tests" / "samples" / "models" / "old_keras"
SERVING = "serving_default"
# What the maker of old_keras answered when it was saved.
MEASUREMENTS = np.array([[0, 0, 0, 0], [1, 0.5, 0, 1]], np.float32)


@pytest.fixture(scope="module")
def tf():
    """TensorFlow, imported when the first of these tests runs and not when they are collected."""
    return importlib.import_module("tensorflow")


@pytest.fixture(scope="module")
def runtimes(tf):
    return importlib.import_module("model.runtimes.tensorflow")


def strings(*values):
    return np.array(values, object)


@pytest.fixture(scope="module")
def words(tf, tmp_path_factory):
    """A models folder with words/1: a bare SavedModel of strings, a table, an image and a lookup that can fail."""
    models = tmp_path_factory.mktemp("models")
    module, text = tf.Module(), tf.TensorSpec([None], tf.string, name="word")
    pairs = tf.lookup.KeyValueTensorInitializer(["a", "b"], tf.constant([1, 2], tf.int64))
    module.table, module.numbers = tf.lookup.StaticHashTable(pairs, -1), tf.Variable([10.0, 20.0, 30.0])
    scalar = tf.TensorSpec([], tf.string, name="png")

    @tf.function(input_signature=[text])
    def look_up(word):
        return {"upper": tf.strings.upper(word), "id": module.table.lookup(word)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32, name="index")])
    def gather(index):
        return {"value": tf.gather(module.numbers, index)}

    @tf.function(input_signature=[scalar])
    def decode(png):
        return {"pixels": tf.io.decode_png(png), "same": png}

    @tf.function(input_signature=[tf.TensorSpec(None, tf.float32, name="x")])
    def double(x):
        return {"y": x * 2}

    signatures = {SERVING: look_up, "gather": gather, "decode": decode, "double": double}
    module.functions = list(signatures.values())
    tf.saved_model.save(module, str(models / "words" / "1"), signatures=signatures)
    return models


@pytest.fixture(scope="module")
def loaders(words, runtimes):
    """The same model through both loaders, by the loader's name."""
    folder = words / "words" / "1"
    v2 = runtimes.TensorFlowRuntime(folder, read_bare(FolderVersion(folder)).signatures, where="words/1")
    original, runtimes._load_v2 = runtimes._load_v2, refuse
    v1 = runtimes.TensorFlowRuntime(folder, read_bare(FolderVersion(folder)).signatures, where="words/1")
    runtimes._load_v2 = original
    return {"v1": v1, "v2": v2}


def refuse(*arguments):
    raise AttributeError("'_UserObject' object has no attribute 'add_slot'")


@pytest.fixture(params=["v1", "v2"])
def runtime(request, loaders):
    assert loaders[request.param].loader == request.param
    return loaders[request.param]


def test_strings_are_bytes_in_and_out(runtime):
    """Any bytes, not only text; and a batch of none."""
    answers = runtime.run(SERVING, {"word": strings(b"a", b"\xff\x00", b"zz")})
    nothing = runtime.run(SERVING, {"word": strings()})

    assert answers["upper"].dtype == object
    assert answers["upper"].tolist() == [b"A", b"\xff\x00", b"ZZ"]
    assert answers["id"].tolist() == [1, -1, -1]
    assert (nothing["upper"].shape, nothing["id"].dtype) == ((0,), np.int64)


def test_scalars_and_any_rank_are_taken(runtime):
    """A signature without a batch, and one that leaves its shape open."""
    png = importlib.import_module("tensorflow").io.encode_png(np.zeros((2, 3, 1), np.uint8)).numpy()

    image = runtime.run("decode", {"png": np.array(png, object)})

    assert image["pixels"].shape == (2, 3, 1)
    assert (image["same"].shape, image["same"].dtype, image["same"].item()) == ((), object, png)
    for shape in ((), (2,), (1, 2, 3)):
        assert runtime.run("double", {"x": np.ones(shape, np.float32)})["y"].shape == shape


def test_an_answer_is_the_caller_s_to_change(runtime):
    """It is no view of what the next caller gets."""
    first = runtime.run("gather", {"index": np.array([0], np.int32)})
    first["value"][:] = 99

    assert runtime.run("gather", {"index": np.array([0], np.int32)})["value"].tolist() == [10]


@pytest.mark.parametrize(
    ("name", "inputs", "message"),
    [
        ("gather", {"index": np.array([7], np.int32)}, "The model cannot take these inputs: indices[0] = 7 is not in"),
        ("decode", {"png": np.array(b"x", object)}, "The model cannot take these inputs: Unknown image file format."),
        ("other", {}, 'Serving signature name: "other" not found in signature def. This model has: decode, double'),
        (SERVING, {}, "Expected the inputs word; got none"),
        (SERVING, {"word": np.zeros(1, np.float32)}, 'Input "word" should be string, is float32'),
        ("gather", {"index": np.zeros((1, 1), np.int32)}, 'Input "index" should have the shape [-1], has [1,1]'),
    ],
)
def test_what_the_caller_did_wrong_is_said_in_a_line(runtime, name, inputs, message):
    """Without node names, stack traces or paths; and the next call works."""
    with pytest.raises(InvalidRequestError) as raised:
        runtime.run(name, inputs)

    assert raised.value.message.startswith(message)
    assert not any(part in raised.value.message for part in ("{{", "[[", "\n", "__inference"))
    assert runtime.run("gather", {"index": np.array([1], np.int32)})["value"].tolist() == [20]


@pytest.mark.parametrize(
    ("report", "sentence"),
    [
        (
            "{{function_node f_1}} indices[0] = 7 is not in [0, 3)\n\t [[{{node Gather}}]]",
            "indices[0] = 7 is not in [0, 3)",
        ),
        ("{{function_node f_1}} bad number [Op:__inference_f_1]", "bad number"),
        ("Graph execution error:\n\nDetected at node X defined at:\n<no traces>\nbad\n\t [[{{node X}}]]", "bad"),
        ("2 root error(s) found.\n  (0) INVALID_ARGUMENT: bad\n\t [[{{node X}}]]\n  (1) INVALID_ARGUMENT: b", "bad"),
        ("", "no reason given"),
    ],
)
def test_a_report_is_reduced_to_its_sentence(runtimes, report, sentence):
    """Whichever of TensorFlow's forms it has."""
    assert runtimes.short_message(report) == sentence


def test_a_failure_that_is_not_the_caller_s_is_ours(tf, runtimes, tmp_path):
    """What fails for want of something in the model is no reason to blame the request."""
    module = tf.Module()
    module.table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, -1)
    spec = tf.TensorSpec([None], tf.float32, name="x")
    module.double = tf.function(lambda x: {"y": x * 2}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path), signatures={SERVING: module.double})
    runtime = runtimes.TensorFlowRuntime(tmp_path, read_signatures_of(tmp_path))

    def fail(inputs):
        raise tf.errors.FailedPreconditionError(None, None, "Table not initialized.")

    runtime._functions[SERVING] = fail

    with pytest.raises(ModelError, match=r"^the model failed: Table not initialized\.$"):
        runtime.run(SERVING, {"x": np.ones(1, np.float32)})


def read_signatures_of(folder):
    read = importlib.import_module("model.savedmodel.read")
    return read.read_signatures(read.read_graph(folder, "m"), "m")


def test_old_keras_is_loaded_by_the_v1_loader(tf, runtimes):
    """The v2 loader refuses it because of its optimizer, and the answers are its maker's."""
    with pytest.raises(AttributeError, match="add_slot"):
        tf.saved_model.load(str(OLD_KERAS))

    runtime = runtimes.TensorFlowRuntime(OLD_KERAS, read_signatures_of(OLD_KERAS))
    answers = runtime.run(SERVING, {"measurements": MEASUREMENTS})

    assert runtime.loader == "v1"
    np.testing.assert_allclose(answers["kind"][0], [0.3458586, 0.31578028, 0.33836117], rtol=1e-5)


def test_what_neither_loader_takes_says_why_without_paths(runtimes, tmp_path):
    """Both reasons, and the version instead of the machine's folder."""
    shutil.copy(OLD_KERAS / "saved_model.pb", tmp_path)

    with pytest.raises(ModelError) as raised:
        runtimes.TensorFlowRuntime(tmp_path, read_signatures_of(tmp_path), where="old/1")

    assert raised.value.message.startswith("old/1: TensorFlow cannot load it: ")
    assert "; nor can its v1 loader: " in raised.value.message
    assert str(tmp_path) not in raised.value.message


def test_model_json_must_agree_with_the_graph(runtimes, loaders, words):
    """A description that is wrong is found when the model is loaded."""
    folder = words / "words" / "1"
    signatures = read_bare(FolderVersion(folder)).signatures

    with pytest.raises(ModelError, match="has no signature other"):
        runtimes.TensorFlowRuntime(folder, {"other": signatures["gather"]})
    with pytest.raises(ModelError, match=r"signature gather, inputs: model\.json has"):
        runtimes.TensorFlowRuntime(folder, {"gather": signatures["double"]})


def test_fifty_first_requests_give_one_load_and_fifty_answers(words, runtimes, monkeypatch):
    """A bare SavedModel is served as it lies there: found, loaded once under a lock, answering all."""
    loads = []

    class CountedRuntime(runtimes.TensorFlowRuntime):
        def __init__(self, *args, **kwargs):
            loads.append(threading.get_ident())
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(runtimes, "TensorFlowRuntime", CountedRuntime)
    found, together = Registry.scan(words).find("words"), threading.Barrier(50)

    def first_request(index):
        together.wait()
        return found.load().run("gather", {"index": np.array([index % 3], np.int32)})["value"].item()

    with ThreadPoolExecutor(50) as callers:
        answers = list(callers.map(first_request, range(50)))

    assert len(loads) == 1
    assert answers == [[10, 20, 30][index % 3] for index in range(50)]


def test_no_more_calls_run_at_once_than_the_pool_allows(words, runtimes):
    """Memory is bounded by it, as with LiteRT."""
    folder = words / "words" / "1"
    runtime = runtimes.TensorFlowRuntime(folder, read_bare(FolderVersion(folder)).signatures, pool_size=2)
    running, most, lock = [], [], threading.Lock()
    answer = runtime._functions["gather"]

    def watched(inputs):
        with lock:
            running.append(1)
            most.append(len(running))
        try:
            return answer(inputs)
        finally:
            with lock:
                running.pop()

    runtime._functions["gather"] = watched
    with ThreadPoolExecutor(16) as callers:
        list(callers.map(lambda _: runtime.run("gather", {"index": np.array([0], np.int32)}), range(64)))

    assert 1 <= max(most) <= 2


@pytest.fixture
def described(words, tmp_path):
    """A models folder with words/1 and a model.json that lists its files."""
    folder = Path(shutil.copytree(words / "words" / "1", tmp_path / "models" / "words" / "1"))
    document = {
        "format": 1,
        "name": "words",
        "version": 1,
        "signatures": describe_signatures(read_bare(FolderVersion(folder)).signatures, {}),
        "runtimes": ["tensorflow"],
        "example": {"signature_name": "gather", "inputs": {"index": [1]}},
    }
    write_manifest(folder, document)
    return folder


def test_a_described_version_is_served_and_warmed(described, runtimes, monkeypatch):
    """Also one with a signature of any rank, which model.json writes as a shape of null."""
    warmed, run = [], runtimes.TensorFlowRuntime.run
    monkeypatch.setattr(
        runtimes.TensorFlowRuntime, "run", lambda self, *call: warmed.append(call[0]) or run(self, *call)
    )

    Registry.scan(described.parents[1]).find("words").load()

    assert warmed == ["gather"]
    assert json.loads((described / "model.json").read_text())["signatures"]["double"]["inputs"]["x"]["shape"] is None
    assert manifest_of(described).signatures["double"].inputs["x"].unknown_rank


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: flip(folder / "variables" / "variables.data-00000-of-00001"), "sha256 does not match"),
        (lambda folder: (folder / "variables" / "variables.index").unlink(), "cannot be read: No such file"),
        (
            lambda folder: (folder / "variables" / "more").write_text(""),
            "is not one of the files that model.json lists",
        ),
        (lambda folder: link_out(folder / "variables" / "variables.index"), "leads out of the models folder"),
        (lambda folder: link_out(folder / "variables"), "leads out of the models folder"),
    ],
)
def test_files_that_are_not_what_was_checked_are_refused(described, spoil, message):
    """Changed, missing, added or pointing elsewhere: nothing is loaded."""
    spoil(described)

    with pytest.raises(ModelError, match=message):
        Registry.scan(described.parents[1]).find("words").load()


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def link_out(path):
    models = next(parent for parent in path.parents if parent.name == "models")
    outside = models.parent / "outside"
    path.rename(outside)
    path.symlink_to(outside)


def test_a_bare_savedmodel_may_not_lead_outside(words, tmp_path):
    """As with every other version."""
    folder = Path(shutil.copytree(words / "words" / "1", tmp_path / "models" / "words" / "1"))
    link_out(folder / "variables")

    with pytest.raises(ModelError, match=r"^words/1/variables: leads out of the models folder$"):
        Registry.scan(tmp_path / "models").find("words").load()


def test_loading_and_answering_write_nothing(words):
    """A function's file system is memory."""

    def snapshot():
        return {str(path): path.stat().st_mtime_ns for path in words.rglob("*")}

    before = snapshot()

    Registry.scan(words).find("words").load().run("gather", {"index": np.array([0], np.int32)})

    assert snapshot() == before


@pytest.mark.parametrize("where", ["the initialiser", "a while body", "the restore function"])
def test_a_model_that_writes_a_file_is_refused_before_it_can(tf, tmp_path, where):
    """Made by TensorFlow itself, loaded as a bare SavedModel: the file is not written."""
    written, folder = tmp_path / "written", tmp_path / "models" / "evil" / "1"
    module, spec = tf.Module(), tf.TensorSpec([None], tf.float32, name="x")

    class Table(tf.lookup.StaticHashTable):
        def _initialize(self):
            tf.io.write_file(str(written), "x")
            return super()._initialize()

    class Restored(tf.__internal__.tracking.AutoTrackable):
        def _serialize_to_tensors(self):
            return {"value": tf.constant(1.0)}

        def _restore_from_tensors(self, restored):
            tf.io.write_file(str(written), "x")
            return restored["value"]

    @tf.function(input_signature=[spec])
    def serve(x):
        if where == "a while body":
            count = tf.constant(0)
            while count < 2:
                tf.io.write_file(str(written), "x")
                count += 1
        return {"y": x}

    module.serve = serve
    if where == "the initialiser":
        module.table = Table(tf.lookup.KeyValueTensorInitializer(["a"], [1]), -1)
    if where == "the restore function":
        module.restored = Restored()
    tf.saved_model.save(module, str(folder), signatures={SERVING: serve})
    written.unlink(missing_ok=True)

    found = Registry.scan(tmp_path / "models").find("evil")

    with pytest.raises(ModelError, match=r"^evil/1: holds an operation that a served model must not: WriteFile "):
        found.load()
    assert not written.exists()
