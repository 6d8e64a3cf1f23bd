"""predict speaks TensorFlow Serving's REST API: https://www.tensorflow.org/tfx/serving/api_rest."""

import gzip
import json
import re
import shutil

import numpy
import pytest

from shared.config import ROOT

PREDICT = "/v1/models/digits:predict"
HELD_OUT = json.loads((ROOT / "model/digits/held_out.json").read_text())
IMAGE, DIGIT = HELD_OUT["images"][0], HELD_OUT["digits"][0]


@pytest.fixture
def predict(client):
    """The function in this process, with the models of the repository."""
    return client("predict")


def post(predict, body, path=PREDICT, **kwargs):
    """Post JSON (or raw bytes) and return the status and the decoded answer."""
    data = body if isinstance(body, bytes) else json.dumps(body)
    answer = predict.post(path, data=data, **kwargs)
    return answer.status_code, json.loads(answer.data)


def test_a_bare_row_is_answered_by_an_object_of_both_outputs(predict):
    """Two outputs, so each prediction is an object; the digit is an integer."""
    status, answer = post(predict, {"instances": [IMAGE]})

    (prediction,) = answer["predictions"]
    assert status == 200
    assert prediction["digit"] == DIGIT
    assert len(prediction["probabilities"]) == 10
    assert sum(prediction["probabilities"]) == pytest.approx(1, abs=1e-5)


def test_named_rows_and_columns_give_what_bare_rows_give(predict):
    """Row form with names, columnar form with and without a name: one answer."""
    _, rows = post(predict, {"instances": [IMAGE, IMAGE]})
    _, named = post(predict, {"instances": [{"image": IMAGE}, {"image": IMAGE}]})
    _, columns = post(predict, {"inputs": {"image": [IMAGE, IMAGE], "more": 1}})
    _, bare = post(predict, {"inputs": [IMAGE, IMAGE]})

    assert rows == named
    assert columns == bare
    assert columns["outputs"]["digit"] == [row["digit"] for row in rows["predictions"]]
    assert columns["outputs"]["probabilities"] == [row["probabilities"] for row in rows["predictions"]]


def test_a_batch_answers_each_row_as_alone(predict):
    """Rows do not see each other, whatever the batch."""
    _, together = post(predict, {"instances": HELD_OUT["images"][:32]})
    alone = [post(predict, {"instances": [image]})[1]["predictions"][0] for image in HELD_OUT["images"][:32]]

    assert [row["digit"] for row in together["predictions"]] == [row["digit"] for row in alone]
    numpy.testing.assert_allclose(
        [row["probabilities"] for row in together["predictions"]], [row["probabilities"] for row in alone], atol=1e-6
    )


def test_every_answer_names_model_and_version(predict):
    """The headers say which version answered, and so does the log."""
    answer = predict.post(PREDICT, data=json.dumps({"instances": [IMAGE]}))

    assert answer.headers["X-Nightshift-Model"] == "digits"
    assert answer.headers["X-Nightshift-Version"] == "1"


def test_float32_is_printed_in_the_digits_of_float32(predict):
    """No probability needs more than nine digits."""
    text = predict.post(PREDICT, data=json.dumps({"inputs": [IMAGE]})).data
    printed = json.loads(text, parse_float=str)["outputs"]["probabilities"][0]

    assert all(len(digits.split("e")[0].replace(".", "").lstrip("0")) <= 9 for digits in printed)
    assert all(float(numpy.float32(digits)) == pytest.approx(float(digits), rel=1e-7) for digits in printed)


def test_the_root_answers_for_the_default_model_as_vertex_ai_does(predict):
    """`POST /` adds Vertex AI's fields and leaves the predictions as they are."""
    _, plain = post(predict, {"instances": [IMAGE]})
    status, answer = post(predict, {"instances": [IMAGE], "parameters": {"any": 1}}, path="/")

    assert status == 200
    assert answer["predictions"] == plain["predictions"]
    assert (answer["modelDisplayName"], answer["modelVersionId"]) == ("digits", "1")


