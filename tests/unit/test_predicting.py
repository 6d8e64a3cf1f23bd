"""The client behind Context.predict: the real predict's answers, and every way in which it may not answer."""

import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from functions.nightly_transform.predicting import PredictClient
from shared.config import child_environment
from shared.errors import InvalidRequestError, NotFoundError, ServiceError, UnavailableError

HELD_OUT = json.loads((Path(__file__).parents[2] / "model" / "digits" / "held_out.json").read_bytes())


@contextmanager
def answering(answer):
    """Serve HTTP on loopback by `answer(method, path, headers, body) -> (status, headers, body)`."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, headers, content = answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST  # noqa: N815 - http.server looks it up by this name

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def client(url, **options):
    predict = PredictClient(url, in_cloud=False, **options)
    try:
        yield predict
    finally:
        predict.close()


def test_the_real_predict_answers_in_order(serve):
    """One prediction an instance, of the version that was asked for; what it refuses and lacks has its own error."""
    instances = [{"image": image} for image in HELD_OUT["images"][:20]]
    with client(serve("predict").url) as predict:
        newest = predict(instances, model="digits")
        first = predict(instances, model="digits", version="1")
        with pytest.raises(InvalidRequestError, match="image"):
            predict([{"image": "none"}], model="digits")
        for missing in ({"model": "nothing"}, {"model": "digits", "version": "77"}):
            with pytest.raises(NotFoundError) as raised:
                predict(instances, **missing)
            assert raised.value.reason == "MODEL_NOT_FOUND"

    assert newest == first
    assert [answer["digit"] for answer in newest[:10]] == HELD_OUT["digits"][:10]


@pytest.mark.parametrize(
    ("status", "headers", "kind", "retry_after"),
    [
        (503, {"Retry-After": "7"}, UnavailableError, "7"),
        (503, {}, UnavailableError, "1"),
        (503, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, UnavailableError, "1"),
        (503, {"Retry-After": "99999999"}, UnavailableError, "300"),
        (429, {"Retry-After": "0"}, UnavailableError, "0"),
        (502, {}, UnavailableError, "1"),
        (504, {}, UnavailableError, "1"),
        (400, {}, InvalidRequestError, None),
        (413, {}, InvalidRequestError, None),
        (404, {}, NotFoundError, None),
        (500, {}, ServiceError, None),
        (401, {}, ServiceError, None),
        (403, {}, ServiceError, None),
    ],
)
def test_a_status_becomes_an_error_that_says_what_to_do(status, headers, kind, retry_after):
    """What passes may be tried again after what the answer says; the rest has the text that came with it."""
    answers = [b'{"error": "the reason"}', b'{"error": {"message": "the reason"}}', b"the reason", b""]

    for content in answers:
        server = answering(lambda *_, c=content: (status, headers, c))
        with server as url, client(url) as predict, pytest.raises(ServiceError) as raised:
            predict([1], model="m")
        assert type(raised.value) is kind
        assert raised.value.headers.get("Retry-After") == retry_after
        assert not content or "the reason" in raised.value.message


@pytest.mark.parametrize("content", [b"", b"[]", b'{"outputs": []}', b'{"predictions": 3}', b'{"predictions": [1, 2]}'])
def test_an_answer_of_another_shape_is_no_prediction(content):
    """One prediction for each instance, or an error."""
    with answering(lambda *_: (200, {}, content)) as url, client(url) as predict, pytest.raises(ServiceError) as raised:
        predict([1], model="m")
    assert raised.value.reason == "PREDICT_FAILED"


def test_predict_that_is_away_or_silent_is_unavailable():
    """Nobody listens, or nobody answers in time."""
    release = threading.Event()

    def silent(*_):
        release.wait(20)
        return 200, {}, b'{"predictions": [1]}'

    with answering(silent) as url:
        with client(url, timeout_seconds=0.2) as predict:
            began = time.monotonic()
            with pytest.raises(UnavailableError):
                predict([1], model="m")
            assert time.monotonic() - began < 5
        release.set()
    with client(url) as predict, pytest.raises(UnavailableError):
        predict([1], model="m")


def test_nan_goes_there_and_back():
    """predict takes and answers it, as TensorFlow Serving does."""
    bodies = []

    def answer(method, path, headers, body):
        bodies.append((path, json.loads(body)))
        return 200, {}, b'{"predictions": [NaN]}'

    with answering(answer) as url, client(url) as predict:
        (prediction,) = predict([float("inf")], model="m/ä", version="3")

    assert prediction != prediction
    assert bodies == [("/v1/models/m%2F%C3%A4/versions/3:predict", {"instances": [float("inf")]})]


def test_locally_nobody_is_asked_for_a_token():
    """Without a cloud there is neither a token nor Google's library."""
    code = "import sys; import functions.nightly_transform.predicting as p; p.PredictClient('http://x', in_cloud=False)"
    code += "; assert not {'google.auth', 'google.oauth2'} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_in_the_cloud_it_shows_who_asks():
    """One ID token from the metadata server, made out to predict, on every question; without one it is unavailable."""
    # A token that is good until 2100, as Google signs them: header.claims.signature.
    token = "eyJhbGciOiJub25lIn0.eyJleHAiOjQxMDI0NDQ4MDB9.c2ln"
    asked, shown = [], []

    def metadata(method, path, headers, body):
        asked.append(path)
        content = token if "/identity" in path else '{"email": "jobs@example.com", "aliases": ["default"]}'
        kind = "text/plain" if "/identity" in path else "application/json"
        return 200, {"Metadata-Flavor": "Google", "Content-Type": kind}, content.encode()

    def predict(method, path, headers, body):
        shown.append(headers["Authorization"])
        return 200, {}, b'{"predictions": [1]}'

    code = """
import sys
from functions.nightly_transform.predicting import PredictClient
from shared.errors import ServiceError
predict = PredictClient(sys.argv[1], in_cloud=True)
try:
    print(predict([1], model="m") + predict([1], model="m"))
except ServiceError as error:
    print(error.http_status, error.reason)
predict.close()
"""
    with answering(predict) as url, answering(metadata) as place:
        environment = {"GCE_METADATA_HOST": place.removeprefix("http://"), "NO_GCE_CHECK": "false"}
        environment |= {"GCE_METADATA_IP": place.removeprefix("http://"), "GCE_METADATA_DETECT_RETRIES": "1"}
        command = [sys.executable, "-c", code, url]
        found = subprocess.run(
            command, env=child_environment(environment), capture_output=True, text=True, check=True, timeout=60
        )
    away = subprocess.run(
        command, env=child_environment(environment), capture_output=True, text=True, check=True, timeout=100
    )

    assert found.stdout == "[1, 1]\n"
    assert shown == [f"Bearer {token}"] * 2
    tokens = [path for path in asked if "/identity" in path]
    assert len(tokens) == 1
    assert f"audience={url.replace(':', '%3A').replace('/', '%2F')}" in tokens[0]
    assert away.stdout == "503 NO_ID_TOKEN\n"
