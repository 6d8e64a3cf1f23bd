"""The log lines say enough to draw latency, batch size, load time and errors of each model; the headers name it."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from shared.config import ROOT

DIGITS = ROOT / "model" / "digits" / "1"
EXAMPLE = json.loads((DIGITS / "model.json").read_bytes())["example"]


@pytest.fixture
def predict(tmp_path, serve):
    """predict with two versions of digits: 1 is batched, 2 fails to load."""
    for number, changes in ((1, {"batching": {"speedup_at_8": 5.0}}), (2, {"version": 2})):
        folder = tmp_path / "models" / "digits" / str(number)
        shutil.copytree(DIGITS, folder)
        document = json.loads((folder / "model.json").read_bytes()) | changes
        (folder / "model.json").write_text(json.dumps(document))
    (tmp_path / "models" / "digits" / "2" / "model.tflite").write_bytes(b"damaged")
    return serve("predict", MODELS_DIR=str(tmp_path / "models"), THREADS="16")


def lines_of(running, request_id):
    """Return the log lines of one request."""
    return [line for line in running.log_lines() if line.get("request_id") == request_id]


def ask(running, request_id, body=EXAMPLE, path="/v1/models/digits/versions/1:predict"):
    """Send a request under an id."""
    return httpx.post(f"{running.url}{path}", json=body, headers={"X-Request-Id": request_id})


def test_an_answer_s_line_has_model_latency_and_sizes(predict):
    """Rows are the request's own; batch_rows are what ran with it."""
    rows = len(EXAMPLE["instances"])

    assert ask(predict, "one").status_code == 200

    (line,) = lines_of(predict, "one")
    facts = {key: line[key] for key in ("model", "version", "rows", "batch_rows", "outcome")}
    assert facts == {"model": "digits", "version": "1", "rows": rows, "batch_rows": rows, "outcome": "OK"}
    assert float(line["httpRequest"]["latency"].removesuffix("s")) > 0


def test_a_load_s_line_has_its_seconds_and_its_runtime(predict):
    """One line for each time a version is loaded."""
    ask(predict, "one")

    (line,) = [line for line in predict.log_lines() if "load_seconds" in line]
    assert (line["model"], line["version"], line["runtime"]) == ("digits", "1", "litert")
    assert 0 < line["load_seconds"] < 60


def test_batch_sizes_add_up_to_what_was_asked(predict):
    """Each of n that ran as one batch of n rows counts 1/n of a batch: a whole number of batches in all."""
    body = {"instances": EXAMPLE["instances"][:1]}
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda i: ask(predict, f"many-{i}", body), range(200)))

    sizes = [line["batch_rows"] for i in range(200) for line in lines_of(predict, f"many-{i}")]
    assert {answer.status_code for answer in answers} == {200}
    assert len(sizes) == 200
    assert all(sizes.count(size) % size == 0 for size in set(sizes))


@pytest.mark.parametrize(
    ("path", "body", "status", "version"),
    [
        ("/v1/models/digits/versions/1:predict", {"instances": []}, 400, "1"),
        ("/v1/models/digits/versions/1:predict", [], 400, "1"),
        ("/v1/models/digits/versions/1:classify", {"examples": [{}]}, 400, "1"),
        ("/v1/projects/p/locations/l/endpoints/digits:predict", EXAMPLE, 500, "2"),
        ("/", {"instances": "x"}, 400, "2"),
        ("/v2/models/digits/versions/1/infer", {}, 400, "1"),
        ("/v2/models/digits/versions/2/infer", {}, 400, "2"),
        ("/v1/models/digits/versions/2:predict", EXAMPLE, 500, "2"),
    ],
)
def test_an_error_names_the_version_too(predict, path, body, status, version):
    """In its headers and in its line, so that errors can be counted by model."""
    answer = ask(predict, "wrong", body, path)

    (line,) = lines_of(predict, "wrong")
    assert answer.status_code == status
    assert answer.headers["X-Nightshift-Model"] == line["model"] == "digits"
    assert answer.headers["X-Nightshift-Version"] == line["version"] == version
    assert line["outcome"] not in ("OK", "INTERNAL")


def test_one_request_s_notes_are_not_another_s(predict):
    """A thread answers one request after the other."""
    ask(predict, "one")
    for number in range(16):
        httpx.get(f"{predict.url}/openapi.json", headers={"X-Request-Id": f"plain-{number}"})

    lines = [line for number in range(16) for line in lines_of(predict, f"plain-{number}")]
    assert len(lines) == 16
    assert not any("model" in line or "rows" in line for line in lines)
