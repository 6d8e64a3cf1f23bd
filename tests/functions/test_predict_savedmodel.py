"""predict serves a bare SavedModel, with every element type, and what TensorFlow Serving does with them."""

import base64
import hashlib
import json
import shutil

import pytest

from shared.config import ROOT

pytestmark = [pytest.mark.tensorflow, pytest.mark.xdist_group("tensorflow")]

HELD_OUT = json.loads((ROOT / "model/digits/held_out.json").read_text())


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Bare SavedModels: `kinds` echoes tensors of many types, `texts` has one input, `examples` takes tf.Examples."""
    import tensorflow as tf

    folder = tmp_path_factory.mktemp("models")

    def save(name, **signatures):
        module = tf.Module()
        for key, (function, specs) in signatures.items():
            setattr(module, key, tf.function(function, input_signature=[specs] if isinstance(specs, dict) else specs))
        tf.saved_model.save(
            module, str(folder / name / "1"), signatures={key: getattr(module, key) for key in signatures}
        )

    kinds = {
        "double": tf.TensorSpec([None], tf.float64, name="double"),
        "small": tf.TensorSpec([None], tf.int8, name="small"),
        "large": tf.TensorSpec([None], tf.int64, name="large"),
        "flag": tf.TensorSpec([None], tf.bool, name="flag"),
        "text": tf.TensorSpec([None], tf.string, name="text"),
    }
    save("kinds", serving_default=(lambda t: {f"{name}_out": tf.identity(x) for name, x in t.items()}, kinds))
    save(
        "texts",
        serving_default=(
            lambda x: {"joined_bytes": tf.strings.join([x, "!"])},
            [tf.TensorSpec([None], tf.string, name="x")],
        ),
        plain=(lambda x: {"joined": tf.strings.join([x, "!"])}, [tf.TensorSpec([None], tf.string, name="x")]),
        scalar=(lambda x: {"twice": 2 * x}, [tf.TensorSpec([], tf.float32, name="x")]),
        root=(lambda x: {"root": tf.sqrt(x)}, [tf.TensorSpec([None], tf.float32, name="x")]),
        loose=(lambda x: {"size": tf.shape(x)}, [tf.TensorSpec(None, tf.float32, name="x")]),
        whole=(lambda x: {"sum": tf.reduce_sum(x)}, [tf.TensorSpec([None], tf.float32, name="x")]),
        reshaped=(lambda x: {"y": tf.reshape(x, [-1, 4])}, [tf.TensorSpec([None, None], tf.float32, name="x")]),
        half=(lambda x: {"y": x}, [tf.TensorSpec([None], tf.float16, name="x")]),
    )

    def parse(serialized):
        features = {"a": tf.io.FixedLenFeature([], tf.float32), "n": tf.io.FixedLenFeature([], tf.int64, 0)}
        return tf.io.parse_example(serialized, features | {"s": tf.io.FixedLenFeature([], tf.string, "")})

    def classify(serialized):
        parsed = parse(serialized)
        rows = tf.shape(parsed["a"])[0]
        scores = tf.stack([parsed["a"], tf.cast(parsed["n"], tf.float32)], axis=1)
        return {"classes": tf.stack([parsed["s"], tf.fill([rows], "other")], axis=1), "scores": scores}

    serialized = [tf.TensorSpec([None], tf.string, name="inputs")]
    save(
        "examples",
        serving_default=(classify, serialized),
        regression=(lambda x: {"outputs": parse(x)["a"][:, None]}, serialized),
        only_scores=(lambda x: {"scores": parse(x)["a"][:, None]}, serialized),
    )
    return folder


@pytest.fixture
def predict(client, models):
    """The function in this process over the bare SavedModels."""
    return client("predict", MODELS_DIR=str(models))


def post(predict, path, body):
    """Post JSON and return the status and the decoded answer."""
    answer = predict.post(path, data=json.dumps(body))
    return answer.status_code, json.loads(answer.data)


ROW = {"double": 0.1, "small": -128, "large": 2**63 - 1, "flag": True, "text": "é"}


def test_every_element_type_goes_in_and_comes_out_as_it_is(predict):
    """Doubles in full, 64-bit integers exactly, booleans as booleans, text as text."""
    status, answer = post(predict, "/v1/models/kinds:predict", {"instances": [ROW]})

    assert status == 200, answer
    assert answer == {"predictions": [{f"{name}_out": value for name, value in ROW.items()}]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("double", value) for value in ("1.5", True, None, [1])),
        *(("small", value) for value in (1.0, 128, -129, True, "1")),
        *(("large", value) for value in (2**63, -(2**63) - 1, 1.0, 10**30)),
        *(("flag", value) for value in (1, 0, "true")),
        *(("text", value) for value in (1, True, {"b64": 1}, {"b64": "a", "x": 1}, {"b64": "*"}, {"b64": "_-8="})),
    ],
)
def test_nothing_is_coerced(predict, name, value):
    """A value of another type, or out of range, is 400 and the answer names the tensor."""
    status, answer = post(predict, "/v1/models/kinds:predict", {"instances": [ROW | {name: value}]})

    assert status == 400
    assert name in answer["error"]


def test_lone_surrogates_are_no_text(predict):
    """They have no bytes."""
    body = json.dumps({"instances": [ROW | {"text": "x"}]}).replace('"x"', '"\\ud800"')

    answer = predict.post("/v1/models/kinds:predict", data=body)

    assert answer.status_code == 400
    assert "lone surrogate" in json.loads(answer.data)["error"]


def test_base64_goes_in_and_a_bytes_output_comes_out_as_base64(predict):
    """An output whose name ends in _bytes is base64; the standard alphabet, padding optional, white space skipped."""
    raw = b"\xff\xfe\x00"
    encoded = base64.b64encode(raw).decode()

    for text in (encoded, encoded.rstrip("="), f" {encoded[:2]}\n{encoded[2:]}"):
        status, answer = post(predict, "/v1/models/texts:predict", {"instances": [{"b64": text}, "a"]})

        assert status == 200, answer
        assert [base64.b64decode(p["b64"]) for p in answer["predictions"]] == [raw + b"!", b"a!"]


def test_text_that_is_not_utf8_is_told_with_its_remedy(predict):
    """TensorFlow Serving would write broken JSON; the answer says how the output should be called."""
    body = {"signature_name": "plain", "instances": [{"b64": base64.b64encode(b"\xff").decode()}]}

    status, answer = post(predict, "/v1/models/texts:predict", body)

    assert status == 500
    assert "joined_bytes" in answer["error"]


def test_scalars_are_for_columns(predict):
    """Rank 0 goes in and comes out bare in columnar form; rows cannot feed or show it."""
    path = "/v1/models/texts:predict"

    assert post(predict, path, {"signature_name": "scalar", "inputs": 2.5}) == (200, {"outputs": 5.0})
    assert post(predict, path, {"signature_name": "whole", "inputs": [1, 2]}) == (200, {"outputs": 3.0})
    status, answer = post(predict, path, {"signature_name": "whole", "instances": [1, 2]})
    assert (status, "has no shape information" in answer["error"]) == (400, True)


def test_non_finite_numbers_come_out_as_tokens(predict):
    """The root of -1 is NaN; Infinity goes in and comes out."""
    body = b'{"signature_name": "root", "instances": [-1, Infinity, 1e39, 0.25]}'

    answer = predict.post("/v1/models/texts:predict", data=body)

    assert answer.data == b'{"predictions":[NaN,Infinity,Infinity,0.5]}\n'


def test_an_unknown_rank_takes_any(predict):
    """The signature says nothing of the shape, so nothing is checked."""
    for value, size in (([[1, 2, 3]], [1, 3]), ([1, 2], [2])):
        body = {"signature_name": "loose", "inputs": {"x": value}}
        assert post(predict, "/v1/models/texts:predict", body) == (200, {"outputs": size})


def test_what_the_model_itself_refuses_is_the_callers_fault(predict):
    """An operation that fails on the data is 400, without a traceback or a path."""
    body = {"signature_name": "reshaped", "instances": [[1, 2, 3]]}

    status, answer = post(predict, "/v1/models/texts:predict", body)

    assert status == 400
    assert "Traceback" not in answer["error"]
    assert "/" not in answer["error"].replace("/v1/", "")


def test_metadata_shows_an_unknown_rank_and_half_floats_as_tensorflow_names_them(predict):
    """Any number of dimensions is not the same as none."""
    signatures = predict.get("/v1/models/texts/metadata").json["metadata"]["signature_def"]["signature_def"]

    assert signatures["loose"]["inputs"]["x"]["tensor_shape"] == {"dim": [], "unknown_rank": True}
    assert signatures["half"]["inputs"]["x"]["dtype"] == "DT_HALF"


def test_an_element_type_that_json_cannot_carry_is_501(predict):
    """As TensorFlow Serving answers for halves."""
    status, answer = post(predict, "/v1/models/texts:predict", {"signature_name": "half", "instances": [1.0]})

    assert status == 501
    assert "float16" in answer["error"]


def test_classify_answers_labels_and_scores(predict):
    """Features by their JSON token; what stands in context is every example's."""
    body = {"context": {"s": "ctx", "a": 0.0}, "examples": [{"a": 0.5, "n": 2}, {"a": 1.0, "s": {"b64": "w6k="}}]}

    assert post(predict, "/v1/models/examples:classify", body) == (
        200,
        {"results": [[["ctx", 0.5], ["other", 2.0]], [["é", 1.0], ["other", 0.0]]]},
    )


