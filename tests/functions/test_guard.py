"""The guard in front of every function, attacked over real sockets."""

import contextlib
import gzip
import http.client
import json
import os
import pty
import re
import select
import socket
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from shared.config import child_environment
from shared.records import ResultQuery
from shared.stores import open_store
from tests.support import free_port, running_function

# One worker starts each server once.
pytestmark = pytest.mark.xdist_group("guard")

GUARDED = Path(__file__).parent.parent / "samples" / "guarded.py"
STREAMING = GUARDED.with_name("streaming.py")
STREAMED = b"0" * 100_000 + b"1" * 100_000 + b"2" * 100_000
RESULT = b'{"model":"m","version":"1","instances":[1],"predictions":[2]}'
JSON = {"Content-Type": "application/json"}
CANARY = "kanarienvogel"
MIB = 1 << 20


@dataclass
class Answer:
    """What came back: `closed` once the server has closed the connection as well."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    closed: bool

    @property
    def reason(self):
        """The reason in the answer's one ErrorInfo."""
        error = json.loads(self.body)["error"]
        (info,) = error["details"]
        assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
        assert info["domain"] == "nightshift"
        assert error["code"] == self.status
        return info["reason"]


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store-result with its own limits."""
    folder = tmp_path_factory.mktemp("store")
    with running_function("store_result", {"STATE_DIR": str(folder), "THREADS": "4"}, folder / "log") as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory):
    """The sample function: 4 threads, 2.5 MB a body, 1.5 seconds of patience."""
    folder = tmp_path_factory.mktemp("guarded")
    env = {"STATE_DIR": str(folder), "THREADS": "4", "MAX_BODY_BYTES": "2500000", "PROJECT_ID": "observatory"}
    with running_function("guarded", env, folder / "log", GUARDED) as running:
        yield running


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    """A predict without a model."""
    folder = tmp_path_factory.mktemp("predict")
    env = {"STATE_DIR": str(folder), "THREADS": "4", "MODELS_DIR": str(folder)}
    with running_function("predict", env, folder / "log") as running:
        yield running


@pytest.fixture(scope="module", params=["2", "1"], ids=["threads", "sync"])
def streaming(request, tmp_path_factory):
    """The sample of streams, on both of gunicorn's workers; a reader has a second for a piece."""
    folder = tmp_path_factory.mktemp("streaming")
    env = {"STATE_DIR": str(folder), "THREADS": request.param}
    with running_function("streaming", env, folder / "log", STREAMING) as running:
        yield running


def connect(running):
    """Open a connection that gives up after ten seconds."""
    return socket.create_connection(("127.0.0.1", running.port), timeout=10)


