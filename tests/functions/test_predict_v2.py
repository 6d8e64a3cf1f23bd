"""predict speaks the Open Inference Protocol (V2): https://github.com/kserve/open-inference-protocol."""

import gzip
import json
import shutil
import tomllib
from pathlib import Path

import numpy
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from shared.config import ROOT

INFER = "/v2/models/digits/infer"
HELD_OUT = json.loads((ROOT / "model/digits/held_out.json").read_text())
IMAGES = numpy.array(HELD_OUT["images"], "<f4")
DIGITS = HELD_OUT["digits"]


@pytest.fixture
def predict(client):
    """The function in this process, with the models of the repository."""
    return client("predict")


@pytest.fixture
def models(tmp_path):
    """A maker of model folders: copies of digits under any name and version, some of them spoilt."""
    folder = tmp_path / "models"

    def add(name, version, spoil=None):
        target = folder / name / str(version)
        shutil.copytree(ROOT / "model/digits/1", target)
        manifest = json.loads((target / "model.json").read_text())
        manifest |= {"name": name, "version": version}
        if spoil == "manifest":
            manifest["format"] = 99
        if spoil == "example":
            manifest["example"] = {"instances": [[1, 2]]}
        (target / "model.json").write_text(json.dumps(manifest))
        if spoil == "weights":
            (target / "model.tflite").write_bytes(b"x" * manifest["files"]["model.tflite"]["bytes"])
        return str(folder)

    return add


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A folder with a model of four inputs, none of them float32, as TensorFlow saves it."""
    import tensorflow as tf

    module = tf.Module()
    specs = {
        "text": tf.TensorSpec([None], tf.string),
        "half": tf.TensorSpec([None, 2], tf.float16),
        "flag": tf.TensorSpec([None], tf.bool),
        "small": tf.TensorSpec([None], tf.uint8),
    }

    @tf.function
    def answer(text, half, flag, small):
        outputs = {"upper": tf.strings.upper(text), "twice": half + half}
        return {**outputs, "not": tf.logical_not(flag), "same": tf.identity(small)}

    folder = tmp_path_factory.mktemp("models")
    tf.saved_model.save(module, str(folder / "words" / "1"), answer.get_concrete_function(**specs))
    return str(folder)


def image_input(images, **changes):
    """The input `image` in JSON."""
    shape = list(images.shape)
    return {"name": "image", "shape": shape, "datatype": "FP32", "data": images.ravel().tolist(), **changes}


def binary_body(images, **members):
    """A body of JSON followed by the input `image` as raw bytes, and the header that tells them apart."""
    entry = {"name": "image", "shape": list(images.shape), "datatype": "FP32"}
    text = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": images.nbytes}}], **members}).encode()
    return text + images.tobytes(), {"Inference-Header-Content-Length": str(len(text))}


def infer(predict, inputs, path=INFER, **members):
    """Post an infer call in JSON and return the status and the decoded answer."""
    answer = predict.post(path, data=json.dumps({"inputs": inputs, **members}))
    return answer.status_code, json.loads(answer.data)


def get(predict, path):
    """Return the status and the decoded answer of a GET."""
    answer = predict.get(path)
    return answer.status_code, json.loads(answer.data)


def outputs_of(answer):
    """The outputs of a decoded answer by name, as arrays."""
    return {out["name"]: numpy.array(out["data"]).reshape(out["shape"]) for out in answer["outputs"]}


def test_the_server_says_what_it_is(predict):
    """Name, the project's version and the one extension it has."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    assert get(predict, "/v2") == (
        200,
        {"name": "nightshift", "version": version, "extensions": ["binary_tensor_data"]},
    )
    assert get(predict, "/v2/") == get(predict, "/v2")
    assert get(predict, "/v2/health/live") == (200, {"live": True})


@pytest.mark.parametrize("path", ["/v2/models/digits", "/v2/models/digits/versions/1"])
def test_a_models_metadata_has_datatypes_and_shapes(predict, path):
    """-1 where the caller chooses; the platform is what serves the version."""
    status, metadata = get(predict, path)

    assert status == 200
    assert metadata == {
        "name": "digits",
        "versions": ["1"],
        "platform": "litert_tflite",
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 8, 8]}],
        "outputs": [
            {"name": "digit", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]},
        ],
    }