def test_a_model_without_classes_has_empty_labels(predict):
    """As TensorFlow Serving has it."""
    body = {"signature_name": "only_scores", "examples": [{"a": 0.5}]}

    assert post(predict, "/v1/models/examples:classify", body) == (200, {"results": [[["", 0.5]]]})


def test_regress_answers_a_number_an_example(predict):
    """One output, one number."""
    body = {"signature_name": "regression", "examples": [{"a": 3.0}, {"a": 3.5}]}

    assert post(predict, "/v1/models/examples:regress", body) == (200, {"results": [3.0, 3.5]})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "examples: expected a list"),
        ({"examples": []}, "examples: expected a list"),
        ({"examples": [1]}, "examples[0]: expected an object"),
        ({"examples": [{"a": None}]}, "examples[0].a"),
        ({"examples": [{"a": [[1.0]]}]}, "examples[0].a"),
        ({"examples": [{"a": [1.0, "x"]}]}, "expected values of one kind"),
        ({"examples": [{"a": 2**63}]}, "examples[0].a"),
        ({"examples": [{"n": 1}]}, ""),
        ({"examples": [{"a": 1.0}], "context": []}, "context"),
    ],
)
def test_bad_examples_are_400_and_named(predict, body, message):
    """Including those that the model finds out: a feature that it needs is missing."""
    status, answer = post(predict, "/v1/models/examples:classify", body)

    assert status == 400, answer
    assert message in answer["error"]


