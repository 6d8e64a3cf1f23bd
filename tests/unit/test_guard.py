"""The guard around a plain WSGI application, without a server."""

import io
import json

import pytest

from shared.endpoint import google_error
from shared.guard import Guard, Limits
from shared.routing import Route, Router


def call(app, capfd, *, accept_gzip=False, **environ):
    """Send one request through a guard; return status line, headers, body and the log lines."""
    guard = Guard(
        app,
        name="sample",
        router=Router([Route("POST", "/", lambda _: None), Route("POST", "/any", lambda _: None, content_types=None)]),
        limits=Limits(1000, accept_gzip=accept_gzip),
        render_error=google_error,
        threads=2,
        project_id=None,
    )
    started = []
    request = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "QUERY_STRING": "", "wsgi.input": io.BytesIO(), **environ}
    body = b"".join(guard(request, lambda *args: started.append(args)))
    ((status, headers),) = started
    return status, dict(headers), body, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def echo(environ, start):
    """Answer the body, as read from what the guard left."""
    body = environ["wsgi.input"].read()
    assert environ["CONTENT_LENGTH"] == str(len(body))
    assert "HTTP_TRANSFER_ENCODING" not in environ
    assert "HTTP_CONTENT_ENCODING" not in environ
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def test_an_application_finds_a_body_that_was_read(capfd):
    """Its length is known, however it was framed."""
    status, headers, body, lines = call(
        echo, capfd, PATH_INFO="/any", HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input": io.BytesIO(b"abc")}
    )

    assert (status, body) == ("200 OK", b"abc")
    assert [line["request_id"] for line in lines] == [headers["X-Request-Id"]]


def test_an_application_that_fails_is_500_with_one_line(capfd):
    """Also where it is the framework itself that fails."""

    def fails(environ, start):
        raise ValueError("for the log alone")

    status, _, body, (line,) = call(fails, capfd)

    assert status == "500 Internal Server Error"
    assert b"alone" not in body
    assert line["outcome"] == "INTERNAL"
    assert "ValueError: for the log alone" in line["stack_trace"]


def test_the_clients_execution_id_is_not_taken(capfd):
    """functions-framework would write it into logs."""

    def shows(environ, start):
        start("200 OK", [])
        return [environ["HTTP_FUNCTION_EXECUTION_ID"].encode()]

    _, headers, body, _ = call(shows, capfd, HTTP_FUNCTION_EXECUTION_ID="theirs")

    assert body.decode() == headers["X-Request-Id"]


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "x"])
def test_a_length_that_is_no_number_is_400_on_any_server(capfd, length):
    """gunicorn refuses these itself; others need not."""
    status, _, _, (line,) = call(echo, capfd, CONTENT_LENGTH=length)

    assert status == "400 Bad Request"
    assert line["outcome"] == "INVALID_CONTENT_LENGTH"
    assert len(line["httpRequest"]["requestSize"]) <= 18


def test_a_gzip_encoding_without_a_body_is_no_body(capfd):
    """There is nothing to inflate."""
    status, _, body, _ = call(echo, capfd, accept_gzip=True, HTTP_CONTENT_ENCODING="gzip")

    assert (status, body) == ("200 OK", b"")


class _Answer:
    def __init__(self):
        self.closed = False

    def __iter__(self):
        return iter([b"x"])

    def close(self):
        self.closed = True


class _Socket:
    def __init__(self):
        self.shut = 0

    def shutdown(self, how):
        self.shut += 1
        raise OSError("gone")


@pytest.mark.parametrize(
    ("environ", "shut"),
    [
        ({}, 0),
        ({"HTTP_CONNECTION": "Close"}, 1),
        ({"SERVER_PROTOCOL": "HTTP/1.0"}, 1),
        ({"SERVER_PROTOCOL": "HTTP/1.0", "HTTP_CONNECTION": "keep-alive"}, 0),
    ],
)
def test_only_a_last_answer_ends_the_reading_side(capfd, environ, shut):
    """After it was sent, and the application's own answer is closed in any case."""
    sock, answer = _Socket(), _Answer()
    guard = Guard(
        lambda environ, start: start("200 OK", []) or answer,
        name="sample",
        router=Router([Route("POST", "/", lambda _: None)]),
        limits=Limits(1000),
        render_error=google_error,
        threads=2,
        project_id=None,
    )
    request = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "gunicorn.socket": sock, **environ}

    returned = guard(request, lambda *_: None)

    assert (b"".join(returned), sock.shut) == (b"x", 0)
    returned.close()
    assert (answer.closed, sock.shut) == (True, shut)
