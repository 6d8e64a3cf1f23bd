"""Models that are damaged on the disk, or that answer what no model should: said plainly, and nothing goes down."""

import ast
import base64
import json
import shutil
import subprocess
import sys

import numpy
import pytest

from shared.config import ROOT, child_environment

PREDICT = "/v1/models/faulty:predict"
DIGITS = ROOT / "model/digits/1"

# In a process of its own: a loader that crashes takes its process along, which is to be seen here. A damaged version is
# refused in one line that names it, or answers: nothing else may come of it.
DAMAGE_AND_LOAD = """
import hashlib, json, os, random, sys
from pathlib import Path
import numpy
from model.registry import Registry
from shared.errors import ModelError, ServiceError

models, recorded = Path(sys.argv[1]), sys.argv[2] == "recorded"
manifest, outcomes = models / "digits/1/model.json", {}


def load_and_ask():
    version = Registry.scan(models).find("digits")
    (name, signature), *_ = version.sound_manifest().signatures.items()
    specs = signature.inputs.values()
    version.load().run(name, {spec.name: numpy.zeros([n or 1 for n in spec.shape], spec.dtype) for spec in specs})


for file, times in zip(sys.argv[3::2], map(int, sys.argv[4::2])):
    path = models / "digits/1" / file
    content, outcomes[file] = path.read_bytes(), []
    for seed in range(times):
        print("damage", seed, "of", file, flush=True)
        chance, damaged = random.Random(seed), bytearray(content)
        if seed % 5:
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        else:
            del damaged[chance.randrange(len(damaged)) :]
        path.write_bytes(damaged)
        if recorded:
            document = json.loads(manifest.read_text())
            document["files"][file] = {"bytes": len(damaged), "sha256": hashlib.sha256(damaged).hexdigest()}
            manifest.write_text(json.dumps(document))
        try:
            load_and_ask()
        except ServiceError as error:
            assert error.message.startswith("digits") or not isinstance(error, ModelError), error.message
            assert "\\n" not in error.message and str(models) not in error.message, error.message
            outcomes[file].append(error.http_status)
        else:
            outcomes[file].append(200)
    path.write_bytes(content)
print(json.dumps(outcomes))
"""


def damaged(models, recorded, **times):
    """Damage each file so many times; return 200 or the status of the refusal for each, by file."""
    command = [sys.executable, "-c", DAMAGE_AND_LOAD, str(models), "recorded" if recorded else "not"]
    command += [word for file, count in times.items() for word in (file, str(count))]
    environment = child_environment({"TF_CPP_MIN_LOG_LEVEL": "3"})
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environment, check=False)
    printed = done.stdout.splitlines()
    assert done.returncode == 0, f"{printed[-1:]} {done.stderr[-2000:]}"
    return json.loads(printed[-1])


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
def test_fifty_damages_to_a_bare_savedmodel_do_not_end_the_process(tmp_path):
    """Nothing says what its files should be: TensorFlow loads what it can, and refuses the rest."""
    shutil.copytree(DIGITS, tmp_path / "digits/1")
    for file in ("model.json", "model.tflite"):
        (tmp_path / "digits/1" / file).unlink()
    index, weights = "variables/variables.index", "variables/variables.data-00000-of-00001"

    outcomes = damaged(tmp_path, False, **{"saved_model.pb": 50, index: 10, weights: 10})

    assert {status for statuses in outcomes.values() for status in statuses} <= {200, 400, 500}
    assert outcomes["saved_model.pb"].count(500) >= 10  # those that were cut short, at least
    assert set(outcomes[weights]) == {500}  # TensorFlow keeps checksums of these


@pytest.mark.parametrize("recorded", [False, True], ids=["unnoticed", "recorded"])
def test_fifty_damages_to_a_litert_file_do_not_end_the_process(tmp_path, recorded):
    """A file that is not what was recorded is never loaded; one that was recorded as it is stops at LiteRT."""
    shutil.copytree(DIGITS, tmp_path / "digits/1")

    statuses = damaged(tmp_path, recorded, **{"model.tflite": 50})["model.tflite"]

    if recorded:
        assert set(statuses) <= {200, 500}
        assert statuses.count(500) >= 5
    else:
        assert set(statuses) == {500}


