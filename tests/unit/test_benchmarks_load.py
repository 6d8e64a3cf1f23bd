"""The client behind the benchmarks counts what was answered, and lets nothing wrong pass for an answer."""

import itertools
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from benchmarks.answers import AnswerReader
from benchmarks.calls import Call, Load
from benchmarks.errors import MalformedAnswerError, MeasurementError, WrongAnswerError
from benchmarks.lane import Address
from benchmarks.load import run_load

RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
RIGHT_AND_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nright"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nrig\r\n2\r\nht\r\n0\r\n\r\n"
HANG_UP = b""

CALL = Call(
    b"GET /question HTTP/1.1\r\nHost: test\r\n\r\n", lambda answer: (answer.status, answer.body) == (200, b"right")
)


@contextmanager
def server(answer: Callable[[int], bytes]) -> Iterator[Address]:
    """Serve `answer(number of the request, from 0)`; a connection ends where the answer is empty or says close."""
    numbers = itertools.count()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            # The client resets its other connections when one answer is wrong.
            with suppress(ConnectionError):
                while self.rfile.readline():
                    while self.rfile.readline() not in (b"\r\n", b""):
                        pass
                    text = answer(next(numbers))
                    self.wfile.write(text)
                    if not text or b"close" in text:
                        return

    with listening(Handler) as address:
        yield address