def test_flat_and_nested_data_give_the_same_answer(predict):
    """And the right digits, all outputs flat with their shapes."""
    images = IMAGES[:5]

    flat = infer(predict, [image_input(images)])
    nested = infer(predict, [image_input(images, data=images.tolist())])

    assert flat == nested
    assert flat[0] == 200
    assert (flat[1]["model_name"], flat[1]["model_version"]) == ("digits", "1")
    assert "id" not in flat[1]
    outputs = outputs_of(flat[1])
    assert outputs["digit"].tolist() == DIGITS[:5]
    assert outputs["probabilities"].shape == (5, 10)


def test_the_answer_is_that_of_the_v1_dialect(predict):
    """One model, two dialects."""
    v1 = json.loads(predict.post("/v1/models/digits:predict", data=json.dumps({"inputs": IMAGES[:3].tolist()})).data)
    v2 = outputs_of(infer(predict, [image_input(IMAGES[:3])])[1])

    assert v2["digit"].tolist() == v1["outputs"]["digit"]
    assert v2["probabilities"].tolist() == v1["outputs"]["probabilities"]


def test_binary_input_and_output_are_exact(predict):
    """The same bits as in JSON, behind a header of the length that is announced."""
    in_json = outputs_of(infer(predict, [image_input(IMAGES[:4])])[1])
    body, headers = binary_body(IMAGES[:4], parameters={"binary_data_output": True})

    answer = predict.post(INFER, data=body, headers=headers)

    length = int(answer.headers["Inference-Header-Content-Length"])
    digit, probabilities = json.loads(answer.data[:length])["outputs"]
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert (digit["parameters"], probabilities["parameters"]) == ({"binary_data_size": 32}, {"binary_data_size": 160})
    raw = answer.data[length:]
    assert numpy.frombuffer(raw[:32], "<i8").tolist() == DIGITS[:4]
    assert numpy.array_equal(numpy.frombuffer(raw[32:], "<f4"), in_json["probabilities"].ravel().astype("f4"))


def test_requested_outputs_choose_and_order_and_the_id_comes_back(predict):
    """One binary and first, the other left to JSON; or one alone."""
    body, headers = binary_body(
        IMAGES[:1],
        id="seven",
        outputs=[{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "digit"}],
    )

    answer = predict.post(INFER, data=body, headers=headers)
    one = infer(predict, [image_input(IMAGES[:1])], outputs=[{"name": "digit"}])[1]

    head = json.loads(answer.data[: int(answer.headers["Inference-Header-Content-Length"])])
    assert head["id"] == "seven"
    assert [output["name"] for output in head["outputs"]] == ["probabilities", "digit"]
    assert head["outputs"][1]["data"] == DIGITS[:1]
    assert one["outputs"] == [{"name": "digit", "datatype": "INT64", "shape": [1], "data": DIGITS[:1]}]


def test_a_raw_body_is_the_models_only_input(predict):
    """`Inference-Header-Content-Length: 0`, as curl would send a file; the answer is binary."""
    answer = predict.post(INFER, data=IMAGES[:3].tobytes(), headers={"Inference-Header-Content-Length": "0"})

    length = int(answer.headers["Inference-Header-Content-Length"])
    assert json.loads(answer.data[:length])["outputs"][0]["shape"] == [3]
    assert numpy.frombuffer(answer.data[length : length + 24], "<i8").tolist() == DIGITS[:3]


def test_gzip_and_any_content_type_are_taken(predict):
    """The header's length is that of the JSON before compression."""
    body, headers = binary_body(IMAGES[:2], outputs=[{"name": "digit"}])

    answer = predict.post(
        INFER,
        data=gzip.compress(body),
        headers={**headers, "Content-Encoding": "gzip", "Content-Type": "application/octet-stream"},
    )

    assert json.loads(answer.data)["outputs"][0]["data"] == DIGITS[:2]


def test_non_finite_numbers_are_tokens_both_ways_and_exact_in_binary(predict):
    """NaN in, NaN out."""
    image = IMAGES[:1].copy()
    image[0, 1, 2] = numpy.nan

    answer = predict.post(INFER, data=json.dumps({"inputs": [image_input(image)]}))
    body, headers = binary_body(image)
    binary = predict.post(INFER, data=body, headers=headers)

    assert b'"data":[NaN,' in answer.data
    assert binary.data == answer.data


