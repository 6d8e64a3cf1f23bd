"""Answered predictions go to a topic and from there into the store, once each; the answers stand in any case."""

import json
import random
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy
import pytest

from model.registry import Registry
from shared.config import ROOT, child_environment
from shared.errors import ConfigurationError
from shared.records import ResultQuery
from shared.stores import open_results

pytestmark = pytest.mark.xdist_group("pubsub")

V1 = "/v1/models/digits:predict"
V2 = "/v2/models/digits/infer"
PROJECT = "nightshift-tests"
EXAMPLE = json.loads((ROOT / "model/digits/1/model.json").read_bytes())["example"]
# The pixels are whole numbers there; here they show that no digit is changed.
IMAGE = [[float(pixel) for pixel in row] for row in EXAMPLE["instances"][0]["image"]]
WAIT_SECONDS = 30.0


@pytest.fixture
def topic(pubsub):
    """Return the name of a new topic."""
    return pubsub.new_topic()


@pytest.fixture
def predict(serve, pubsub, topic):
    """Return a starter of a predict that logs all it answers to the topic."""

    def start(**env):
        logging = {"LOG_PREDICTIONS": "1", "PROJECT_ID": PROJECT, "PREDICTIONS_TOPIC": topic}
        return serve("predict", **{"PUBSUB_EMULATOR_HOST": pubsub.host, "THREADS": "8", **logging, **env})

    return start


@pytest.fixture
def stored(state_dir):
    """Return a reader of everything the store holds, the oldest first."""

    def read():
        store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
        try:
            query = ResultQuery(order="asc")
            return store.list_results(query, after=None, limit=1000, now=datetime.now(UTC))
        finally:
            store.close()

    return read


def eventually(read, wanted):
    """Return what is read, once it is what is wanted or the time is over."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not wanted(found := read()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def ask(running, body, path=V1, request_id="one", headers=None):
    """Post a body, bytes or a value."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"X-Request-Id": request_id, **(headers or {})}
    return httpx.post(f"{running.url}{path}", content=content, headers=named, timeout=30)


def line_of(running, request_id="one"):
    """Return the log line of a request."""
    (line,) = [line for line in running.log_lines() if line.get("request_id") == request_id]
    return line


def pair(result):
    """Return what a result holds, as text."""
    return result.instances, result.predictions


def inner(text, member):
    """Return the text of a member whose value is the last in an object, as predict writes its answers."""
    return text[text.index(f'"{member}":') + len(member) + 3 : text.rindex("}")]


def test_what_was_answered_is_in_the_store_once_and_to_the_character(serve, pubsub, topic, predict, stored):
    """Every dialect ends as instances and predictions; what was refused is not there."""
    keeper = serve("store_result", THREADS="4")
    pubsub.push(topic, keeper.url)
    running = predict(DEFAULT_MODEL="digits")
    image, other = json.dumps(IMAGE), json.dumps(IMAGE).replace(" ", "").replace("0.0", "0")
    flat = json.dumps([pixel for row in IMAGE for pixel in row])
    tensor = f'{{"name":"image","datatype":"FP32","shape":[1,8,8],"data":{flat}}}'
    bodies = {
        "rows": (V1, f'{{"instances" : [ {image},\n{other}] }} '),
        "named": (V1, f'{{"signature_name":"serving_default", "instances":[{{"image":{image}}}]}}'),
        "nan": (V1, f'{{"instances":[{image.replace("0.0", "NaN", 1)}]}}'),
        "columns": (V1, f'{{"inputs":{{"image": [{image}]}},"signature_name":""}}'),
        "default": ("/", f'{{"instances":[{image}]}}'),
        "endpoint": ("/v1/projects/p/locations/l/endpoints/digits:predict", f'{{"instances":[{other}]}}'),
        "v2": (V2, f'{{"inputs":[{tensor}],"outputs":[{{"name":"digit"}}]}}'),
        **{f"wrong-{n}": (path, "{}") for n, path in enumerate((V1, V2, "/", "/v1/models/none:predict"))},
    }

    answers = {name: ask(running, body.encode(), path, name) for name, (path, body) in bodies.items()}

    found = eventually(stored, lambda results: len(results) >= 7)
    rows = {name: inner(answers[name].text, "predictions") for name in ("rows", "named", "nan")}
    vertex = {
        name: answers[name].text.split('"predictions":')[1].split(',"deployedModelId"')[0]
        for name in ("default", "endpoint")
    }
    digit = answers["v2"].json()["outputs"][0]["data"]
    assert [a.status_code for name, a in answers.items() if name.startswith("wrong")] == [400, 400, 400, 404]
    assert sorted(map(pair, found)) == sorted(
        [
            (f"[ {image},\n{other}]", rows["rows"]),
            (f'[{{"image":{image}}}]', rows["named"]),
            (f"[{image.replace('0.0', 'NaN', 1)}]", rows["nan"]),
            (f'{{"image": [{image}]}}', inner(answers["columns"].text, "outputs")),
            (f"[{image}]", vertex["default"]),
            (f"[{other}]", vertex["endpoint"]),
            (f'{{"image":[{image.replace(" ", "")}]}}', f'{{"digit":[{digit[0]}]}}'),
        ]
    )
    assert {(result.model, result.version) for result in found} == {("digits", "1")}
    assert [json.loads(result.summary)["count"] for result in found].count(2) == 1
    assert {line_of(running, name).get("prediction_log") for name in bodies if "wrong" not in name} == {"published"}
    assert {line_of(running, name).get("prediction_log") for name in bodies if "wrong" in name} == {None}