@contextmanager
def listening(handler: type[socketserver.BaseRequestHandler]) -> Iterator[Address]:
    """Serve each connection with a handler, in a thread of its own."""

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 64  # with fewer places, connections opened together wait a second
        daemon_threads = True
        block_on_close = False

    with Server(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address
        finally:
            # Closed without this, the thread would spin on a dead socket for ever.
            server.shutdown()
            thread.join()


def load_of(answer: Callable[[int], bytes], *, connections: int = 1, max_requests: int = 10) -> Load:
    with server(answer) as address:
        return run_load(address, lambda: CALL, connections=connections, seconds=10, max_requests=max_requests)


@pytest.mark.parametrize("connections", [1, 4, 30])
def test_every_request_is_sent_once_and_every_answer_counted(connections):
    """The number of requests bounds the load whatever the number of connections, idle ones included."""
    asked = []

    load = load_of(lambda number: asked.append(number) or RIGHT, connections=connections, max_requests=20)

    assert (load.answers, len(asked), load.errors, load.reconnects) == (20, 20, 0, 0)
    assert 0 < max(load.latencies_seconds) <= load.seconds


def test_no_request_is_sent_after_the_time_is_up():
    """With no time at all, each connection's first request is the only one."""
    with server(lambda _: RIGHT) as address:
        load = run_load(address, lambda: CALL, connections=3, seconds=0)

    assert load.answers == 3


def test_each_request_is_made_anew():
    """A caller that numbers its requests finds every number answered once."""
    numbers = itertools.count()
    seen = []

    def next_call() -> Call:
        number = next(numbers)
        return Call(CALL.request, lambda answer: seen.append(number) or CALL.is_right(answer))

    with server(lambda _: RIGHT) as address:
        run_load(address, next_call, connections=4, seconds=10, max_requests=12)

    assert sorted(seen) == list(range(12))


@pytest.mark.parametrize(
    ("wrong", "shown"),
    [
        (RIGHT.replace(b"right", b"wrong"), "status 200, body 'wrong'"),
        (RIGHT.replace(b"200 OK", b"503 Service Unavailable"), "status 503, body 'right'"),
        (CHUNKED.replace(b"rig", b"wig"), "status 200, body 'wight'"),
        (RIGHT + b"!", "1 bytes came after the end"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "expected HTTP/1.1"),
    ],
    ids=["body", "status", "chunks", "surplus", "protocol"],
)
def test_one_wrong_answer_ends_the_load_and_is_shown(wrong, shown):
    """Among right answers a single wrong one is found, and the message says what came."""
    with pytest.raises(WrongAnswerError, match=shown):
        load_of(lambda number: wrong if number == 5 else RIGHT, connections=2)


def test_chunked_answers_count_like_those_with_a_length():
    """A body in chunks is put together before it is checked, and the connection is kept."""
    load = load_of(lambda number: CHUNKED if number % 2 else RIGHT)

    assert (load.answers, load.reconnects) == (10, 0)


def test_a_connection_the_server_closes_after_its_answer_is_opened_again():
    """`Connection: close` costs a new connection each time and loses no request."""
    load = load_of(lambda _: RIGHT_AND_CLOSE, max_requests=5)

    assert (load.answers, load.errors, load.reconnects) == (5, 0, 5)


def test_a_body_that_ends_with_its_connection_is_whole():
    """Neither length nor chunks: the end of the connection ends the body."""
    load = load_of(lambda _: RIGHT_AND_CLOSE.replace(b"Content-Length: 5\r\n", b""), max_requests=3)

    assert (load.answers, load.errors) == (3, 0)


def test_a_kept_connection_that_ends_unannounced_is_no_error():
    """A server may close an idle connection as the next request comes; that request is sent again."""
    load = load_of(lambda number: HANG_UP if number == 3 else RIGHT)

    assert (load.answers, load.errors, load.reconnects) == (10, 0, 1)


def test_an_answer_that_breaks_off_is_an_error_and_has_no_latency():
    """Half an answer counts as broken, and the load goes on."""
    half = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: close\r\n\r\nri"

    load = load_of(lambda number: half if number == 3 else RIGHT)

    assert (load.answers, load.errors, load.reconnects) == (9, 1, 1)


def test_a_load_without_any_answer_has_no_figures():
    """A server that only hangs up, or that is not there, cannot be measured."""
    with pytest.raises(MeasurementError, match="no request of 2 was answered"):
        load_of(lambda _: HANG_UP, max_requests=2)
    with server(lambda _: RIGHT) as address:
        gone = address
    with pytest.raises(MeasurementError, match="no connection"):
        run_load(gone, lambda: CALL, connections=1, seconds=1)


def test_requests_larger_than_a_connection_takes_at_once_arrive_whole():
    """Bodies of 20 MB on several connections reach the server byte for byte, and none waits for another."""
    body = bytes(range(256)) * 80_000
    head = f"POST /question HTTP/1.1\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    wrong = []
    together = threading.Barrier(3, timeout=5)  # broken unless three requests are under way at once

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            for _ in range(2):
                received = self.rfile.read(len(head))
                together.wait()
                received += self.rfile.read(len(body))
                wrong.extend([] if received == head + body else [len(received)])
                self.wfile.write(RIGHT)

    with listening(Handler) as address:
        load = run_load(address, lambda: Call(head + body, CALL.is_right), connections=3, seconds=10, max_requests=6)

    assert (load.answers, load.errors, load.reconnects, wrong) == (6, 0, 0, [])


@pytest.mark.parametrize("whole", [RIGHT, CHUNKED], ids=["length", "chunked"])
def test_an_answer_may_come_byte_by_byte(whole):
    """Wherever the network cuts an answer, it is complete with its last byte and not before."""
    reader = AnswerReader()

    *partial, last = [reader.feed(whole[at : at + 1]) for at in range(len(whole))]

    assert partial == [None] * (len(whole) - 1)
    assert (last.status, last.body, last.keep_alive) == (200, b"right", True)


@pytest.mark.parametrize("text", ["Content-Length: five", "Content-Length: -1", "Transfer-Encoding: chunked"])
def test_sizes_that_are_no_numbers_are_refused(text):
    """A length or a chunk's size that is not a number says so."""
    with pytest.raises(MalformedAnswerError, match="expected"):
        AnswerReader().feed(f"HTTP/1.1 200 OK\r\n{text}\r\n\r\nright\r\n".encode())


def test_the_median_and_the_99th_percentile_are_those_of_the_latencies():
    """Of 1 to 200 ms, the median is 100.5 ms, and 99 % did not exceed 198 ms."""
    load = Load(latencies_seconds=[number / 1000 for number in range(200, 0, -1)], seconds=2.0)

    assert load.median_seconds == pytest.approx(0.1005)
    assert load.p99_seconds == pytest.approx(0.198)
    assert load.requests_per_second == 100