def test_every_inference_answer_names_model_and_version(predict):
    """In its headers, whichever way the version was chosen, and whichever form the answer has."""
    body, headers = binary_body(IMAGES[:1], parameters={"binary_data_output": True})
    for path in (INFER, "/v2/models/digits/versions/1/infer"):
        answer = predict.post(path, data=body, headers=headers)

        assert answer.status_code == 200
        assert (answer.headers["X-Nightshift-Model"], answer.headers["X-Nightshift-Version"]) == ("digits", "1")


def test_the_highest_sound_version_answers_unless_one_is_named(client, models):
    """Metadata lists the sound versions; a broken one says why."""
    for version in (1, 2):
        models("digits", version)
    predict = client("predict", MODELS_DIR=models("digits", 3, spoil="manifest"))

    latest = infer(predict, [image_input(IMAGES[:1])])[1]
    first = infer(predict, [image_input(IMAGES[:1])], path="/v2/models/digits/versions/1/infer")[1]
    broken = infer(predict, [image_input(IMAGES[:1])], path="/v2/models/digits/versions/3/infer")

    assert (latest["model_version"], first["model_version"]) == ("2", "1")
    assert get(predict, "/v2/models/digits")[1]["versions"] == ["1", "2"]
    assert broken[0] == 500
    assert "digits/3/model.json: format should be 1" in broken[1]["error"]


def test_ready_means_that_every_model_has_a_version_that_answers(client, models):
    """A version that fails is reported and does not stop the others."""
    models("digits", 1)
    models("digits", 2, spoil="weights")
    models("digits", 3, spoil="example")
    predict = client("predict", MODELS_DIR=models("digits", 4, spoil="manifest"))

    status, answer = get(predict, "/v2/health/ready")

    assert (status, answer["ready"]) == (200, True)
    assert list(answer["broken"]) == ["digits/2", "digits/3", "digits/4"]
    assert answer["broken"]["digits/2"] == "digits/2/model.tflite: sha256 does not match model.json"
    assert get(predict, "/v2/models/digits/ready") == (200, {"name": "digits", "ready": True})
    assert get(predict, "/v2/models/digits/versions/1/ready") == (200, {"name": "digits", "ready": True})
    for version in (2, 3, 4):
        status, answer = get(predict, f"/v2/models/digits/versions/{version}/ready")
        assert status == 503
        assert f"digits/{version}" in answer["error"]


def test_the_chosen_default_is_the_version_that_is_warmed(client, models):
    """models.yaml says which; a higher version is neither loaded nor reported unless the default fails."""
    models("digits", 1)
    folder = models("digits", 2, spoil="weights")
    Path(folder, "models.yaml").write_text("digits:\n  default: 1\n")

    assert get(client("predict", MODELS_DIR=folder), "/v2/health/ready") == (200, {"ready": True})


def test_not_ready_names_the_model_that_is_not(client, models):
    """503, with the reason, though the other model is sound."""
    models("digits", 1)
    predict = client("predict", MODELS_DIR=models("other", 1, spoil="weights"))

    answer = predict.get("/v2/health/ready")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "1"
    assert json.loads(answer.data)["error"].startswith("not ready: other/1: other/1/model.tflite: ")
    assert get(predict, "/v2/models/digits/ready")[0] == 200
    assert get(predict, "/v2/models/other/ready")[0] == 503


def test_the_repository_index_lists_every_version(client, models):
    """The broken ones with their reason, unless only ready ones are asked for."""
    models("digits", 1)
    predict = client("predict", MODELS_DIR=models("digits", 2, spoil="manifest"))

    every = json.loads(predict.post("/v2/repository/index").data)
    ready = json.loads(predict.post("/v2/repository/index", data=b'{"ready": true}').data)

    assert ready == [{"name": "digits", "version": "1", "state": "READY", "reason": ""}]
    assert [(entry["version"], entry["state"]) for entry in every] == [("1", "READY"), ("2", "UNAVAILABLE")]
    assert "format should be 1" in every[1]["reason"]