def test_a_binary_call_is_logged_as_its_columns(pubsub, topic, predict):
    """Raw tensors go in and out; the log is text all the same."""
    subscription = pubsub.subscribe(topic)
    running = predict()
    raw = numpy.array([IMAGE], "<f4").tobytes()
    entry = {"name": "image", "datatype": "FP32", "shape": [1, 8, 8], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [entry], "parameters": {"binary_data_output": True}}).encode()

    answer = ask(running, head + raw, V2, headers={"Inference-Header-Content-Length": str(len(head))})

    (message,) = map(json.loads, pubsub.pull(subscription))
    digit = int.from_bytes(answer.content[int(answer.headers["Inference-Header-Content-Length"]) :][:8], "little")
    assert message["instances"] == {"image": [IMAGE]}
    assert message["predictions"]["digit"] == [digit]
    assert numpy.array(message["predictions"]["probabilities"]).shape == (1, 10)


@contextmanager
def relay(target, refusals):
    """Pass pushes on to a function, and say for the first few that it failed, though it did not; yield all bodies."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            kept = httpx.post(target, content=body, headers={"Content-Type": self.headers["Content-Type"]})
            bodies.append(body)
            self.send_response(500 if len(bodies) <= refusals else kept.status_code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", bodies
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_prediction_that_is_delivered_again_is_stored_once(serve, pubsub, topic, predict, stored):
    """Pub/Sub delivers at least once: what was stored and not acknowledged comes again, and is a replay."""
    keeper = serve("store_result", THREADS="4")
    running = predict()
    with relay(keeper.url, refusals=1) as (url, bodies):
        pubsub.push(topic, url)

        ask(running, EXAMPLE)
        eventually(lambda: bodies, lambda found: len(found) >= 2)

    replays = [line["replayed"] for line in keeper.log_lines() if "replayed" in line]
    assert replays == [False, True]
    assert len({json.loads(body)["message"]["messageId"] for body in bodies}) == 1
    assert len(stored()) == 1


def test_the_same_prediction_twice_is_two_results(pubsub, topic, predict):
    """Each answer is logged under an id of its own, whatever the caller calls its request."""
    subscription = pubsub.subscribe(topic)
    running = predict()

    for _ in range(2):
        ask(running, EXAMPLE, request_id="same")

    ids = {json.loads(message)["request_id"] for message in pubsub.pull(subscription)}
    assert len(ids) == 2
    assert "same" not in ids


def test_a_topic_that_is_silent_killed_and_back_changes_no_answer(pubsub, topic, predict):
    """Three wait in vain, then nobody does; when it answers again, predictions are logged again."""
    running = predict()
    right = ask(running, EXAMPLE, request_id="before").content

    pubsub.pause()
    silent = [ask(running, EXAMPLE, request_id=f"silent-{n}") for n in range(6)]
    pubsub.resume()
    pubsub.kill()
    killed = [ask(running, EXAMPLE, request_id=f"killed-{n}") for n in range(6)]
    pubsub.start()
    pubsub.create_topic(topic)
    numbers = iter(range(10_000))

    def again():
        name = f"again-{next(numbers)}"
        return ask(running, EXAMPLE, request_id=name).content == right and line_of(running, name)["prediction_log"]

    assert eventually(again, lambda outcome: outcome == "published") == "published"
    assert {answer.content for answer in silent + killed} == {right}
    outcomes = [line_of(running, f"silent-{n}")["prediction_log"] for n in range(6)]
    assert outcomes[:3] == ["timed_out"] * 3
    assert set(outcomes[3:]) == {"skipped"}
    assert line_of(running, "silent-0")["prediction_log_error"] == "DeadlineExceeded"
    assert {line_of(running, f"killed-{n}")["prediction_log"] for n in range(6)} <= {"failed", "skipped"}
    (first, *_) = [line for line in running.log_lines() if "pause_seconds" in line]
    assert (first["severity"], first["pause_seconds"], first["topic"]) == (
        "WARNING",
        1.0,
        f"projects/{PROJECT}/topics/{topic}",
    )


def test_a_function_that_logs_ends_when_it_is_told_to(predict):
    """Right after its first prediction too, while the client may be at work."""
    running = predict()
    ask(running, EXAMPLE)

    running.process.terminate()

    assert running.process.wait(10) == 0


def test_a_topic_that_was_never_there_changes_no_answer(predict):
    """Not even the first, which is also what starts the client."""
    running = predict(PUBSUB_EMULATOR_HOST="127.0.0.1:1")

    answers = [ask(running, EXAMPLE, request_id=f"n-{n}") for n in range(5)]

    outcomes = [line_of(running, f"n-{n}")["prediction_log"] for n in range(5)]
    assert {answer.status_code for answer in answers} == {200}
    assert outcomes[:3] == ["failed"] * 3
    assert line_of(running, "n-0")["prediction_log_error"] == "ServiceUnavailable"


def test_a_prediction_over_seven_megabytes_is_answered_and_not_logged(pubsub, topic, predict):
    """Pub/Sub would refuse it; the limit counts the message, and one that just fits is logged."""
    subscription = pubsub.subscribe(topic)
    running = predict(MAX_BODY_BYTES="8000000")

    def padded(spaces):
        return b'{"instances":[' + b" " * spaces + json.dumps(IMAGE).encode() + b"]}"

    ask(running, padded(0), request_id="small")
    (message,) = pubsub.pull(subscription)
    room = 7_000_000 - len(message)
    fits = ask(running, padded(room), request_id="fits")
    over = ask(running, padded(room + 1), request_id="over")

    # Reading and writing 7 MB takes its time, on a small machine more than its bound.
    assert line_of(running, "fits")["prediction_log"] in ("published", "timed_out")
    assert line_of(running, "over")["prediction_log"] == "too_large"
    assert fits.content == over.content
    assert all(len(message) == 7_000_000 for message in pubsub.pull(subscription))


def test_a_share_of_the_predictions_is_logged(pubsub, topic):
    """Each has the same chance; four standard deviations off would be one run in ten thousand."""
    from functions.predict.prediction_log import PredictionLog
    from shared.topics import Topic

    subscription = pubsub.subscribe(topic)
    log = PredictionLog(Topic(PROJECT, topic), 0.5, chance=random.Random(7).random)
    found = Registry.scan(ROOT / "model").find("digits")

    for number in range(400):
        log.write(found, lambda number=number: (b"[%d]" % number, b"[]"))

    numbers = {json.loads(message)["instances"][0] for message in pubsub.pull(subscription)}
    assert abs(len(numbers) - 200) <= 40
    assert len({number // 100 for number in numbers}) == 4


def test_what_cannot_be_written_as_text_fails_alone(pubsub, topic):
    """A fault of ours while logging is counted by its type, and the next prediction is logged."""
    from functions.predict.prediction_log import PredictionLog
    from shared.log import start_notes
    from shared.topics import Topic

    log = PredictionLog(Topic(PROJECT, topic), 1)
    found = Registry.scan(ROOT / "model").find("digits")

    def broken():
        raise ZeroDivisionError

    notes = []
    for payloads in (broken, lambda: (b"[]", b"[]")):
        notes.append(start_notes())
        log.write(found, payloads)

    assert notes == [
        {"prediction_log": "failed", "prediction_log_error": "ZeroDivisionError"},
        {"prediction_log": "published"},
    ]


WITHOUT_LOG = """
import json, sys
from tests.support import function_client
answer = function_client("predict").post("/v1/models/digits:predict", data=sys.argv[1])
assert answer.status_code == 200, answer.text
heavy = ("grpc", "google.api_core", "google.auth", "google.cloud.pubsub", "google.pubsub", "shared.topics")
print(json.dumps([name for name in sys.modules if name.startswith(heavy)]))
"""


def test_without_a_share_nothing_is_published_and_nothing_imported(pubsub, topic, serve):
    """predict starts as fast as if there were no topics."""
    subscription = pubsub.subscribe(topic)
    settings = {"PROJECT_ID": PROJECT, "PREDICTIONS_TOPIC": topic, "LOG_PREDICTIONS": "0"}
    command = [sys.executable, "-c", WITHOUT_LOG, json.dumps(EXAMPLE)]

    run = subprocess.run(command, env=child_environment(settings), capture_output=True, text=True, cwd=ROOT, check=True)

    assert json.loads(run.stdout.splitlines()[-1]) == []
    assert pubsub.pull(subscription) == []


def test_a_share_without_a_project_ends_the_start(client):
    """The topic could not be found; both variables are named."""
    with pytest.raises(ConfigurationError, match="LOG_PREDICTIONS: expected PROJECT_ID"):
        client("predict", LOG_PREDICTIONS="0.1")


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
def test_examples_and_bytes_are_logged_as_well(client, pubsub, topic, tmp_path):
    """classify and regress by their examples; bytes that are no text in base64."""
    import tensorflow as tf

    texts = [tf.TensorSpec([None], tf.string)]
    module = tf.Module()
    module.score = tf.function(lambda inputs: {"scores": _half(tf, inputs)}, input_signature=texts)
    module.value = tf.function(lambda inputs: {"outputs": _half(tf, inputs)}, input_signature=texts)
    module.echo = tf.function(lambda s: {"s": s}, input_signature=texts)
    signatures = {"serving_default": module.score, "value": module.value, "echo": module.echo}
    tf.saved_model.save(module, str(tmp_path / "models/m/1"), signatures)
    subscription = pubsub.subscribe(topic)
    predict = client(
        "predict",
        MODELS_DIR=str(tmp_path / "models"),
        LOG_PREDICTIONS="1.0",
        PROJECT_ID=PROJECT,
        PREDICTIONS_TOPIC=topic,
    )
    entry = {"name": "s", "datatype": "BYTES", "shape": [2], "parameters": {"binary_data_size": 10}}
    head = json.dumps(
        {"inputs": [entry], "parameters": {"signature_name": "echo", "binary_data_output": True}}
    ).encode()
    header = {"Inference-Header-Content-Length": str(len(head))}
    calls = [
        ("/v1/models/m:classify", b'{"examples": [ {"a": 1.0} ]}', {}),
        ("/v1/models/m:regress", b'{"signature_name": "value", "examples": [{"a": 1.0}], "context": {"b": 2} }', {}),
        ("/v2/models/m/infer", head + b"\2\0\0\0\xc3\xa9\0\0\0\0", header),
        ("/v2/models/m/infer", head + b"\2\0\0\0\xff\xfe\0\0\0\0", header),
    ]

    answers = [predict.post(path, data=body, headers=headers) for path, body, headers in calls]

    assert [answer.status_code for answer in answers] == [200] * 4
    logged = sorted(message.split(b',"instances":')[1] for message in pubsub.pull(subscription))
    assert logged == sorted(
        [
            b'[ {"a": 1.0} ],"predictions":[[["",0.5]]]}',
            b'{"context":{"b": 2},"examples":[{"a": 1.0}]},"predictions":[0.5]}',
            '{"s":["é",""]},"predictions":{"s":["é",""]}}'.encode(),
            b'{"s":[{"b64":"//4="},{"b64":""}]},"predictions":{"s":[{"b64":"//4="},{"b64":""}]}}',
        ]
    )


def _half(tf, inputs):
    """Return 0.5 for each, in a column."""
    return tf.fill([tf.shape(inputs)[0], 1], 0.5)
