"""More clients than predict has threads for, and clients that send or take their time: it answers, and goes on."""

import contextlib
import json
import socket
import struct
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.functions.test_guard import connect, head, lines_of, receive, status_of
from tests.functions.test_predict_hanging_model import COUNTING, DIGITS, IMAGE, add_counting_model, add_digits
from tests.support import running_function

ONE_ROW = json.dumps({"instances": [IMAGE]}).encode()


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    """The model of the repository on four threads."""
    folder = tmp_path_factory.mktemp("predict")
    with running_function("predict", {"STATE_DIR": str(folder), "THREADS": "4"}, folder / "log") as running:
        yield running


def ask(running, body=ONE_ROW, path=DIGITS, patience_seconds=10):
    """Send one request over a connection of its own and read its answer."""
    with connect(running) as sock:
        sock.settimeout(patience_seconds)
        sock.sendall(head("POST", path, {"Content-Length": len(body)}) + body)
        return receive(sock)


def test_a_hundred_idle_connections_delay_a_prediction_by_less_than_six_seconds(predict):
    """gunicorn lends each new connection a thread for up to five seconds, until something comes."""
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(connect(predict))
        began = time.monotonic()

        answer = ask(predict)

        assert answer.status == 200
        assert time.monotonic() - began < 6


def test_all_threads_but_one_may_wait_for_half_a_head(predict):
    """What holds of slow heads: one free thread serves everybody, and each sender that goes away gives its own back.

    gunicorn reads a head without a time limit and before anything of ours is called, so with every thread taken
    requests wait until one is free. In the cloud the platform's front end sends only complete heads.
    """
    half = b"POST / HTTP/1.1\r\nHost: nightshift\r\nContent-Le"
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(connect(predict)) for _ in range(3)]
        for sock in slow:
            sock.sendall(half)
        served = [ask(predict).status for _ in range(20)]
        slow.append(stack.enter_context(connect(predict)))
        slow[-1].sendall(half)
        waiting = stack.enter_context(connect(predict))
        waiting.sendall(head("POST", DIGITS, {"Content-Length": len(ONE_ROW)}) + ONE_ROW)
        waiting.settimeout(1)
        with pytest.raises(TimeoutError):
            waiting.recv(1)
        waiting.settimeout(10)
        slow[0].close()
        answer = receive(waiting)

    assert served == [200] * 20
    assert answer.status == 200
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status for answer in pool.map(lambda _: ask(predict), range(40))} == {200}


@pytest.mark.parametrize(
    "headers",
    [{f"X-{number}": "x" for number in range(200)}, {"X-Large": "x" * 10_240}],
    ids=["200 headers", "a header of 10 KB"],
)
def test_too_many_or_too_large_headers_are_431_and_the_next_request_is_served(predict, headers):
    """gunicorn's own limits, 100 headers of 8 KB each, which the framework leaves as they are."""
    with connect(predict) as sock:
        sock.sendall(head("POST", DIGITS, {**headers, "Content-Length": len(ONE_ROW)}))
        answer = receive(sock)

    assert (answer.status, answer.closed) == (431, True)
    assert ask(predict).status == 200


def test_clients_that_vanish_while_they_are_answered_leave_one_line_each_and_no_thread(serve, tmp_path):
    """An answer of 30 MB that is left after its first bytes, twenty times: more often than there are threads."""
    hook = "def postprocess(predictions):\n    return ['x' * 30_000_000] if len(predictions) > 1 else predictions\n"
    add_digits(tmp_path / "models", hook)
    predict = serve("predict", MODELS_DIR=str(tmp_path / "models"), THREADS="4")
    large = json.dumps({"instances": [IMAGE, IMAGE]}).encode()
    assert ask(predict).status == 200
    threads = status_of(predict, "Threads")

    for number in range(20):
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.settimeout(10)
            sock.connect(("127.0.0.1", predict.port))
            request = head("POST", DIGITS, {"Content-Length": len(large), "X-Request-Id": f"vanishes-{number}"})
            sock.sendall(request + large)
            assert sock.recv(16).startswith(b"HTTP/1.1 200")
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    began = time.monotonic()
    answers = [ask(predict) for _ in range(8)]

    assert [answer.status for answer in answers] == [200] * 8
    assert time.monotonic() - began < 3
    assert [len(lines_of(predict, f"vanishes-{number}")) for number in range(20)] == [1] * 20
    unlike = [line for line in predict.log_path.read_text().splitlines() if not line.startswith(("{", "INFO: Created"))]
    assert not unlike
    assert status_of(predict, "Threads") <= threads + 3  # the pool fills up as it is used, and grows no further


@pytest.mark.tensorflow
@pytest.mark.xdist_group("tensorflow")
def test_a_thousand_predictions_at_once_are_each_answered_or_refused(serve, tmp_path):
    """200 clients that send at once, five times each: 1,000 answers, 200 or 503 with Retry-After, and none is lost.

    What waits is bounded in two places. In front of the model, 256 rows may wait: of requests with 100 rows two wait
    beside the two that run, and whoever comes then is refused at once. Before that, gunicorn's eight threads take
    connections in order of arrival; up to 1,000 wait for a thread, and another 2,048 in the system's backlog.
    """
    add_counting_model(tmp_path)
    predict = serve("predict", MODELS_DIR=str(tmp_path), THREADS="8")
    body = json.dumps({"instances": [10_000] * 100}).encode()  # some milliseconds
    assert ask(predict, b'{"instances": [3]}', COUNTING).status == 200

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(lambda _: ask(predict, body, COUNTING, patience_seconds=60), range(1000)))
    began = time.monotonic()
    after = [ask(predict, b'{"instances": [3, 4]}', COUNTING) for _ in range(20)]

    assert {(answer.status, answer.headers["Retry-After"]) for answer in answers} == {(200, None), (503, "1")}
    counted = Counter((answer.status, answer.body) for answer in answers)
    refusal = b'{"error":"the model has more waiting than it can answer soon"}\n'
    assert counted.keys() == {(200, b'{"predictions":[%b]}\n' % b",".join([b"10000.0"] * 100)), (503, refusal)}
    assert counted.total() == 1000
    assert min(counted.values()) >= 20
    logged = [line for line in predict.log_lines() if "httpRequest" in line and "POST" in line["message"]]
    assert len(logged) == 1000 + 1 + len(after)
    assert [(answer.status, json.loads(answer.body)["predictions"]) for answer in after] == [(200, [4.0, 4.0])] * 20
    assert time.monotonic() - began < 5
    assert "Traceback" not in predict.log_path.read_text()