def test_a_model_that_takes_no_examples_says_so(predict):
    """Predict is the way to ask it."""
    status, answer = post(predict, "/v1/models/kinds:classify", {"examples": [{"a": 1.0}]})

    assert (status, ":predict" in answer["error"]) == (400, True)


def test_labels_and_the_default_come_from_models_yaml(client, tmp_path):
    """A label leads to its version, an unknown one is 400, and the default need not be the highest."""
    for version in (1, 2):
        shutil.copytree(ROOT / "model/digits/1", tmp_path / f"digits/{version}")
    manifest = tmp_path / "digits/2/model.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    (tmp_path / "models.yaml").write_text("digits: {default: 1, labels: {canary: 2}}\n")
    predict = client("predict", MODELS_DIR=str(tmp_path))
    body = json.dumps({"instances": HELD_OUT["images"][:1]})

    answers = {
        path: predict.post(f"/v1/models/digits{path}:predict", data=body)
        for path in ("", "/labels/canary", "/labels/x")
    }

    assert answers[""].headers["X-Nightshift-Version"] == "1"
    assert answers["/labels/canary"].headers["X-Nightshift-Version"] == "2"
    assert answers["/labels/x"].status_code == 400


def test_a_predictor_beside_the_model_runs_around_it(client, tmp_path):
    """The row form goes through preprocess and postprocess; its ValueError is the caller's to read."""
    shutil.copytree(ROOT / "model/digits/1", tmp_path / "digits/1")
    source = b"""
def preprocess(instances):
    for instance in instances:
        if not isinstance(instance, str) or len(instance) != 64:
            raise ValueError("expected text of 64 hexadecimal digits")
    return [[[int(c, 16) for c in i[8 * r : 8 * r + 8]] for r in range(8)] for i in instances]

def postprocess(predictions):
    return [f"looks like a {p['digit']}" for p in predictions]
"""
    (tmp_path / "digits/1/predictor.py").write_bytes(source)
    unlisted = client("predict", MODELS_DIR=str(tmp_path))
    image = next(image for image in HELD_OUT["images"] if max(map(max, image)) < 16)
    digit = HELD_OUT["digits"][HELD_OUT["images"].index(image)]
    body = {"instances": ["".join(f"{pixel:x}" for row in image for pixel in row)]}

    refused = post(unlisted, "/v1/models/digits:predict", body)
    manifest = tmp_path / "digits/1/model.json"
    document = json.loads(manifest.read_text())
    document["files"]["predictor.py"] = {"bytes": len(source), "sha256": hashlib.sha256(source).hexdigest()}
    manifest.write_text(json.dumps(document))
    predict = client("predict", MODELS_DIR=str(tmp_path))

    assert refused == (500, {"error": "digits/1/predictor.py: is not one of the files that model.json lists"})
    assert post(predict, "/v1/models/digits:predict", body) == (200, {"predictions": [f"looks like a {digit}"]})
    assert post(predict, "/v1/models/digits:predict", {"instances": ["x"]}) == (
        400,
        {"error": "instances: expected text of 64 hexadecimal digits"},
    )