def test_vertex_ai_s_path_answers_in_its_shape_and_its_errors(predict):
    """The endpoint's id is the model's name; errors are Google's."""
    path = "/v1/projects/p/locations/l/endpoints/{}:predict"

    status, answer = post(predict, {"instances": [IMAGE]}, path=path.format("digits"))
    missing = post(predict, {"instances": [IMAGE]}, path=path.format("nonsense"))
    wrong = post(predict, {"instances": [[1]]}, path=path.format("digits"))

    assert (status, answer["predictions"][0]["digit"], answer["modelVersionId"]) == (200, DIGIT, "1")
    assert (missing[0], missing[1]["error"]["status"]) == (404, "NOT_FOUND")
    assert (wrong[0], wrong[1]["error"]["status"]) == (400, "INVALID_ARGUMENT")


def test_paths_are_read_without_regard_to_case(predict):
    """As TensorFlow Serving reads them; names keep theirs."""
    assert post(predict, {"instances": [IMAGE]}, path="/V1/Models/digits/Versions/1:Predict")[0] == 200
    assert post(predict, {"instances": [IMAGE]}, path="/v1/models/Digits:predict")[0] == 404


def test_a_version_may_be_named(predict):
    """`/versions/1` is there, `/versions/2` is not, and says so as TensorFlow Serving does."""
    status, answer = post(predict, {"instances": [IMAGE]}, path="/v1/models/digits/versions/1:predict")
    missing = post(predict, {"instances": [IMAGE]}, path="/v1/models/digits/versions/2:predict")

    assert (status, answer["predictions"][0]["digit"]) == (200, DIGIT)
    assert missing == (404, {"error": "Servable not found for request: Specific(digits, 2)"})


@pytest.mark.parametrize("name", ["nonsense", "..", "runtimes", "training", "%00", "é", "a" * 4000])
def test_an_unknown_model_is_404_in_the_dialect(predict, name):
    """The name is looked up among the models, never on the disk."""
    status, answer = post(predict, {"instances": [IMAGE]}, path=f"/v1/models/{name}:predict")

    assert status == 404
    assert list(answer) == ["error"]
    assert isinstance(answer["error"], str)


@pytest.mark.parametrize(
    "path", ["/v1/models/..%2f..%2fetc:predict", "/v1", "/v1/models/", "/v1/models/digits:explain"]
)
def test_a_path_that_is_none_is_400_as_tensorflow_serving_has_it(predict, path):
    """Under /v1/ a path that names nothing is a malformed request, and the answer says what one looks like."""
    status, answer = post(predict, {"instances": [IMAGE]}, path=path)

    if path == "/v1":
        assert (status, answer["error"]["status"]) == (404, "NOT_FOUND")
    else:
        assert (status, answer["error"][:18]) == (400, "Malformed request:")


