"""Several versions of a model: who answers says so, and what is there is what was there at the start."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.functions.test_predict_hanging_model import IMAGE, add_digits

MODEL = "/v1/models/digits"


def test_every_answer_is_that_of_the_version_it_names_while_another_is_copied(serve, tmp_path):
    """By number, label and default at once; a version that comes in part by part is not known before a restart."""
    models, copied = tmp_path / "models", tmp_path / "copied"
    for version in (1, 2, 3):
        hook = f"def postprocess(predictions):\n    return ['version {version}'] * len(predictions)\n"
        add_digits(copied if version == 3 else models, hook, version)
    (models / "models.yaml").write_text("digits: {labels: {stable: 1, canary: 2}}\n")
    paths = {f"/versions/{v}": v for v in "12"} | {"/labels/stable": "1", "/labels/canary": "2", "": "2"}
    predict = serve("predict", MODELS_DIR=str(models), THREADS="8")
    assert httpx.get(predict.url + MODEL).status_code == 200  # what is there is looked up with the first request

    def ask(client_number):
        told = []
        with httpx.Client(base_url=predict.url, timeout=30) as client:
            for turn in range(30):
                path = list(paths)[(client_number + turn) % len(paths)]
                answer = client.post(f"{MODEL}{path}:predict", json={"instances": [IMAGE] * (1 + turn % 3)})
                told.append((path, answer.headers["X-Nightshift-Version"], answer.json()["predictions"], turn))
                if client_number == 0 and copied_parts:
                    copied_parts.pop(0)()
        return told

    parts = ["model.tflite", "predictor.py", "saved_model.pb", "model.json"]
    (models / "digits/3").mkdir()
    copied_parts = [
        lambda part=part: shutil.copyfile(copied / "digits/3" / part, models / "digits/3" / part) for part in parts
    ]
    with ThreadPoolExecutor(16) as pool:
        answers = [answer for told in pool.map(ask, range(16)) for answer in told]
    unknown = httpx.post(f"{predict.url}{MODEL}/versions/3:predict", json={"instances": [IMAGE]})
    known = [state["version"] for state in httpx.get(predict.url + MODEL).json()["model_version_status"]]
    later = httpx.post(
        f"{serve('predict', MODELS_DIR=str(models), THREADS='8').url}{MODEL}:predict", json={"instances": [IMAGE]}
    )

    assert len(answers) == 16 * 30
    for path, version, predictions, turn in answers:
        assert version == paths[path]
        assert predictions == [f"version {version}"] * (1 + turn % 3)
    assert not copied_parts
    assert (unknown.status_code, known) == (404, ["1", "2"])
    assert (later.headers["X-Nightshift-Version"], later.json()) == ("3", {"predictions": ["version 3"]})


def test_a_version_in_a_format_of_keras_is_refused_unopened_and_stops_no_other(serve, tmp_path):
    """Only SavedModels: the status says why, and how to export one; a pipe shows that nobody opened the file."""
    add_digits(tmp_path)
    for version, file in (("2", "lambda.keras"), ("3", "model.h5")):
        (tmp_path / "digits" / version).mkdir()
        os.mkfifo(tmp_path / "digits" / version / file)
    predict = serve("predict", MODELS_DIR=str(tmp_path))

    named = httpx.post(f"{predict.url}{MODEL}/versions/2:predict", json={"instances": [IMAGE]})
    default = httpx.post(f"{predict.url}{MODEL}:predict", json={"instances": [IMAGE]})
    states = httpx.get(predict.url + MODEL).json()["model_version_status"]

    why = (
        "holds neither model.json nor saved_model.pb; only SavedModels are taken; a .keras or .h5 file is not opened, "
        "since loading one can run code that it holds; in Keras, model.export(folder) writes a SavedModel"
    )
    assert (named.status_code, json.loads(named.text)) == (500, {"error": f"digits/2: {why}"})
    assert (default.status_code, default.headers["X-Nightshift-Version"]) == (200, "1")
    assert [(state["state"], state["status"]["error_message"]) for state in states] == [
        *(("AVAILABLE", ""), ("END", f"digits/2: {why}"), ("END", f"digits/3: {why}")),
    ]
