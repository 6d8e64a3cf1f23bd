"""Reading a body: how long it says it is, how long it may be, how long it may take."""

import gzip
import io
import queue
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.bodies import LARGE_BODY_BYTES, LargeBodies, declared_length, inflate, read_body
from shared.errors import (
    InvalidRequestError,
    PayloadTooLargeError,
    SlowRequestError,
    UnavailableError,
    UnsupportedMediaTypeError,
)
from shared.patience import Patience

PATIENCE = Patience(5, threads=4)


def request(body, **headers):
    """Return a WSGI environment with a body and no socket."""
    return {"wsgi.input": io.BytesIO(body), **headers}


@pytest.mark.parametrize(
    ("environ", "length"),
    [
        ({}, 0),
        ({"CONTENT_LENGTH": ""}, 0),
        ({"CONTENT_LENGTH": "0012"}, 12),
        ({"HTTP_TRANSFER_ENCODING": "chunked"}, None),
        ({"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "5"}, None),
    ],
)
def test_a_body_says_how_long_it_is_unless_it_is_chunked(environ, length):
    """No Content-Length is no body."""
    assert declared_length(environ) == length


@pytest.mark.parametrize("text", ["-1", "+1", "1.0", "²", "٣", "0x1", " ", "1,1", "9" * 19, "9" * 5000])
def test_a_length_is_a_whole_number(text):
    """Also one that Python would rather not convert."""
    with pytest.raises(InvalidRequestError) as caught:
        declared_length({"CONTENT_LENGTH": text})

    assert caught.value.reason == "INVALID_CONTENT_LENGTH"


@settings(deadline=None)
@given(st.integers(0, 300_000), st.integers(0, 300_000), st.booleans())
def test_a_body_is_read_whole_or_refused(size, max_bytes, chunked):
    """At any size, around any limit, chunked or not."""
    body = bytes(size)
    headers = {"HTTP_TRANSFER_ENCODING": "chunked"} if chunked else {"CONTENT_LENGTH": str(size)}
    environ = request(body, **headers)

    if size <= max_bytes:
        assert read_body(environ, max_bytes, PATIENCE) == body
    else:
        with pytest.raises(PayloadTooLargeError) as caught:
            read_body(environ, max_bytes, PATIENCE)
        assert caught.value.metadata == {"max_body_bytes": str(max_bytes)}
        assert environ["wsgi.input"].tell() == (max_bytes + 1 if chunked else 0)


def test_a_body_does_not_reach_beyond_its_length():
    """What follows is the next request."""
    environ = request(b"firstsecond", CONTENT_LENGTH="5")

    assert read_body(environ, 100, PATIENCE) == b"first"
    assert environ["wsgi.input"].read() == b"second"


def test_a_body_that_ends_early_is_refused_with_both_lengths():
    """Expected and got."""
    with pytest.raises(InvalidRequestError, match="expected 9 bytes, got 5") as caught:
        read_body(request(b"first", CONTENT_LENGTH="9"), 100, PATIENCE)

    assert caught.value.reason == "BODY_INCOMPLETE"


class _Broken:
    def read(self, size):
        raise ConnectionResetError("with a detail of the server")


def test_a_reset_is_the_clients_fault():
    """Whatever the server raises."""
    with pytest.raises(InvalidRequestError) as caught:
        read_body({"wsgi.input": _Broken(), "CONTENT_LENGTH": "1"}, 100, PATIENCE)

    assert caught.value.reason == "BODY_INCOMPLETE"
    assert "detail" not in caught.value.message


class _SocketBody:
    """Reads as gunicorn does: blocking until it has what was asked for, or the end."""

    def __init__(self, sock):
        self._file = sock.makefile("rb")

    def read(self, size):
        return self._file.read(size)


def read_from(sock, patience, length=100):
    """Read a body from a socket, and return why that failed and after how long."""
    environ = {"wsgi.input": _SocketBody(sock), "gunicorn.socket": sock, "CONTENT_LENGTH": str(length)}
    began = time.monotonic()
    try:
        read_body(environ, 10_000, patience)
    except (SlowRequestError, InvalidRequestError) as error:
        return error.reason, time.monotonic() - began
    return "OK", time.monotonic() - began


def start_reading(count, patience, length):
    """Read from so many connections at once; return their other ends, and the outcomes once they are there."""
    pairs = [socket.socketpair() for _ in range(count)]
    outcomes = queue.SimpleQueue()

    def read(sock):
        outcomes.put(read_from(sock, patience, length))
        sock.close()

    threads = [threading.Thread(target=read, args=(inner,)) for _, inner in pairs]
    for thread in threads:
        thread.start()
    return [outer for outer, _ in pairs], threads, outcomes


def test_one_slow_body_has_until_the_deadline():
    """Not less, and not much more."""
    outer, inner = socket.socketpair()
    with outer, inner:
        outer.sendall(b"x")

        reason, seconds = read_from(inner, Patience(0.6, threads=4))

    assert reason == "BODY_TOO_SLOW"
    assert 0.6 <= seconds < 1.2


def test_stalled_bodies_in_every_thread_end_early():
    """Long before the deadline: nobody else could be served."""
    ends, threads, outcomes = start_reading(4, Patience(60, threads=4), length=100)
    reason, seconds = outcomes.get(timeout=5)
    for end in ends:
        end.close()
    for thread in threads:
        thread.join(10)

    assert (reason, seconds < 0.9) == ("BODY_TOO_SLOW", True)


def test_slow_bodies_hold_half_of_the_threads_and_the_slowest_go_first():
    """Three of four threads are one too many after a second; the body that comes in best goes on."""
    ends, threads, outcomes = start_reading(3, Patience(60, threads=4), length=3000)
    ends[0].sendall(bytes(2048))
    first = outcomes.get(timeout=5)
    ends[0].sendall(bytes(952))
    second = outcomes.get(timeout=5)
    for end in ends:
        end.close()
    third = outcomes.get(timeout=5)
    for thread in threads:
        thread.join(10)

    assert [reason for reason, _ in (first, second, third)] == ["BODY_TOO_SLOW", "OK", "BODY_INCOMPLETE"]
    assert first[1] > 1


def test_inflating_stops_at_the_limit():
    """The limit itself is taken."""
    assert inflate(gzip.compress(bytes(1000)), 1000) == bytes(1000)
    with pytest.raises(PayloadTooLargeError):
        inflate(gzip.compress(bytes(1001)), 1000)


@settings(deadline=None)
@given(st.binary(max_size=200), st.data())
def test_gzip_that_is_cut_anywhere_is_refused(body, data):
    """No prefix of a stream passes for the stream."""
    packed = gzip.compress(body)
    cut = data.draw(st.integers(0, len(packed) - 1))

    assert inflate(packed, 1000) == body
    with pytest.raises(UnsupportedMediaTypeError):
        inflate(packed[:cut], 1000)


def test_places_for_large_bodies_are_taken_once_and_given_back():
    """Releasing a place that was never taken does not make a new one."""
    large_bodies = LargeBodies(1)
    first, second, small = large_bodies.slot(), large_bodies.slot(), large_bodies.slot()
    small.grow(LARGE_BODY_BYTES)
    small.release()
    first.grow(LARGE_BODY_BYTES + 1)
    first.grow(LARGE_BODY_BYTES + 2)

    with pytest.raises(UnavailableError) as caught:
        second.grow(LARGE_BODY_BYTES + 1)

    assert caught.value.headers == {"Retry-After": "1"}
    second.release()
    with pytest.raises(UnavailableError):
        second.grow(LARGE_BODY_BYTES + 1)
    first.release()
    second.grow(LARGE_BODY_BYTES + 1)


def test_without_a_bound_there_are_places_for_all():
    """Functions whose limit is small need none."""
    large_bodies = LargeBodies(None)

    for _ in range(100):
        large_bodies.slot().grow(LARGE_BODY_BYTES + 1)
