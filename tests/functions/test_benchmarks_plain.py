"""The plain function that predict is measured beside is a fair rival: it answers, and rightly."""

import json

import pytest

from benchmarks.predicting import PLAIN
from shared.config import ROOT

pytestmark = [pytest.mark.tensorflow, pytest.mark.xdist_group("tensorflow")]

HELD_OUT = json.loads((ROOT / "model/digits/held_out.json").read_text())


def test_the_plain_function_finds_the_digits_that_predict_finds(client):
    """It loads digits from its SavedModel on the first request and answers rows as predict does."""
    body = {"instances": [{"image": image} for image in HELD_OUT["images"][:20]]}
    expected = [row["digit"] for row in client("predict").post("/", json=body).json["predictions"]]
    plain = client("predict", source=PLAIN.path, MODEL_FOLDER=str(ROOT / "model/digits/1"))

    for _ in range(2):
        predictions = plain.post("/", json=body).json["predictions"]

        assert [row["digit"] for row in predictions] == expected
        assert all(sum(row["probabilities"]) == pytest.approx(1, abs=1e-5) for row in predictions)