MISSING = [
    ("GET", "/v2/models/nonsense", 404, "Servable not found for request: Latest(nonsense)"),
    ("GET", "/v2/models/nonsense/ready", 404, "Latest(nonsense)"),
    ("POST", "/v2/models/nonsense/infer", 404, "Latest(nonsense)"),
    ("GET", "/v2/models/digits/versions/9", 404, "Specific(digits, 9)"),
    ("GET", "/v2/models/digits/versions/9/ready", 404, "Specific(digits, 9)"),
    ("POST", "/v2/models/digits/versions/9/infer", 404, "Specific(digits, 9)"),
    ("POST", "/v2/models/..%2f..%2fetc/infer", 404, "nothing at this path"),
    ("GET", "/v2/models/digits/versions/latest", 404, "nothing at this path"),
    ("GET", "/v2/models/digits/config", 404, "nothing at this path"),
    ("GET", "/v2/models/digits/infer", 405, "this path takes POST"),
    ("POST", "/v2/health/ready", 405, "this path takes GET"),
]


@pytest.mark.parametrize(("method", "path", "status", "message"), MISSING)
def test_what_is_not_there_is_told_in_the_dialect(predict, method, path, status, message):
    """One member, `error`, and it is text."""
    answer = predict.open(path, method=method)

    assert answer.status_code == status
    assert list(json.loads(answer.data)) == ["error"]
    assert message in json.loads(answer.data)["error"]


BAD_BODIES = [
    (b"", {}, "expected JSON: an empty body"),
    (b"[]", {}, "expected a JSON object; got array"),
    (b"{}", {}, "inputs: expected an array of objects, got null"),
    (b"{}", {"Inference-Header-Content-Length": "3"}, "Inference-Header-Content-Length: expected 0 to 2"),
    (b"{}more", {"Inference-Header-Content-Length": "2"}, "inputs: expected an array"),
    (bytes(255), {"Inference-Header-Content-Length": "0"}, "expected 0 bytes for FP32 [0, 8, 8], got 255"),
    (binary_body(IMAGES[:1])[0][:-1], binary_body(IMAGES[:1])[1], 'input "image": expected 256 bytes after the JSON'),
    (binary_body(IMAGES[:1])[0] + b"x", binary_body(IMAGES[:1])[1], "the body has 1 bytes more than its inputs"),
]


@pytest.mark.parametrize(("body", "headers", "message"), BAD_BODIES)
def test_a_bad_body_is_400_in_the_dialect(predict, body, headers, message):
    """Nothing is a server error, and nothing is guessed."""
    answer = predict.post(INFER, data=body, headers=headers)

    assert answer.status_code == 400
    assert list(json.loads(answer.data)) == ["error"]
    assert message in json.loads(answer.data)["error"]


def test_the_other_dialects_keep_their_errors(predict):
    """Text under /v1/, Google's object elsewhere."""
    assert isinstance(get(predict, "/v1/models/nonsense")[1]["error"], str)
    assert get(predict, "/v2models")[1]["error"]["status"] == "NOT_FOUND"


@pytest.fixture
def connect(serve):
    """NVIDIA's client, connected to predict as a server of its own."""
    running = serve("predict", THREADS="8")
    with triton.InferenceServerClient(f"127.0.0.1:{running.port}", concurrency=8) as client:
        yield client


def triton_input(images, binary):
    """The input `image` as NVIDIA's client makes it."""
    tensor = triton.InferInput("image", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images, binary_data=binary)
    return tensor


def test_nvidias_client_finds_its_way_about(connect):
    """Health, metadata and the index, before any prediction."""
    assert connect.is_server_live()
    assert connect.is_server_ready()
    assert connect.is_model_ready("digits")
    assert connect.is_model_ready("digits", "1")
    assert not connect.is_model_ready("digits", "2")
    assert not connect.is_model_ready("nonsense")
    assert connect.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert connect.get_model_metadata("digits", "1")["inputs"][0]["shape"] == [-1, 8, 8]
    assert connect.get_model_repository_index()[0]["name"] == "digits"