FLIP_AND_BUILD = """
import sys
from pathlib import Path
from model.registry import Registry
from model.runtimes.litert import LiteRTRuntime
from shared.errors import ModelError

signatures = Registry.scan(Path(sys.argv[1])).find("digits").sound_manifest().signatures
content, refused = Path(sys.argv[1], "digits/1/model.tflite").read_bytes(), set()
for at in range(300):
    for bit in range(8):
        damaged = bytearray(content)
        damaged[at] ^= 1 << bit
        try:
            LiteRTRuntime(bytes(damaged), signatures)
        except ModelError as error:
            assert "\\n" not in error.message, error.message
            refused.add(type(error.__cause__).__name__)
print(sorted(refused))
"""


def test_every_bit_where_a_litert_file_lists_its_parts_may_be_wrong():
    """Recorded or not: refused whatever LiteRT and its bindings raise over it, or it builds."""
    command = [sys.executable, "-c", FLIP_AND_BUILD, str(ROOT / "model")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    assert done.returncode == 0, done.stderr[-2000:]
    assert {"TypeError", "ValueError"} <= set(ast.literal_eval(done.stdout))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A bare SavedModel whose signatures answer NaN, rows that do not match, or not at all."""
    import tensorflow as tf

    module, numbers = tf.Module(), [tf.TensorSpec([None], tf.float32, name="x")]
    whole, texts = [tf.TensorSpec([None], tf.int32, name="x")], [tf.TensorSpec([None], tf.string, name="inputs")]

    def rows(text):
        return tf.zeros([tf.shape(text)[0], 2])

    signatures = {
        "nan": (lambda x: {"y": x / 0.0}, numbers),
        "unlike": (lambda x: {"a": x, "b": tf.concat([x, x], 0)}, numbers),
        "fewer": (lambda x: {"y": x[:1]}, numbers),
        "scalar": (lambda x: {"a": x, "b": tf.reduce_sum(x)}, numbers),
        "divides": (lambda x: {"y": 6 // x}, whole),
        "gathers": (lambda x: {"y": tf.gather([1.0, 2.0], x)}, whole),
        "complex": (lambda x: {"y": tf.complex(x, x)}, numbers),
        "flat_scores": (lambda inputs: {"scores": rows(inputs)[:, 0]}, texts),
        "wide_values": (lambda inputs: {"outputs": rows(inputs)}, texts),
        "unlike_classes": (lambda inputs: {"classes": inputs[:, None], "scores": rows(inputs)}, texts),
        "loose": (lambda x: {"y": tf.strings.upper(x)}, [tf.TensorSpec(None, tf.string, name="x")]),
        "bytes": (lambda inputs: {"classes": tf.fill([tf.size(inputs), 1], b"\xff")}, texts),
    }
    functions = {name: tf.function(body, input_signature=specs) for name, (body, specs) in signatures.items()}
    module.functions = list(functions.values())
    folder = tmp_path_factory.mktemp("models")
    tf.saved_model.save(module, str(folder / "faulty/1"), signatures=functions)
    return folder


ROWS = [
    # (signature, form, values, status, answer or a part of the error)
    ("nan", "instances", [0, 1, -1], 200, b'{"predictions":[NaN,Infinity,-Infinity]}\n'),
    ("nan", "inputs", [0, 1, -1], 200, b'{"outputs":[NaN,Infinity,-Infinity]}\n'),
    ("unlike", "instances", [1, 2], 400, "inconsistent batch size"),
    ("unlike", "inputs", [1, 2], 200, {"outputs": {"a": [1.0, 2.0], "b": [1.0, 2.0, 1.0, 2.0]}}),
    ("fewer", "instances", [1, 2], 200, b'{"predictions":[1.0]}\n'),
    ("scalar", "instances", [1, 2], 400, "has no shape information"),
    ("divides", "instances", [0], 400, "The model cannot take these inputs"),
    ("divides", "instances", [3], 200, b'{"predictions":[2]}\n'),
    ("gathers", "instances", [2], 400, "The model cannot take these inputs"),
    ("gathers", "instances", [-1], 400, "The model cannot take these inputs"),
    ("complex", "instances", [1], 400, "Failed to write JSON value for tensor type: complex64"),
]


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize(("name", "form", "values", "status", "told"), ROWS)
def test_what_a_model_makes_of_its_inputs_is_told_as_it_is(client, models, name, form, values, status, told):
    """NaN as a token, shapes as they came; what has no rows, or no JSON, is 400, as in TensorFlow Serving."""
    body = json.dumps({"signature_name": name, form: values})

    answer = client("predict", MODELS_DIR=str(models)).post(PREDICT, data=body)

    assert answer.status_code == status
    if isinstance(told, bytes):
        assert answer.data == told
    elif isinstance(told, dict):
        assert json.loads(answer.data) == told
    else:
        assert told in json.loads(answer.data)["error"]


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize(
    ("name", "verb", "message"),
    [
        ("flat_scores", "classify", "expected outputs classes and scores of shape [batch, classes]"),
        ("unlike_classes", "classify", "expected outputs classes and scores of shape [batch, classes]"),
        ("wide_values", "classify", "expected outputs classes and scores"),
        ("wide_values", "regress", "of shape [batch] or [batch, 1]"),
        ("flat_scores", "regress", "expected one output, outputs"),
        ("bytes", "classify", "holds bytes that are not UTF-8"),
    ],
)
def test_answers_of_the_wrong_shape_are_the_model_s_fault(client, models, name, verb, message):
    """Nothing that a caller could mend: 500, in one line, and the next call is answered."""
    predict = client("predict", MODELS_DIR=str(models))
    features = {"x": {"b64": base64.b64encode(b"\xff\xfe").decode()}}
    body = json.dumps({"signature_name": name, "examples": [features]})

    answer = predict.post(f"/v1/models/faulty:{verb}", data=body)

    assert answer.status_code == 500
    assert message in json.loads(answer.data)["error"]
    good = predict.post(PREDICT, data=b'{"signature_name": "divides", "instances": [2]}')
    assert json.loads(good.data) == {"predictions": [3]}


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("rank", [1, 32, 33, 61])
def test_any_rank_is_one_that_tensorflow_survives(client, models, rank):
    """Over texts of more than 32 dimensions it would end the process, and each bracket costs its sender two bytes."""
    value = "a"
    for _ in range(rank):
        value = [value]

    answer = client("predict", MODELS_DIR=str(models)).post(
        PREDICT, data=json.dumps({"signature_name": "loose", "inputs": value})
    )

    if rank <= 32:
        assert json.loads(answer.data) == {"outputs": json.loads(json.dumps(value).upper())}
    else:
        assert answer.status_code == 400
        assert "may have 32 dimensions" in json.loads(answer.data)["error"]


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
def test_litert_blames_the_caller_once_the_model_has_answered(tmp_path):
    """Zeros of the smallest shape tell nothing of a model that takes four columns, or that divides."""
    import tensorflow as tf

    from model.manifest import Signature, TensorSpec
    from model.runtimes.litert import LiteRTRuntime
    from shared.errors import InvalidRequestError

    cases = {
        "columns": (tf.float32, (None, None), lambda x: {"y": x @ tf.ones([4, 2])}, [[1] * 4], [[1] * 3]),
        "divides": (tf.int32, (None,), lambda x: {"y": 6 // x}, [2], [0]),
    }
    for name, (dtype, shape, body, right, wrong) in cases.items():
        module = tf.Module()
        module.body = tf.function(body, input_signature=[tf.TensorSpec(shape, dtype, name="x")])
        tf.saved_model.save(module, str(tmp_path / name), signatures={"serving_default": module.body})
        content = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / name)).convert()
        outputs = {"y": TensorSpec("y", dtype.name, shape)}
        signature = Signature({"x": TensorSpec("x", dtype.name, shape)}, outputs, "")
        runtime = LiteRTRuntime(content, {"serving_default": signature})

        def ask(values, runtime=runtime, dtype=dtype):
            return runtime.run("serving_default", {"x": numpy.array(values, dtype.as_numpy_dtype)})["y"].tolist()

        answer = ask(right)
        with pytest.raises(InvalidRequestError, match="The model cannot take these inputs"):
            ask(wrong)
        assert ask(right) == answer


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
def test_more_memory_than_there_is_is_asked_for_by_the_caller(models):
    """Inputs that make the model grow beyond all bounds: no fault of ours."""
    import tensorflow as tf

    from model.registry import Registry
    from model.runtimes.tensorflow import TensorFlowRuntime
    from shared.errors import InvalidRequestError

    def run_out(inputs):  # in the model's place, which would take ten seconds to give up
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[1073741824]")

    signatures = Registry.scan(models).find("faulty").sound_manifest().signatures
    runtime = TensorFlowRuntime(models / "faulty/1", signatures, where="faulty/1")
    runtime._functions["divides"] = run_out

    with pytest.raises(InvalidRequestError, match="needs more memory for these inputs than there is"):
        runtime.run("divides", {"x": numpy.array([1], "int32")})