def head(method="POST", path="/", headers=None):
    """Spell a request's head."""
    lines = [f"{method} {path} HTTP/1.1", "Host: nightshift", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def receive(sock, method="POST"):
    """Read one answer, and look whether the connection was closed after it."""
    response = http.client.HTTPResponse(sock, method=method)
    response.begin()
    body = response.read()
    closed = False
    if response.headers["Connection"] == "close":
        with contextlib.suppress(ConnectionError):
            closed = sock.recv(1) == b""
    return Answer(response.status, response.headers, body, closed)


def exchange(running, data, method="POST", half_close=False):
    """Send bytes over a connection of their own and read the answer."""
    with connect(running) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(data)
        if half_close:
            sock.shutdown(socket.SHUT_WR)
        return receive(sock, method)


def post(running, body, path="/", **headers):
    """Post a body whole."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return exchange(running, head("POST", path, {**JSON, "Content-Length": len(body), **named}) + body)


def chunked(*chunks, end=True):
    """Spell chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + (b"0\r\n\r\n" if end else b"")


def stored(running):
    """Count what store-result keeps."""
    return open_store(f"sqlite:///{running.log_path.parent}/nightshift.db").count_results(ResultQuery())


def lines_of(running, request_id):
    """Return the log lines of one request, once there is one."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = [line for line in running.log_lines() if line.get("request_id") == request_id]
        if found:
            return found
        httpx.get(f"{running.url}/health")
    raise AssertionError(f"no log line of {request_id}")


def worker_of(running):
    """Return the process id of gunicorn's only worker."""
    pid = running.process.pid
    (worker,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(worker)


def status_of(running, name):
    """Read a number from the worker's /proc status."""
    text = Path(f"/proc/{worker_of(running)}/status").read_text()
    return int(re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)[1])


# Size


def test_a_length_over_the_limit_is_413_and_the_body_stays_unread(store):
    """The answer comes at once, before a byte of the body was sent."""
    began = time.monotonic()

    answer = exchange(store, head(headers={**JSON, "Content-Length": 40_000_000}))

    assert (answer.status, answer.reason, answer.closed) == (413, "BODY_TOO_LARGE", True)
    assert time.monotonic() - began < 4


def test_a_client_that_sends_a_large_body_anyway_can_read_its_413(store):
    """An ordinary client, which sends first and reads afterwards, learns why it was refused."""
    answer = httpx.post(store.url, content=bytes(40_000_000), headers=JSON)

    assert answer.status_code == 413


def test_forty_megabytes_of_chunks_are_413(store):
    """Chunks are counted as they come."""
    answer = exchange(store, head(headers={**JSON, "Transfer-Encoding": "chunked"}) + chunked(*[bytes(MIB)] * 40))

    assert (answer.status, answer.reason) == (413, "BODY_TOO_LARGE")


def test_a_small_chunked_body_is_taken_whole(store):
    """Chunked is a normal way to send a body."""
    data = head(headers={**JSON, "Transfer-Encoding": "chunked"}) + chunked(RESULT[:7], RESULT[7:])

    assert exchange(store, data).status == 201


def test_a_body_that_is_too_large_is_413_whatever_its_type(store):
    """Of two refusals, the one that a change of headers does not lift."""
    assert exchange(store, head(headers={"Content-Length": 40_000_000})).status == 413


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_limit_itself_is_taken_and_one_byte_more_is_not(guarded, framing):
    """MAX_BODY_BYTES is the most a body may hold."""

    def send(size):
        if framing == "length":
            return post(guarded, bytes(size))
        return exchange(guarded, head(headers={**JSON, "Transfer-Encoding": "chunked"}) + chunked(bytes(size)))

    assert json.loads(send(2_500_000).body) == {"bytes": 2_500_000}
    assert send(2_500_001).status == 413


def test_a_body_shorter_than_its_length_stores_nothing(store):
    """A client that promises more than it sends and hangs up half is told so."""
    before = stored(store)

    answer = exchange(store, head(headers={**JSON, "Content-Length": len(RESULT) + 9}) + RESULT, half_close=True)

    assert (answer.status, answer.reason, answer.closed) == (400, "BODY_INCOMPLETE", True)
    assert stored(store) == before


@pytest.mark.parametrize(
    "tail",
    [chunked(RESULT, end=False), b"zz\r\n", b"5\r\nhello!!\r\n", b"-1\r\n"],
    ids=["no end", "no number", "too long", "negative"],
)
def test_malformed_chunks_store_nothing(store, tail):
    """Chunks that break off or lie are 400."""
    before = stored(store)

    answer = exchange(store, head(headers={**JSON, "Transfer-Encoding": "chunked"}) + tail, half_close=True)

    assert (answer.status, answer.reason) == (400, "BODY_INCOMPLETE")
    assert stored(store) == before


@pytest.mark.parametrize(
    "framing",
    [
        f"Content-Length: {len(RESULT)}\r\nContent-Length: {len(RESULT) + 1}",
        f"Content-Length: {len(RESULT)}\r\nTransfer-Encoding: chunked",
        "Content-Length: -1",
        "Content-Length: 0x3d",
        "Content-Length: +61",
        "Content-Length: " + "9" * 5000,
        "Transfer-Encoding: chunked, identity",
    ],
    ids=["two lengths", "length and chunks", "negative", "hexadecimal", "signed", "5000 digits", "chunks not last"],
)
def test_ambiguous_framing_is_refused_and_stores_nothing(store, framing):
    """What two servers could read differently is 400 or 413, and ends the connection."""
    before = stored(store)

    answer = exchange(store, f"POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n{JSON_LINE}\r\n\r\n".encode() + RESULT)

    assert answer.status in (400, 413)
    assert answer.headers["Connection"] == "close"
    assert stored(store) == before


JSON_LINE = "Content-Type: application/json"


# Large bodies


def open_large(running, size=2 * MIB):
    """Begin a large body and leave it unfinished; a thread of the server begins to read it about now."""
    sock = connect(running)
    sock.sendall(head(headers={**JSON, "Content-Length": size, "Expect": "100-continue"}))
    assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    sock.sendall(b"[")
    assert exchange(running, head("GET", "/health"), "GET").status == 200
    return sock


def refused(running, body):
    """Return the refusal of a large body, which comes as soon as the server's threads have begun with those before."""
    deadline = time.monotonic() + 5
    while (answer := post(running, body)).status != 503:
        assert time.monotonic() < deadline
    return answer


def test_a_third_large_body_is_503_until_one_has_gone(store):
    """Two bodies over 1 MiB at once; the place of one that ended is free again."""
    large = json.dumps({"model": "m", "version": "1", "instances": ["x" * 2 * MIB], "predictions": [1]}).encode()
    with open_large(store) as one, open_large(store) as two:
        answer = refused(store, large)
        assert (answer.reason, answer.headers["Retry-After"]) == ("TOO_MANY_LARGE_BODIES", "1")
        assert post(store, RESULT).status == 201

        one.shutdown(socket.SHUT_WR)
        assert receive(one).status == 400
        assert post(store, large).status == 201

        with open_large(store) as three:
            refused(store, large)
            for sock in (two, three):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # both clients have vanished, which the server learns in its own time
    deadline = time.monotonic() + 5
    while post(store, large).status == 503:
        assert time.monotonic() < deadline
    assert post(store, large).status == 201


def test_slow_large_bodies_lose_their_places(guarded):
    """A place is not held longer than a body may take."""
    with open_large(guarded) as one, open_large(guarded) as two:
        assert {receive(one).status, receive(two).status} == {408}

        assert post(guarded, bytes(2 * MIB)).status == 200


def test_chunked_bodies_take_a_place_once_they_are_large(guarded):
    """A chunked body does not say how long it is, and counts all the same."""
    data = head(headers={**JSON, "Transfer-Encoding": "chunked"}) + chunked(bytes(MIB + MIB // 4), end=False)

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: exchange(guarded, data), range(3)))

    assert sorted(answer.status for answer in answers) == [408, 408, 503]
    assert post(guarded, bytes(2 * MIB)).status == 200


# Encodings and content types


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, gzip", "identity, gzip", ""])
def test_store_result_takes_no_encoding(store, encoding):
    """An encoded body is 415, and is never decoded."""
    body = gzip.compress(RESULT)

    answer = post(store, body, Content_Encoding=encoding)

    assert (answer.status, answer.reason) == (415, "UNSUPPORTED_MEDIA_TYPE")


def test_predict_takes_gzip(predict):
    """As TensorFlow Serving does; the refusal is that of the model, which is not there."""
    answer = post(predict, gzip.compress(b'{"instances": [1]}'), "/v1/models/none:predict", Content_Encoding="GZIP")

    assert answer.status == 404


def bomb(megabytes):
    """Return gzip of that many megabytes of zeros, without ever making them."""
    deflate = zlib.compressobj(9, wbits=-15)
    sixteenth = deflate.compress(bytes(megabytes * 1_000_000 // 16)) + deflate.flush(zlib.Z_FULL_FLUSH)
    return gzip.compress(b"")[:10] + sixteenth * 16 + b"\x03\x00" + bytes(8)


def test_a_gzip_bomb_is_413_quickly_and_in_little_memory(predict):
    """A megabyte that would become a gigabyte is inflated to the limit and no further."""
    body = bomb(1000)
    assert 900_000 < len(body) < 1_100_000
    before_kib, began = status_of(predict, "VmHWM"), time.monotonic()

    answer = post(predict, body, "/v1/models/none:predict", Content_Encoding="gzip")

    assert answer.status == 413
    assert list(json.loads(answer.body)) == ["error"]
    assert time.monotonic() - began < 4
    assert status_of(predict, "VmHWM") - before_kib < 40_000


@pytest.mark.parametrize(
    "body",
    [gzip.compress(b"{}")[:-9], gzip.compress(b"{}") + b"more", b"plain", gzip.compress(b"{}")[:-4] + bytes(4)],
    ids=["cut", "followed by something", "not gzip", "a wrong length inside"],
)
def test_broken_gzip_is_415(predict, body):
    """One whole gzip stream, or nothing."""
    assert post(predict, body, "/v1/models/none:predict", Content_Encoding="gzip").status == 415


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("application/json; charset=latin-1", 415),
        ('application/json; charset="utf-16"', 415),
        ("application/json; profile=x; charset=latin-1", 415),
        ("application/jsonp", 415),
        ("application/json", 201),
        ("APPLICATION/JSON; Charset=UTF-8", 201),
        ('application/json;charset="utf-8"', 201),
        ("application/json; profile=x", 201),
    ],
)
def test_the_content_type_is_json_in_utf8(store, content_type, status):
    """Any other type, or none, is 415 before the body is read."""
    headers = {"Content-Length": len(RESULT), **({"Content-Type": content_type} if content_type else {})}

    assert exchange(store, head(headers=headers) + RESULT).status == status


def test_a_wrong_content_type_is_refused_before_the_body_was_sent(store):
    """Nobody has to wait for a body that will not be taken."""
    answer = exchange(store, head(headers={"Content-Type": "text/plain", "Content-Length": 1000}))

    assert answer.status == 415


# Depth


@pytest.mark.parametrize(
    ("predictions", "status"),
    [
        (b"[" * 63 + b"]" * 63, 201),
        (b"[" * 64 + b"]" * 64, 400),
        (b'["' + b"[{" * 300 + b'"]', 201),
        (b'["\\"' + b"[" * 300 + b'\\\\"]', 201),
        (b"[" * 200_000, 400),
        (b'"' + b'\\"' * 500_000 + b"[" * 65, 400),
    ],
    ids=["64 levels", "65 levels", "in a string", "behind escapes", "200000 brackets", "a string without end"],
)
def test_json_may_be_64_levels_deep(store, predictions, status):
    """Brackets in strings do not count, and no text takes long to refuse."""
    began = time.monotonic()

    answer = post(store, RESULT[: -len("[2]}")] + predictions + b"}")

    assert answer.status == status
    assert time.monotonic() - began < 5


# Methods and paths


@pytest.mark.parametrize("method", ["FOO", "TRACE", "HEAD", "OPTIONS", "PUT", "DELETE", "GET"])
def test_an_unknown_method_is_405_with_allow(store, method):
    """functions-framework would hand every method to the function."""
    answer = exchange(store, head(method, "/"), method)

    assert (answer.status, answer.headers["Allow"], answer.closed) == (405, "POST", True)
    assert answer.body == b"" if method == "HEAD" else answer.reason == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize("length", [8192, 8193, 2_000_000])
def test_a_url_over_8_kb_is_414(store, length):
    """Path and query count together; up to the limit a path is merely unknown."""
    answer = exchange(store, head("GET", "/p?" + "x" * (length - 3)), "GET")

    assert answer.status == (404 if length <= 8192 else 414)
    assert answer.reason == ("PATH_NOT_FOUND" if length <= 8192 else "URI_TOO_LONG")


@pytest.mark.parametrize("path", ["/robots.txt", "/favicon.ico"])
def test_the_paths_that_the_framework_answers_itself_speak_the_dialect(store, path):
    """functions-framework would say 404 to these in HTML, before any function is asked."""
    answer = exchange(store, head("GET", path), "GET")

    assert (answer.status, answer.reason) == (404, "PATH_NOT_FOUND")


@pytest.mark.parametrize("path", ["/..%2f..%2fetc%00", "/%ff", "//evil/x", "/."])
def test_strange_paths_are_404(store, path):
    """Nothing is at a path that no route names."""
    assert exchange(store, head("GET", path), "GET").status == 404


# Patience


def test_slow_bodies_are_408_and_do_not_block_the_others(guarded):
    """Twice as many half-sent bodies as threads: a normal client is served all the same."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(guarded)) for _ in range(8)]
        for sock in slow:
            sock.sendall(head(headers={**JSON, "Content-Length": 100}) + b"{")

        assert post(guarded, b"{}").status == 200
        served_seconds = time.monotonic() - began
        answers = [receive(sock) for sock in slow]

    assert served_seconds < 2.5
    assert {(a.status, a.reason, a.closed) for a in answers} == {(408, "BODY_TOO_SLOW", True)}
    # four for requests, the accepting one, the one that watches bodies
    assert status_of(guarded, "Threads") <= 6


@pytest.mark.parametrize("framing", [{"Content-Length": 1000}, {"Transfer-Encoding": "chunked"}], ids=str)
def test_a_body_that_trickles_is_408_at_the_deadline(guarded, framing):
    """A byte now and then does not buy more time."""
    began = time.monotonic()
    with connect(guarded) as sock:
        sock.sendall(head(headers={**JSON, **framing}))
        while not select.select([sock], [], [], 0.2)[0]:
            sock.sendall(b"1\r\n \r\n" if "Transfer-Encoding" in framing else b" ")
        answer = receive(sock)

    assert (answer.status, answer.reason) == (408, "BODY_TOO_SLOW")
    assert 1.4 < time.monotonic() - began < 5


def test_clients_that_do_not_hang_up_block_nobody(guarded):
    """gunicorn would wait two seconds for each of them on its only accepting thread."""
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        for request in [head("GET", "/a/b/c"), b"GET /health HTTP/1.0\r\n\r\n", head("GET", "/health", CLOSE)] * 2:
            sock = stack.enter_context(connect(guarded))
            sock.sendall(request)
            receive(sock, "GET")

        assert post(guarded, b"{}").status == 200

    assert time.monotonic() - began < 3


CLOSE = {"Connection": "close"}


def test_a_client_that_vanishes_leaves_nothing_but_one_log_line(store):
    """A reset in the middle of a body stores nothing."""
    before = stored(store)
    with connect(store) as sock:
        sock.sendall(head(headers={**JSON, "Content-Length": len(RESULT) + 1, "X-Request-Id": "vanished"}) + RESULT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    (line,) = lines_of(store, "vanished")

    assert (line["severity"], line["outcome"]) == ("WARNING", "BODY_INCOMPLETE")
    assert stored(store) == before


# Connections


def test_a_connection_serves_again_after_an_answer_and_after_a_handlers_refusal(store):
    """The whole body was read, so the next request is found."""
    bodies = [RESULT, b"{}", b"no json", RESULT]
    with connect(store) as sock:
        answers = []
        for body in bodies:
            sock.sendall(head(headers={**JSON, "Content-Length": len(body)}) + body)
            answers.append(receive(sock))

        sock.sendall(head(headers={**JSON, "Transfer-Encoding": "chunked"}) + chunked(RESULT))
        answers.append(receive(sock))

    assert [answer.status for answer in answers] == [201, 400, 400, 201, 201]
    assert {answer.headers["Connection"] for answer in answers} == {"keep-alive"}


# Streams


def test_a_stream_is_chunked_and_logged_when_it_ends(streaming):
    """Its length is not known before; its one log line has what came of it."""
    answer = exchange(streaming, head("GET", "/whole", {"X-Request-Id": "whole"}), "GET")

    assert (answer.status, answer.body) == (200, STREAMED)
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.headers["Content-Length"] is None
    (line,) = lines_of(streaming, "whole")
    assert (line["severity"], line["outcome"], line["parts"]) == ("INFO", "OK", 3)


def test_a_stream_to_an_old_client_ends_with_its_connection(streaming):
    """HTTP/1.0 has no chunks."""
    answer = exchange(streaming, b"GET /whole HTTP/1.0\r\n\r\n", "GET")

    assert (answer.status, answer.body, answer.headers["Connection"]) == (200, STREAMED, "close")


def test_a_connection_serves_again_after_a_stream(tmp_path):
    """The end of a stream is as clear as that of any answer."""
    env = {"STATE_DIR": str(tmp_path), "THREADS": "2"}
    with (
        running_function("streaming", env, tmp_path / "log", STREAMING) as running,
        connect(running) as sock,
    ):
        answers = []
        for path in ("/whole", "/health", "/whole"):
            sock.sendall(head("GET", path))
            answers.append(receive(sock, "GET").body)

    assert [answers[0], json.loads(answers[1])["status"], answers[2]] == [STREAMED, "ok", STREAMED]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize(
    ("kind", "outcome", "told"), [("unavailable", "STORE_UNAVAILABLE", "detail"), ("crash", "INTERNAL", "stack_trace")]
)
def test_a_stream_that_fails_breaks_its_connection(streaming, version, kind, outcome, told):
    """The status was sent before; what must not happen is that half an answer looks like a whole one."""
    identity = f"{kind}-{version}"
    with connect(streaming) as sock:
        sock.sendall(f"GET /{kind} HTTP/{version}\r\nHost: a\r\nX-Request-Id: {identity}\r\n\r\n".encode())
        response = http.client.HTTPResponse(sock, method="GET")
        response.begin()
        with pytest.raises((ConnectionResetError, http.client.IncompleteRead)):
            response.read()

    (line,) = lines_of(streaming, identity)
    assert (line["severity"], line["outcome"], line["parts"]) == ("ERROR", outcome, 3)
    assert line["httpRequest"]["status"] == 200
    assert line[told]
    assert "Error handling request" not in streaming.log_path.read_text()


def test_a_client_that_hangs_up_ends_the_stream(streaming):
    """Nothing goes on for nobody."""
    with connect(streaming) as sock:
        sock.sendall(head("GET", "/endless", {"X-Request-Id": "gone"}))
        sock.recv(1000)

    (line,) = lines_of(streaming, "gone")

    assert (line["severity"], line["outcome"]) == ("WARNING", "CLIENT_GONE")
    assert "parts" in line


def test_a_reader_that_stands_still_is_waited_for_and_then_let_go(streaming):
    """No more is made than the system's buffers hold, and the thread is free again after the reader's second."""
    before = json.loads(exchange(streaming, head("GET", "/made"), "GET").body)["made"]
    began = time.monotonic()
    with connect(streaming) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        sock.sendall(head("GET", "/endless", {"X-Request-Id": "still"}))

        (line,) = lines_of(streaming, "still")

    assert 1 <= time.monotonic() - began < 10
    made = json.loads(exchange(streaming, head("GET", "/made"), "GET").body)["made"] - before
    assert made == line["parts"]
    assert made < 100
    assert line["outcome"] == "CLIENT_GONE"


# Dialects


@pytest.mark.parametrize("function", ["store_result", "list_results", "nightly_transform"])
def test_refusals_follow_aip_193(client, function):
    """One ErrorInfo of the domain nightshift, whatever the function."""
    caller = client(function)

    for answer in (caller.put("/"), caller.get("/a/b/c/d"), caller.get("/" + "x" * 9000)):
        error = answer.get_json()["error"]
        (info,) = error["details"]
        assert error["code"] == answer.status_code
        assert (info["@type"], info["domain"]) == ("type.googleapis.com/google.rpc.ErrorInfo", "nightshift")
        assert info["reason"] in ("METHOD_NOT_ALLOWED", "PATH_NOT_FOUND", "URI_TOO_LONG")


def test_predict_refuses_in_the_dialect_of_the_path(predict):
    """TensorFlow Serving's errors are one text; on `POST /` they are Google's."""
    model = "/v1/models/none"
    length = {"Content-Length": 2_000_000}
    answers = [
        exchange(predict, head("GET", "/v1/nothing"), "GET"),
        exchange(predict, head("PUT", model), "PUT"),
        exchange(predict, head("POST", f"{model}:predict", length)),
        exchange(predict, head("GET", f"{model}?{'x' * 9000}"), "GET"),
        exchange(predict, head("POST", f"{model}:predict", {"Content-Encoding": "br", "Content-Length": 1})),
    ]

    assert [answer.status for answer in answers] == [400, 405, 413, 414, 415]
    for answer in answers:
        assert [(name, type(text)) for name, text in json.loads(answer.body).items()] == [("error", str)]
    assert answers[1].headers["Allow"] == "GET"
    assert exchange(predict, head("POST", "/", length)).reason == "BODY_TOO_LARGE"


def test_an_unexpected_failure_is_500_and_its_traceback_only_in_the_log(guarded):
    """The caller learns nothing but the request id."""
    answer = post(guarded, b"{}", "/crash", X_Request_Id="crashed")

    assert (answer.status, answer.reason) == (500, "INTERNAL")
    assert b"detail for" not in answer.body
    assert b"RuntimeError" not in answer.body
    (line,) = lines_of(guarded, "crashed")
    assert (line["severity"], line["outcome"]) == ("ERROR", "INTERNAL")
    assert "in _crash" in line["stack_trace"]
    assert "RuntimeError" in line["stack_trace"]


def test_neither_answers_nor_logs_repeat_what_was_sent(store, guarded, predict):
    """Not the body, not the token, not a header, whatever the refusal."""
    sent = {**JSON, "Authorization": f"Bearer {CANARY}", "X-Api-Key": CANARY, "User-Agent": CANARY}
    text = f'"{CANARY}"'.encode()
    bodies = [text, text + b"[" * 99, RESULT[:-1] + b"," + text, b"\xff" + text]
    bodies += [b'{"model":' + text + b"}", RESULT.replace(b'"m"', b'["%b"]' % CANARY.encode())]

    for running in (store, guarded, predict):
        for path in ("/", "/crash", "/none"):
            for change in ({}, {"Content-Type": f"text/{CANARY}"}, {"Content-Encoding": CANARY}):
                for body in bodies:
                    headers = {**sent, **change, "Content-Length": len(body)}
                    answer = exchange(running, head("POST", path, headers) + body)
                    assert CANARY not in f"{answer.body} {answer.headers}"
                    assert b"Traceback" not in answer.body
        assert CANARY not in running.log_path.read_text()


# Request ids, traces and the log


@pytest.mark.parametrize("given", ["a", "0123.A_b-c", "x" * 64])
def test_a_plain_request_id_is_kept(guarded, given):
    """On answers and on refusals, and in the log."""
    for path, status in (("/", 200), ("/a/b/c", 404)):
        answer = post(guarded, b"{}", path, X_Request_Id=given)
        assert (answer.status, answer.headers["X-Request-Id"]) == (status, given)


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", 'a"b', "a\tb", "a,b", "ä", '{"severity":"ALERT"}', "a\x1b"])
def test_any_other_request_id_is_replaced(guarded, given):
    """What a caller sends cannot decorate an answer or a log."""
    for path in ("/", "/a/b/c"):
        answer = post(guarded, b"{}", path, X_Request_Id=given)
        if answer.headers["X-Request-Id"] is None:  # gunicorn itself refuses control characters
            assert (given, answer.status) == ("a\x1b", 400)
        else:
            assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-Id"])


def test_every_answer_has_a_request_id_of_its_own_and_one_log_line(guarded):
    """Exactly one line a request, refused or not."""
    answers = [post(guarded, b"{}", path) for path in ("/", "/a/b/c", "/crash", "/")]

    identities = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(identities)) == 4
    for identity, answer in zip(identities, answers, strict=True):
        (line,) = lines_of(guarded, identity)
        assert line["httpRequest"]["status"] == answer.status


def test_the_log_line_says_what_happened(guarded):
    """Severity, time, function, outcome, and the request as Cloud Logging shows it."""
    post(guarded, b"{}", "/?secret=1", X_Request_Id="told", traceparent="00-" + "ab" * 16 + "-" + "cd" * 8 + "-01")

    (line,) = lines_of(guarded, "told")

    assert (line["severity"], line["function"], line["outcome"]) == ("INFO", "guarded", "OK")
    assert re.fullmatch(r"POST / 200 [0-9.]+ ms OK", line["message"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert re.fullmatch(r"\d+\.\d{6}s", line["httpRequest"].pop("latency"))
    assert line["httpRequest"] == {"requestMethod": "POST", "requestUrl": "/", "status": 200, "requestSize": "2"}
    assert line["logging.googleapis.com/trace"] == "projects/observatory/traces/" + "ab" * 16


@pytest.mark.parametrize(
    ("header", "value", "trace"),
    [
        ("X-Cloud-Trace-Context", "ab" * 16 + "/123;o=1", "ab" * 16),
        ("X-Cloud-Trace-Context", "ab" * 16, "ab" * 16),
        ("X-Cloud-Trace-Context", "ab" * 16 + "/x", None),
        ("traceparent", "00-" + "0" * 32 + "-" + "cd" * 8 + "-01", None),
        ("traceparent", "ff-" + "ab" * 16 + "-" + "cd" * 8 + "-01", None),
        ("traceparent", "nonsense", None),
    ],
)
def test_a_trace_comes_from_either_header_if_it_is_valid(guarded, header, value, trace):
    """W3C's header and Google's own."""
    answer = exchange(guarded, head("GET", "/health", {header: value}), "GET")

    (line,) = lines_of(guarded, answer.headers["X-Request-Id"])

    assert line.get("logging.googleapis.com/trace") == (f"projects/observatory/traces/{trace}" if trace else None)


def test_no_request_can_forge_a_log_entry(guarded):
    """Line breaks, escapes and JSON in a path stay inside a quoted field of the one line."""
    forged = '{"severity":"ALERT","message":"forged"}'
    quoted = "".join(f"%{byte:02x}" for byte in f"\n{forged}\r\n\x1b[31m\u2028/".encode())
    already = len(guarded.log_path.read_text().splitlines())

    answer = exchange(
        guarded, head("GET", "/" + quoted, {"Function-Execution-Id": forged, "X-Request-Id": forged}), "GET"
    )

    lines_of(guarded, answer.headers["X-Request-Id"])
    new = guarded.log_path.read_text().splitlines()[already:]
    assert [json.loads(line)["severity"] for line in new] == ["WARNING"]
    assert forged not in "".join(new)
    assert "\x1b" not in "".join(new)


def test_on_a_terminal_the_lines_are_readable(tmp_path):
    """Time, request, status, duration, outcome; a forged line break is shown and not made."""
    port = free_port()
    terminal, inner = pty.openpty()
    command = [sys.executable, "-m", "functions_framework", "--source", str(GUARDED), "--target", "guarded"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    env = child_environment({"STATE_DIR": str(tmp_path), "THREADS": "2"})
    with subprocess.Popen(command, env=env, stdout=inner, stderr=inner, start_new_session=True) as process:
        try:
            with httpx.Client(transport=httpx.HTTPTransport(retries=8)) as caller:
                url = f"http://127.0.0.1:{port}"
                caller.delete(f"{url}/crash")
                caller.get(f"{url}/a/%0a12:00:00.000 forged%1b[31m", headers={"X-Request-Id": "shown-in-part"})
            shown = b""
            while b"[shown-in]" not in shown:
                shown += os.read(terminal, 65536)
        finally:
            process.terminate()
            process.wait(10)
            os.close(inner)
            os.close(terminal)

    lines = shown.decode().splitlines()
    assert re.fullmatch(r"[0-9:.]{12} ERROR DELETE /crash 500 [0-9.]+ ms INTERNAL  \[\w{8}\]", lines[0])
    assert lines[1] == "    Traceback (most recent call last):"
    assert r"GET /a/\n12:00:00.000 forged\x1b[31m 404 " in lines[-1]
    assert not [line for line in lines if line.startswith("12:00:00.000 forged")]
