"""GET /v1/models and .../example: what there is, and what one could ask it."""

import json

import pytest

from shared.config import ROOT
from tests.functions.test_predict_hanging_model import add_digits

MODEL = ROOT / "model" / "digits" / "1"
IDENTITY = "def postprocess(predictions):\n    return predictions\n"


@pytest.fixture
def models(tmp_path):
    """Two versions of digits, one labelled, and one that is broken."""
    for version in (1, 2, 3):
        add_digits(tmp_path / "models", IDENTITY, version)
    (tmp_path / "models/digits/3/model.json").write_text("{")
    (tmp_path / "models/models.yaml").write_text("digits: {default: 1, labels: {canary: 2}}\n")
    return tmp_path / "models"


def test_models_are_listed_with_versions_labels_and_defaults(client, models):
    """The newest version first; a broken one says why, and stops no other."""
    (found,) = client("predict", MODELS_DIR=str(models)).get("/v1/models").json["models"]

    assert (found["name"], found["default_version"], found["labels"]) == ("digits", "1", {"canary": "2"})
    broken, second, first = found["versions"]
    assert [version["version"] for version in found["versions"]] == ["3", "2", "1"]
    assert (broken["state"], first["state"], second["state"]) == ("END", "AVAILABLE", "AVAILABLE")
    assert "is not JSON" in broken["problem"]
    assert first["metrics"]["accuracy"] == pytest.approx(0.994, abs=0.001)
    assert first["runtimes"] == ["litert", "tensorflow"]
    assert first["interface"] == {"kind": "image", "input": "image"}
    (taken,) = first["signatures"]["serving_default"]["inputs"]
    assert taken == {"name": "image", "dtype": "float32", "shape": [-1, 8, 8], "minimum": 0, "maximum": 16}


def test_the_default_model_is_named(client, tmp_path):
    """The only one there is, or none of several; an empty folder lists nothing."""
    assert client("predict").get("/v1/models").json["default_model"] == "digits"
    (tmp_path / "none").mkdir()
    empty = client("predict", MODELS_DIR=str(tmp_path / "none")).get("/v1/models")
    assert (empty.status_code, empty.json) == (200, {"default_model": None, "models": []})


@pytest.mark.parametrize("which", ["", "/versions/2", "/labels/canary"])
def test_an_example_is_answered_as_it_stands(client, models, which):
    """What it says can be sent can be sent, and samples are single instances of it."""
    predict = client("predict", MODELS_DIR=str(models))
    answer = predict.get(f"/v1/models/digits{which}/example")

    assert answer.headers["X-Nightshift-Version"] == ("2" if which else "1")
    assert predict.post("/v1/models/digits:predict", data=json.dumps(answer.json["example"])).status_code == 200
    samples = answer.json["samples"]
    assert [sample["label"] for sample in samples] == list("0123456789")
    body = json.dumps({"instances": [sample["instance"] for sample in samples]})
    predictions = predict.post("/v1/models/digits:predict", data=body).json["predictions"]
    assert [str(prediction["digit"]) for prediction in predictions] == list("0123456789")


def test_an_example_of_what_is_not_there_is_refused(client, models):
    """In TensorFlow Serving's words; a broken version says why."""
    predict = client("predict", MODELS_DIR=str(models))

    assert predict.get("/v1/models/none/example").status_code == 404
    assert predict.get("/v1/models/digits/versions/9/example").status_code == 404
    broken = predict.get("/v1/models/digits/versions/3/example")
    assert broken.status_code == 500
    assert "is not JSON" in broken.json["error"]


def test_the_first_answer_of_a_process_says_that_it_was_cold(client):
    """A request that was refused warms nothing."""
    predict = client("predict")
    body = (MODEL / "model.json").read_text()
    example = json.dumps(json.loads(body)["example"])

    starts = [
        predict.post("/v1/models/digits:predict", data=data).headers["X-Nightshift-Start"]
        for data in ("{", example, example)
    ]

    assert starts == ["cold", "cold", "warm"]
