"""A model that does not answer: its callers are told in time, and everything else goes on."""

import contextlib
import hashlib
import io
import json
import random
import shutil
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from functions.predict.deadlines import Deadlines
from model.manifest import Signature, TensorSpec
from model.training.version_directory import describe_signatures, write_manifest
from shared.config import ROOT
from shared.routing import Response
from tests.functions.test_guard import connect, head, receive
from tests.unit.test_guard import guarded

IMAGE = json.loads((ROOT / "model/digits/held_out.json").read_text())["images"][0]
DIGITS, COUNTING = "/v1/models/digits:predict", "/v1/models/counting:predict"
# About three seconds of counting for one core; more on a busy machine.
LONG = 10_000_000


def add_counting_model(models):
    """Add `counting`, which LiteRT serves: it counts up to the largest of its inputs, one by one, before it answers."""
    import tensorflow as tf

    def count(x):
        last = tf.cast(tf.reduce_max(x), tf.int32)
        start = [tf.constant(0), tf.constant(0.0)]
        _, counted = tf.while_loop(lambda i, _: i < last, lambda i, total: (i + 1, total + 1.0), start)
        return {"y": x * 0.0 + counted}

    module, version = tf.Module(), models / "counting/1"
    module.count = tf.function(count, input_signature=[tf.TensorSpec([None], tf.float32, name="x")])
    tf.saved_model.save(module, str(models / "source"), signatures={"serving_default": module.count})
    version.mkdir(parents=True)
    (version / "model.tflite").write_bytes(
        tf.lite.TFLiteConverter.from_saved_model(str(models / "source")).convert(),
    )
    shutil.rmtree(models / "source")
    specs = {name: {name: TensorSpec(name, "float32", (None,))} for name in ("x", "y")}
    document = {
        "format": 1,
        "name": "counting",
        "version": 1,
        "description": "",
        "created_at": "2026-11-22T00:00:00Z",
        "signatures": describe_signatures({"serving_default": Signature(specs["x"], specs["y"], "")}, {}),
        "runtimes": ["litert"],
        "litert": {"file": "model.tflite"},
        "example": {"instances": [1]},
    }
    write_manifest(version, document)