def test_status_and_metadata_describe_the_model(predict):
    """The states and the signature in TensorFlow Serving's own shape."""
    status = json.loads(predict.get("/v1/models/digits").data)
    metadata = json.loads(predict.get("/v1/models/digits/metadata").data)
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]

    assert status["model_version_status"] == [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
    assert metadata["model_spec"] == {"name": "digits", "signature_name": "", "version": "1"}
    assert signature["inputs"]["image"]["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in signature["inputs"]["image"]["tensor_shape"]["dim"]] == ["-1", "8", "8"]
    assert signature["outputs"]["digit"]["dtype"] == "DT_INT64"


def changed(value):
    """An image whose third pixel of the second line is something else."""
    image = [list(row) for row in IMAGE]
    image[1][2] = value
    return image


BAD_BODIES = [
    (b"", "expected JSON: an empty body"),
    (b"{", "expected JSON"),
    (b"[]", "expected a JSON object; got array"),
    (b"\xff\xfe{}", "UTF-8"),
    ({}, "Missing 'inputs' or 'instances' key"),
    ({"instances": [IMAGE], "inputs": [IMAGE]}, "only one of 'inputs' or 'instances'"),
    ({"instances": IMAGE[0][0]}, "Expecting 'instances' to be an list/array"),
    ({"instances": {"image": IMAGE}}, "Expecting 'instances' to be an list/array"),
    ({"instances": []}, "No values in 'instances' array"),
    ({"instances": [IMAGE], "signature_name": "nonsense"}, "expected one of serving_default"),
    ({"instances": [IMAGE], "signature_name": 3}, "'signature_name' key must be a string value."),
    (
        {"instances": [{"picture": IMAGE}]},
        "instances[0]: has no input image; the model takes image (float32 [-1, 8, 8])",
    ),
    ({"instances": [{"image": IMAGE, "x": 1}]}, 'does not have named input: "x"'),
    ({"instances": [{"image": IMAGE}, IMAGE]}, "instances[1]: expected an object like the first row, got array"),
    ({"instances": [IMAGE, {"image": IMAGE}]}, "instances[1]"),
    ({"instances": [changed("1.5")]}, "instances[0][1][2]: expected float32 [-1, 8, 8] for image, got string"),
    ({"instances": [IMAGE, changed(True)]}, "instances[1][1][2]: expected float32 [-1, 8, 8] for image, got boolean"),
    ({"instances": [changed(None)]}, "got null"),
    ({"instances": [changed({})]}, "got object"),
    ({"instances": [changed([1])]}, "instances[0][1][2]"),
    ({"instances": [{"image": changed("x")}]}, "instances[0].image[1][2]"),
    ({"instances": [IMAGE[:7]]}, "got shape [1, 7, 8]"),
    ({"instances": [IMAGE, IMAGE[:7]]}, "instances[1]"),
    ({"instances": [[row[:5] if i == 3 else row for i, row in enumerate(IMAGE)]]}, "instances[0][3]"),
    ({"instances": [[IMAGE]]}, "got shape [1, 1, 8, 8]"),
    ({"instances": [1, 2]}, "got shape [2]"),
    ({"instances": [[]]}, "got shape [1, 0]"),
    ({"instances": [changed(10**400)]}, "out of its range"),
    ({"inputs": {"picture": [IMAGE]}}, "Missing named input: image in 'inputs' object"),
    ({"inputs": {"image": "x"}}, "got shape []"),
    ({"inputs": "x"}, "got shape []"),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
def test_a_bad_body_is_400_and_says_what_was_expected_and_where(predict, body, message):
    """Nothing is coerced, nothing is padded, nothing is a server error."""
    status, answer = post(predict, body)

    assert status == 400
    assert list(answer) == ["error"]
    assert message in answer["error"]


def test_non_finite_numbers_are_tokens_both_ways(predict):
    """NaN goes in as a token and what the model makes of it comes out as one."""
    body = json.dumps({"instances": [changed(float("nan"))]}).encode()

    answer = predict.post(PREDICT, data=body)

    assert b"NaN" in body
    assert answer.status_code == 200
    assert json.loads(answer.data)["predictions"][0]["probabilities"] == pytest.approx([float("nan")] * 10, nan_ok=True)


def test_the_content_type_is_not_looked_at_and_gzip_is_taken(predict):
    """curl -d sends a form's content type; clients with much to say compress it."""
    body = json.dumps({"instances": [IMAGE]}).encode()

    form = post(predict, body, content_type="application/x-www-form-urlencoded")
    zipped = post(predict, gzip.compress(body), headers={"Content-Encoding": "gzip"})

    assert form[0] == zipped[0] == 200
    assert form == zipped


def test_zero_rows_in_columns_give_zero_rows(predict):
    """A batch of none is a batch."""
    status, answer = post(predict, {"inputs": {"image": []}})

    assert status == 400 or answer["outputs"] == {"digit": [], "probabilities": []}


def test_many_threads_get_their_own_answers(serve):
    """Sixteen clients at once, each with its own image, before the model was loaded."""
    from concurrent.futures import ThreadPoolExecutor

    import httpx

    running = serve("predict")

    def ask(index):
        answer = httpx.post(running.url + PREDICT, json={"instances": [HELD_OUT["images"][index]]}, timeout=60)
        return answer.json()["predictions"][0]["digit"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(100)))

    assert sum(a == d for a, d in zip(answers, HELD_OUT["digits"], strict=False)) >= 97


def test_two_models_have_no_default_unless_one_is_named(client, tmp_path):
    """DEFAULT_MODEL decides; without it the message lists the models."""
    models = tmp_path / "models"
    for name in ("digits", "other"):
        shutil.copytree(ROOT / "model/digits/1", models / name / "1")
    manifest = models / "other/1/model.json"
    manifest.write_text(manifest.read_text().replace('"name": "digits"', '"name": "other"'))

    undecided = post(client("predict", MODELS_DIR=str(models)), {"instances": [IMAGE]}, path="/")
    decided = post(client("predict", MODELS_DIR=str(models), DEFAULT_MODEL="other"), {"instances": [IMAGE]}, path="/")

    assert undecided[0] == 404
    assert "digits, other" in undecided[1]["error"]["message"]
    assert (decided[0], decided[1]["modelDisplayName"]) == (200, "other")


def test_a_tampered_model_is_refused_and_the_others_serve(client, tmp_path):
    """A file that is not what model.json says is never loaded; the answer names it, and no path of the machine."""
    models = tmp_path / "models"
    shutil.copytree(ROOT / "model/digits/1", models / "digits/1")
    shutil.copytree(ROOT / "model/digits/1", models / "digits/2")
    manifest = models / "digits/2/model.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    with (models / "digits/2/model.tflite").open("r+b") as file:
        file.seek(5000)
        file.write(b"tampered")
    predict = client("predict", MODELS_DIR=str(models))

    tampered = post(predict, {"instances": [IMAGE]})
    sound = post(predict, {"instances": [IMAGE]}, path="/v1/models/digits/versions/1:predict")
    default = predict.post("/v1/models/digits:predict", json={"instances": [IMAGE]})
    again = post(predict, {"instances": [IMAGE]}, path="/v1/models/digits/versions/2:predict")
    status = predict.get("/v1/models/digits").json["model_version_status"]

    why = "digits/2/model.tflite: sha256 does not match model.json"
    assert tampered == again == (500, {"error": why})
    assert sound[0] == default.status_code == 200
    assert default.headers["X-Nightshift-Version"] == "1"
    assert [(found["version"], found["state"], found["status"]["error_message"]) for found in status] == [
        *(("1", "AVAILABLE", ""), ("2", "END", why)),
    ]


def test_ready_means_that_the_default_answers(client, tmp_path):
    """A version that does not load is found by the probe, before any caller, and gives way to the one before it."""
    models = tmp_path / "models"
    shutil.copytree(ROOT / "model/digits/1", models / "digits/1")
    shutil.copytree(ROOT / "model/digits/1", models / "digits/2")
    manifest = models / "digits/2/model.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    (models / "digits/2/model.tflite").write_bytes(b"tampered")
    predict = client("predict", MODELS_DIR=str(models))

    ready = predict.get("/v2/health/ready")
    answer = predict.post("/v1/models/digits:predict", json={"instances": [IMAGE]})

    assert (ready.status_code, answer.status_code) == (200, 200)
    assert answer.headers["X-Nightshift-Version"] == "1"


def test_a_model_that_cannot_fit_is_refused_before_it_is_read(client, tmp_path):
    """Rather than end the process, and everything else it answers, half way through loading."""
    models = tmp_path / "models"
    shutil.copytree(ROOT / "model/digits/1", models / "digits/1")
    manifest = models / "digits/1/model.json"
    document = json.loads(manifest.read_text())
    document["files"]["variables/huge"] = {"bytes": 10**15, "sha256": "0" * 64}
    manifest.write_text(json.dumps(document))
    predict = client("predict", MODELS_DIR=str(models))

    status, body = post(predict, {"instances": [IMAGE]})

    assert status == 500
    assert re.fullmatch(r"digits/1: its files are 1,000,000,000 MB, and there are [0-9,]+ MB of memory", body["error"])