def test_nvidias_client_gets_the_digits_in_every_form(connect):
    """JSON and binary, in and out, compressed too: the same numbers."""
    answers = []
    for binary in (False, True):
        wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in ("probabilities", "digit")]
        for outputs in (wanted, None):
            answers.append(connect.infer("digits", [triton_input(IMAGES[:9], binary)], outputs=outputs, request_id="r"))
    answers.append(
        connect.infer(
            "digits", [triton_input(IMAGES[:9], True)], model_version="1", request_compression_algorithm="gzip"
        )
    )

    for answer in answers:
        assert answer.as_numpy("digit").tolist() == DIGITS[:9]
        assert numpy.array_equal(answer.as_numpy("probabilities"), answers[0].as_numpy("probabilities"))
    assert answers[0].get_response()["id"] == "r"


def test_nvidias_client_raises_with_our_text(connect):
    """Its exception carries the status and what we said."""
    wrong = triton.InferInput("picture", [1, 8, 8], "FP32")
    wrong.set_data_from_numpy(IMAGES[:1])
    double = triton.InferInput("image", [1, 8, 8], "FP64")
    double.set_data_from_numpy(IMAGES[:1].astype("f8"))
    calls = [
        ("digits", [wrong], None, "400", 'no tensor is named "picture"; the model has image (FP32 [-1, 8, 8])'),
        ("digits", [double], None, "400", 'input "image": expected datatype FP32, got "FP64"'),
        ("digits", [triton_input(IMAGES[:1, :7], True)], None, "400", "expected shape [-1, 8, 8], got [1, 7, 8]"),
        ("nonsense", [triton_input(IMAGES[:1], True)], None, "404", "Latest(nonsense)"),
        ("digits", [triton_input(IMAGES[:1], True)], triton.InferRequestedOutput("d"), "400", 'no tensor is named "d"'),
        (
            "digits",
            [triton_input(IMAGES[:1], True)],
            triton.InferRequestedOutput("digit", class_count=3),
            "501",
            "classification is not served",
        ),
    ]
    for model, inputs, output, status, message in calls:
        with pytest.raises(InferenceServerException) as raised:
            connect.infer(model, inputs, outputs=output and [output])

        assert raised.value.status() == status
        assert message in raised.value.message()


def test_eight_clients_at_once_get_their_own_answers(connect):
    """Before the model was loaded, each with an image and an id of its own."""
    pending = [
        connect.async_infer("digits", [triton_input(IMAGES[i : i + 1], i % 2 == 0)], request_id=str(i))
        for i in range(80)
    ]

    answers = [request.get_result(timeout=60) for request in pending]

    assert [answer.get_response()["id"] for answer in answers] == [str(i) for i in range(80)]
    alone = [connect.infer("digits", [triton_input(IMAGES[i : i + 1], True)]) for i in range(80)]
    assert [a.as_numpy("digit")[0] for a in answers] == [a.as_numpy("digit")[0] for a in alone]
    assert sum(a.as_numpy("digit")[0] == d for a, d in zip(answers, DIGITS, strict=False)) >= 77


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
def test_strings_and_small_types_go_through_a_bare_saved_model(client, words, binary_in, binary_out):
    """NVIDIA's own codec at the other end: BYTES, FP16, BOOL and UINT8 in every form."""
    values = {
        "text": ("BYTES", numpy.array([b"abc", "é".encode(), b""], object)),
        "half": ("FP16", numpy.array([[0.1, 2], [3, numpy.nan], [numpy.inf, 5]], "f2")),
        "flag": ("BOOL", numpy.array([True, False, True])),
        "small": ("UINT8", numpy.array([0, 255, 7], "u1")),
    }
    inputs = []
    for name, (datatype, array) in values.items():
        inputs.append(triton.InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_in))
    wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("upper", "twice", "not", "same")]
    body, length = triton.InferenceServerClient.generate_request_body(inputs, outputs=wanted)
    headers = {} if length is None else {"Inference-Header-Content-Length": str(length)}

    answer = client("predict", MODELS_DIR=words).post("/v2/models/words/infer", data=body, headers=headers)

    length = answer.headers.get("Inference-Header-Content-Length")
    read = triton.InferenceServerClient.parse_response_body(answer.data, header_length=length and int(length))
    assert [text if isinstance(text, bytes) else text.encode() for text in read.as_numpy("upper")] == [
        b"ABC",
        "é".encode(),
        b"",
    ]
    assert numpy.array_equal(read.as_numpy("twice"), values["half"][1] * 2, equal_nan=True)
    assert read.as_numpy("not").tolist() == [False, True, False]
    assert read.as_numpy("same").tolist() == [0, 255, 7]