def add_digits(models, predictor=None, version=1):
    """Add `digits` as it is in the repository, with a predictor.py if there is to be one."""
    folder = models / f"digits/{version}"
    shutil.copytree(ROOT / "model/digits/1", folder)
    document = json.loads((folder / "model.json").read_text()) | {"version": version}
    if predictor:
        (folder / "predictor.py").write_text(predictor)
        hashed = hashlib.sha256(predictor.encode()).hexdigest()
        document["files"]["predictor.py"] = {"bytes": len(predictor.encode()), "sha256": hashed}
        document["size_bytes"] += len(predictor.encode())
    (folder / "model.json").write_text(json.dumps(document))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two models that LiteRT serves: one that counts for as long as it is told to, and digits."""
    folder = tmp_path_factory.mktemp("models")
    add_counting_model(folder)
    add_digits(folder)
    return folder


def ask(sock, path, body, request_id):
    """Send a request whose answer is still to be read."""
    content = json.dumps(body).encode()
    sock.sendall(head("POST", path, {"Content-Length": len(content), "X-Request-Id": request_id}) + content)


def until_ready_is(running, status):
    """Ask whether the server is ready until it answers so."""
    deadline = time.monotonic() + 60
    while (answer := httpx.get(f"{running.url}/v2/health/ready", timeout=30)).status_code != status:
        assert time.monotonic() < deadline, answer.text
    return answer.json()


def lines_of(running, request_id):
    """Return what was logged of a request."""
    return [line for line in running.log_lines() if line.get("request_id") == request_id]


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
def test_callers_of_a_hanging_model_get_504_in_their_dialect_and_the_rest_is_served(serve, models):
    """Both places of the model hang, which readiness tells; once they are free, all is as before."""
    predict = serve("predict", MODELS_DIR=str(models), DEFAULT_MODEL="digits", THREADS="8", MODEL_TIMEOUT_SECONDS="1")
    until_ready_is(predict, 200)
    vertex = "/v1/projects/p/locations/l/endpoints/counting:predict"
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [LONG]}
    began = time.monotonic()
    with connect(predict) as serving, connect(predict) as google, connect(predict) as v2:
        ask(serving, COUNTING, {"instances": [LONG]}, "serving")
        ask(google, vertex, {"instances": [LONG]}, "vertex")
        ask(v2, "/v2/models/counting/infer", {"inputs": [tensor]}, "v2")
        answers = [receive(sock) for sock in (serving, google, v2)]
    seconds = time.monotonic() - began
    stuck = until_ready_is(predict, 503)
    health = httpx.get(f"{predict.url}/health").status_code
    other = httpx.post(predict.url + DIGITS, json={"instances": [IMAGE]}).status_code
    deadline = time.monotonic() + 60
    while (again := httpx.post(predict.url + COUNTING, json={"instances": [7]}, timeout=30)).status_code != 200:
        assert time.monotonic() < deadline, again.text
    until_ready_is(predict, 200)

    assert 0.9 < seconds < 4
    told = "no answer from counting version 1 within 1 seconds"
    assert [(answer.status, answer.closed) for answer in answers] == [(504, True)] * 3
    assert json.loads(answers[0].body) == json.loads(answers[2].body) == {"error": told}
    assert json.loads(answers[1].body)["error"]["status"] == "DEADLINE_EXCEEDED"
    assert (json.loads(answers[1].body)["error"]["message"], answers[1].reason) == (told, "MODEL_TIMEOUT")
    for answer, name in zip(answers, ("serving", "vertex", "v2"), strict=True):
        assert answer.headers["X-Request-Id"] == name
        assert (answer.headers["X-Nightshift-Model"], answer.headers["X-Nightshift-Version"]) == ("counting", "1")
        (line,) = lines_of(predict, name)
        assert (line["httpRequest"]["status"], line["outcome"], line["severity"]) == (504, "MODEL_TIMEOUT", "ERROR")
    assert "counting/1: MODEL_STUCK: at the same requests for over 1 seconds" in stuck["error"]
    assert (health, other) == (200, 200)
    assert again.json() == {"predictions": [7.0]}
    assert "Traceback" not in predict.log_path.read_text()


@pytest.mark.parametrize("threads", ["2", "1"], ids=["threads", "sync"])
def test_a_predictor_that_hangs_is_504_and_its_late_answer_goes_nowhere(serve, tmp_path, threads):
    """On either of gunicorn's workers, also on a connection that was served before; then the thread serves again."""
    end = tmp_path / "end"
    hook = f"""import os, time
def preprocess(instances):
    for _ in range(1000):
        if not os.path.exists({str(end)!r}):
            time.sleep(0.02)
    return instances
"""
    add_digits(tmp_path / "models", predictor=hook)
    predict = serve("predict", MODELS_DIR=str(tmp_path / "models"), THREADS=threads, MODEL_TIMEOUT_SECONDS="1")
    with contextlib.ExitStack() as stack:
        hanging = stack.enter_context(connect(predict))
        if threads != "1":
            hanging.sendall(head("GET", "/health"))
            assert receive(hanging, "GET").status == 200
        ask(hanging, DIGITS, {"instances": [IMAGE]}, "hangs")
        answer = receive(hanging)
        following = stack.enter_context(connect(predict))
        ask(following, DIGITS, {"instances": [IMAGE]}, "next")
        end.touch()
        next_answer = receive(following)

    assert (answer.status, answer.closed, next_answer.status) == (504, True, 200)
    assert json.loads(answer.body) == {"error": "no answer from digits version 1 within 1 seconds"}
    assert [line["httpRequest"]["status"] for line in lines_of(predict, "hangs")] == [504]
    assert [line["httpRequest"]["status"] for line in lines_of(predict, "next")] == [200]
    assert "Traceback" not in predict.log_path.read_text()


def test_a_handler_and_its_deadline_never_both_answer_and_one_does():
    """Handlers that end at about the deadline: each request is answered by one of the two."""
    deadlines, chance = Deadlines(lambda: 0.05), random.Random(1)

    def handle(seconds):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            finish = deadlines.begin({"gunicorn.socket": ours}, {}, lambda error: error.reason.encode())
            threading.Event().wait(seconds)
            answered_here = finish()
            theirs.setblocking(False)
            try:
                answered_there = theirs.recv(100) == b"MODEL_TIMEOUT"
            except BlockingIOError:
                answered_there = False
            return answered_here, answered_there

    with ThreadPoolExecutor(8) as pool:
        answered = list(pool.map(handle, [chance.uniform(0.045, 0.065) for _ in range(400)]))

    assert set(answered) == {(True, False), (False, True)}


@pytest.mark.parametrize("ends", ["answers", "fails"])
def test_a_handler_that_ends_after_its_deadline_is_silent(capfd, ends):
    """Whatever it ends with: the connection has had its answer, and the log its line."""
    ours, theirs = socket.socketpair()
    told = []

    def late(match, request, fields):
        told.append(theirs.recv(1000))  # until the deadline has answered
        if ends == "fails":
            raise ValueError("for nobody")
        return Response(b"late")

    guard = guarded(late, deadlines=Deadlines(lambda: 0.05))
    environ = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "wsgi.input": io.BytesIO(), "gunicorn.socket": ours}

    with ours, theirs, pytest.raises(ConnectionResetError):
        guard(environ, lambda *_: None)

    assert told[0].startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
    assert [json.loads(line)["httpRequest"]["status"] for line in capfd.readouterr().out.splitlines()] == [504]
