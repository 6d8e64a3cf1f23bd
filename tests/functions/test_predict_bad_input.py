"""predict and what nobody should send it: refused in the dialect, never a crash, never an answer to something else."""

import contextlib
import gzip
import http.client
import json
import re
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.batching import BatchingRuntime
from model.registry import Registry
from model.runtimes.litert import LiteRTRuntime
from shared.config import ROOT
from tests.support import running_function

PREDICT, INFER = "/v1/models/digits:predict", "/v2/models/digits/infer"
VERTEX = "/v1/projects/p/locations/l/endpoints/digits:predict"
LENGTH = "Inference-Header-Content-Length"
HELD_OUT = json.loads((ROOT / "model/digits/held_out.json").read_text())
IMAGE, DIGIT = HELD_OUT["images"][0], HELD_OUT["digits"][0]
RAW = numpy.array([IMAGE], "<f4").tobytes()  # 256 bytes

# The client fixture is made once for all examples of a test: it keeps nothing of a request.
fuzzed = settings(
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def predict(client):
    """The function in this process, with the models of the repository."""
    return client("predict")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A predict of its own process that has answered once."""
    folder = tmp_path_factory.mktemp("predict")
    with running_function("predict", {"STATE_DIR": str(folder), "THREADS": "4"}, folder / "log") as running:
        assert httpx.post(running.url + PREDICT, json={"instances": [IMAGE]}).status_code == 200
        yield running


def binary_call(shape=(1, 8, 8), size=256, **members):
    """The JSON part of a V2 request whose only input follows as raw bytes."""
    entry = {"name": "image", "shape": list(shape), "datatype": "FP32", "parameters": {"binary_data_size": size}}
    return json.dumps({"inputs": [entry], **members}).encode()


def is_refused(answer, statuses=(400,)):
    """Whether an answer is one of these refusals, in the dialect: one member, `error`, and it is no long text."""
    error = json.loads(answer.data)
    assert answer.status_code in statuses, answer.data
    assert list(error) == ["error"]
    assert 0 < len(error["error"]) < 9000  # the longest path, which names what was not found, and some words
    return True


def check_answer(answer):
    """An answer of as many predictions as are in it, or a refusal: never a 5xx, never half of something."""
    if answer.status_code != 200:
        return is_refused(answer, (400, 404, 413, 415))
    length = answer.headers.get(LENGTH)
    assert {"predictions", "outputs", "model_name"} & json.loads(answer.data[: length and int(length)]).keys()
    return False


# Fuzz


SMALL = json.dumps({"signature_name": "serving_default", "instances": [{"image": [[1] * 8] * 8}]}).encode()
PIECES = st.binary(max_size=3) | st.sampled_from(
    [b"[" * 70, b"9" * 400, b'"', b"\\ud800", b'"image":1,', b"1e999", b"NaN", b"null", b"{}", b"-", b"\xef\xbb\xbf"]
)


def spoilt(data, body):
    """Replace, cut out or put in bytes anywhere, up to three times."""
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(changed)))
        changed[at : at + data.draw(st.integers(0, 6))] = data.draw(PIECES)
    return bytes(changed)


@settings(fuzzed, max_examples=250)
@given(st.data())
def test_no_bytes_make_predict_fail(predict, data):
    """A good body that was damaged, on its way or on purpose: answered or refused."""
    body = spoilt(data, SMALL)
    headers = {}
    if data.draw(st.integers(0, 5)) == 0:
        body, headers = spoilt(data, gzip.compress(body)), {"Content-Encoding": "gzip"}

    check_answer(predict.post(PREDICT, data=body, headers=headers))


LEAVES = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3), st.just("\ud800"))
ANY = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.text(max_size=3), inner))
MEMBERS = st.sampled_from(
    ["instances", "inputs", "signature_name", "parameters", "examples", "context", "outputs", "id"]
)


@settings(fuzzed, max_examples=60)
@given(st.dictionaries(MEMBERS, ANY) | ANY, st.sampled_from([PREDICT, "/", VERTEX, INFER]))
def test_no_json_makes_predict_fail(predict, body, path):
    """Any JSON at all, at every way in, and no answer: none of it is a picture of eight by eight."""
    answer = predict.post(path, data=json.dumps(body))

    assert answer.status_code == 400
    error = json.loads(answer.data)["error"]
    assert isinstance(error, str) == (path in (PREDICT, INFER))
    assert isinstance(error, str) or error["status"] == "INVALID_ARGUMENT"


@settings(fuzzed, max_examples=250)
@given(st.data())
def test_no_bytes_make_a_v2_request_fail(predict, data):
    """JSON and tensor damaged together, the header's length right, wrong or none."""
    text = binary_call()
    body = spoilt(data, text + RAW)
    header = data.draw(st.none() | st.just(len(text)) | st.integers(-1, len(body) + 1))

    check_answer(predict.post(INFER, data=body, headers={} if header is None else {LENGTH: str(header)}))


@settings(fuzzed, max_examples=250)
@given(
    *(st.integers(-8, 8), st.sampled_from([-256, -1, 0, 1, 256]), st.sampled_from([-256, -1, 0, 1, 256])),
    *(st.sampled_from([(1, 8, 8), (0, 8, 8), (2, 8, 8), (1, 8, 4), (2**31 - 1, 8, 8)]), st.booleans()),
)
def test_lengths_that_do_not_agree_are_never_answered(predict, header_off, size_off, body_off, shape, binary_out):
    """Header, binary_data_size, shape and body each say how long the tensor is: all agree, or it is 400."""
    text = binary_call(shape, len(RAW) + size_off, parameters={"binary_data_output": binary_out})
    raw = RAW[: len(RAW) + body_off] if body_off < 0 else RAW + bytes(body_off)

    answer = predict.post(INFER, data=text + raw, headers={LENGTH: str(len(text) + header_off)})

    rows = {(1, 8, 8): 1, (0, 8, 8): 0, (2, 8, 8): 2}.get(shape)
    if header_off == 0 and rows is not None and rows * 256 == len(RAW) + size_off == len(raw):
        assert answer.status_code == 200
    else:
        assert is_refused(answer)


# Names and paths


NAMES = [
    *(
        "..%2fsecret",
        "%2e%2e%2fsecret",
        "..%252fsecret",
        "digits%2f..%2f..%2fsecret",
        "....%2f%2fsecret",
        "..%5csecret",
    ),
    *("%2fetc", "%2fetc%2fpasswd", "~", ".", "..", "...", "CON", "NUL", "digits%00", "%00", "digits%20", "DIGITS"),
    *(
        "digits%0d%0aX-Evil:1",
        "%ff%fe",
        "%f0%9f%92%a5",
        "%e2%80%8fdigits",
        "link",
        "digits%2f1",
        "__class__",
        "a" * 8000,
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_looked_up_and_never_a_path(client, tmp_path, name):
    """A sound model beside the models' folder, or behind a link that leaves it, is at no name, in no dialect."""
    for folder in ("models/digits/1", "secret/1"):
        shutil.copytree(ROOT / "model/digits/1", tmp_path / folder)
    (tmp_path / "models/link").symlink_to(tmp_path / "secret")
    predict = client("predict", MODELS_DIR=str(tmp_path / "models"))
    body = json.dumps({"instances": [IMAGE]})

    for path in (f"/v1/models/{name}:predict", f"/v1/models/{name}/versions/1:predict"):
        assert is_refused(predict.post(path, data=body), (400, 404))
    assert is_refused(predict.get(f"/v1/models/{name}/metadata"), (400, 404))
    assert is_refused(predict.post(f"/v2/models/{name}/infer", data=body), (404,))
    assert is_refused(predict.get(f"/v2/models/{name}/ready"), (404,))
    vertex = predict.post(f"/v1/projects/p/locations/l/endpoints/{name}:predict", data=body)
    assert vertex.status_code in (400, 404)


@pytest.mark.parametrize("version", ["0", "-1", "1.0", "1e0", "²", "%D9%A1", "9" * 18, "9" * 5000, "..", "latest", ""])
def test_a_version_is_a_number_that_is_there(predict, version):
    """Anything else names nothing."""
    body = json.dumps({"instances": [IMAGE]})

    assert is_refused(predict.post(f"/v1/models/digits/versions/{version}:predict", data=body), (400, 404))
    assert is_refused(predict.post(f"/v2/models/digits/versions/{version}/infer", data=body), (404,))


def exchange(server, data, half_close=False):
    """Send bytes over a connection of their own and return the status and the body."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        response = http.client.HTTPResponse(sock, method="POST")
        response.begin()
        return response.status, response.read()


def head(path, *lines):
    """Spell the head of a POST."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: nightshift", *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    "target",
    [
        *("/v1/models/../secret:predict", "/v1/models/digits/../../secret:predict", "//v1/models/digits:predict"),
        *("http://evil.example/v2/models/none/infer", "/v1/models/digits:predict/../..", "/v1//models/digits:predict"),
        *("/v1/models/digits%3Apredict", "/v1/models/digits:predict%00", "/%76%32/../v1/models/digits:predict"),
    ],
)
def test_a_raw_request_line_reaches_no_other_path(server, target):
    """As sent over the wire, where clients do not tidy up: answered for the very path, or refused."""
    body = json.dumps({"instances": [IMAGE]}).encode()

    status, answer = exchange(server, head(target, f"Content-Length: {len(body)}") + body)

    if target == "/v1/models/digits%3Apredict":  # the same path in other letters
        assert (status, json.loads(answer)["predictions"][0]["digit"]) == (200, DIGIT)
    else:
        assert status in (400, 404)
        assert "error" in json.loads(answer)


# Bodies


def test_forty_megabytes_are_413_however_they_come(server):
    """Said in advance, in chunks, or said to be less."""
    chunks = b"".join(b"100000\r\n%b\r\n" % bytes(1 << 20) for _ in range(40)) + b"0\r\n\r\n"

    for path in (PREDICT, INFER):
        assert exchange(server, head(path, "Content-Length: 40000000"))[0] == 413
        status, answer = exchange(server, head(path, "Transfer-Encoding: chunked") + chunks)
        assert (status, list(json.loads(answer))) == (413, ["error"])


def test_a_length_that_lies_is_never_answered(server):
    """More than comes: 400. Less: the rest is no request, and nobody gets an answer to it."""
    body = json.dumps({"instances": [IMAGE]}).encode()
    more = exchange(server, head(PREDICT, f"Content-Length: {len(body) + 5}") + body, half_close=True)
    less = exchange(server, head(PREDICT, f"Content-Length: {len(body) - 5}") + body)

    for status, answer in (more, less):
        assert status == 400
        assert list(json.loads(answer)) == ["error"]
    assert httpx.post(server.url + PREDICT, content=body).json()["predictions"][0]["digit"] == DIGIT


BAD_BODIES = [
    (b'{"instances":' + b"[" * 200_000, "nested too deeply"),
    (b'{"instances":' + b"[" * 64 + b"]" * 64 + b"}", "nested too deeply"),
    (b'{"parameters":' + b'{"a":' * 300 + b"1" + b"}" * 301, "nested too deeply"),
    (json.dumps({"instances": [IMAGE]}).encode("utf-16"), "expected UTF-8"),
    (b'{"instances": [[["\xff"]]]}', "expected UTF-8"),
    (b'\xef\xbb\xbf{"instances": [1]}', "expected JSON"),
    (b'{"instances": [1]} {"instances": [2]}', "expected JSON"),
    (b'{"instances": [1]}\0', "expected JSON"),
    (b'{"instances": [1], "instances": [2]}', 'the member "instances" is there twice'),
    (b'{"instances": [{"image": 1, "image": 1}]}', 'the member "image" is there twice'),
    (b'{"instances": [{"image": NaN, "ima\\u0067e": 1}]}', 'the member "image" is there twice'),
    (b'{"instances": [[[' + b"9" * 5000 + b"]]]}", "expected at most 4300 digits"),
    (b'{"instances": [{"' + b"n" * 100_000 + b'": 1}]}', "has no input image"),
    (b'{"instances": [{"image": 1, "' + b"n" * 100_000 + b'": 1}]}', "does not have named input"),
    (b'{"instances": [[1, 2], [3]]}', "instances[1]"),
    (b'{"instances": [' + b"[]," * 300_000 + b"[]]}", "got shape [300001, 0]"),
    (b'{"inputs": {"b64": "AA=="}}', "got shape []"),
]


@pytest.mark.parametrize(("body", "message"), BAD_BODIES)
def test_a_body_that_is_not_one_is_400(predict, body, message):
    """Deep, doubled, of another encoding, with more after it, with numbers and names beyond measure."""
    answer = predict.post(PREDICT, data=body)

    assert is_refused(answer)
    assert message in json.loads(answer.data)["error"]


@pytest.mark.parametrize("digits", [20, 400, 4300])
def test_a_number_without_end_is_exact_or_refused(predict, digits):
    """A float takes what a float can hold; no number of any length ends in a failure."""
    image = [list(row) for row in IMAGE]
    body = json.dumps({"instances": [image]}).replace(str(image[1][2]), "9" * digits, 1).encode()

    answer = predict.post(PREDICT, data=body)

    assert check_answer(answer) == (digits > 300)


def test_the_server_has_neither_failed_nor_grown(server):
    """After bodies that cost their reader most for their size: no 5xx, no traceback, and memory is where it was."""

    def peak_kib():
        pid = server.process.pid
        (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(re.search(r"^VmHWM:\s+(\d+)", Path(f"/proc/{worker}/status").read_text(), re.MULTILINE)[1])

    shapes = [[2**31 - 1, 8, 8], [1_000_000_000, 0], [0] * 64, [0, 2**31 - 1, 2**31 - 1], [2**62] * 3, [1] * 100_000]
    calls = [(INFER, binary_call(shape, 0)) for shape in shapes]
    calls += [
        (PREDICT, b'{"instances":[' + b",".join([piece] * (1_500_000 // (len(piece) + 1))) + b"]}")
        for piece in (*(b"1", b"[]", b"{}", b'""', b"[[[]]]", b'{"image":[]}', b'{"b64":""}'),)
    ]
    calls += [(PREDICT, gzip.compress(bytes(200_000_000))), (PREDICT, b'{"a":"' + b'\\"' * 700_000)]
    before = peak_kib()

    # One after the other: what several cost at once depends on how they fall together.
    with httpx.Client(timeout=60) as client:
        answers = [
            client.post(
                server.url + path,
                content=body,
                headers={
                    **({LENGTH: str(len(body))} if path == INFER else {}),
                    **({"Content-Encoding": "gzip"} if body[:2] == b"\x1f\x8b" else {}),
                },
            )
            for path, body in calls
        ]

    assert {answer.status_code for answer in answers} <= {400, 413}
    assert peak_kib() - before < 200_000
    lines = server.log_lines()
    assert not [line for line in lines if line["severity"] == "ERROR" or "stack_trace" in line]


# Models


def test_the_same_rows_get_the_same_answer_in_any_batch_on_any_thread():
    """A hundred times, in batches of 1, 7 and 64, on eight threads, batched with strangers or not."""
    signatures = Registry.scan(ROOT / "model").find("digits").sound_manifest().signatures
    plain = LiteRTRuntime((ROOT / "model/digits/1/model.tflite").read_bytes(), signatures)
    batching = BatchingRuntime(plain, signatures, max_rows=128, max_waiting_rows=1000)
    images = numpy.array(HELD_OUT["images"][:64], "f4")
    expected = plain.run("serving_default", {"image": images})

    for runtime in (plain, batching):

        def ask(index, runtime=runtime):
            rows = (1, 7, 64)[index % 3]
            first = index * 11 % (65 - rows)
            part = slice(first, first + rows)
            answer = runtime.run("serving_default", {"image": images[part]})
            assert answer["digit"].tolist() == expected["digit"][part].tolist()
            return numpy.abs(answer["probabilities"] - expected["probabilities"][part]).max()

        with ThreadPoolExecutor(8) as pool:
            assert max(pool.map(ask, range(300))) <= 1e-6


def test_fifty_requests_before_the_first_load_are_one_load_and_fifty_answers(serve):
    """All at once, to a server that has not answered anybody."""
    running = serve("predict", THREADS="50")
    together = threading.Barrier(50)

    def ask(index):
        body = json.dumps({"instances": [HELD_OUT["images"][index]]}).encode()
        together.wait(30)
        status, answer = exchange(running, head(PREDICT, f"Content-Length: {len(body)}") + body)
        return status, json.loads(answer)["predictions"][0]["digit"]

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(ask, range(50)))

    alone = Registry.scan(ROOT / "model").find("digits").load()
    digits = alone.run("serving_default", {"image": numpy.array(HELD_OUT["images"][:50], "f4")})["digit"].tolist()
    assert answers == [(200, digit) for digit in digits]
    assert len([line for line in running.log_lines() if "loaded by" in line["message"]]) == 1
