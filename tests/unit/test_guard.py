"""The guard around a plain WSGI application, without a server."""

import io
import json
import socket

import flask
import pytest

from shared.endpoint import Endpoint, google_error
from shared.errors import UnavailableError
from shared.guard import Guard, Limits
from shared.log import note
from shared.request_log import RequestLog
from shared.routing import Response, Route, Router
from shared.sending import Stream


def guarded(answer, **limits):
    """Return a guard around something that answers requests."""
    return Guard(
        answer,
        router=Router([Route("POST", "/", lambda _: None), Route("POST", "/any", lambda _: None, content_types=None)]),
        limits=Limits(1000, **limits),
        render_error=google_error,
        threads=2,
        log=RequestLog("sample", None, "test"),
    )


def call(answer, capfd, *, accept_gzip=False, **environ):
    """Send one request through a guard; return status line, headers, body and the log lines."""
    guard = guarded(answer, accept_gzip=accept_gzip)
    started = []
    request = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "QUERY_STRING": "", "wsgi.input": io.BytesIO(), **environ}
    body = b"".join(guard(request, lambda *args: started.append(args)))
    ((status, headers),) = started
    return status, dict(headers), body, [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def echo(match, request, fields):
    """Answer the body."""
    return Response(request.body)


def test_a_handler_finds_a_body_that_was_read(capfd):
    """Its length is known, however it was framed."""
    status, headers, body, lines = call(
        echo, capfd, PATH_INFO="/any", HTTP_TRANSFER_ENCODING="chunked", **{"wsgi.input": io.BytesIO(b"abc")}
    )

    assert (status, body) == ("200 OK", b"abc")
    assert [line["request_id"] for line in lines] == [headers["X-Request-Id"]]


def test_an_application_that_fails_is_500_with_one_line(capfd):
    """Also where it is the framework itself that fails."""

    def fails(match, request, fields):
        raise ValueError("for the log alone")

    status, _, body, (line,) = call(fails, capfd)

    assert status == "500 Internal Server Error"
    assert b"alone" not in body
    assert line["outcome"] == "INTERNAL"
    assert "ValueError: for the log alone" in line["stack_trace"]


def test_a_handler_finds_headers_and_query_by_name(capfd):
    """Header names in lower case, every value of a parameter, empty ones too."""
    seen = []

    def keeps(match, request, fields):
        seen.append(request)
        return Response(b"")

    call(keeps, capfd, QUERY_STRING="a=1&b=&a=%C3%A9", HTTP_IDEMPOTENCY_KEY="k")

    assert seen[0].query == {"a": ["1", "\u00e9"], "b": [""]}
    assert seen[0].headers == {"idempotency-key": "k"}


def test_too_many_query_parameters_are_400(capfd):
    """A hundred are plenty, and parsing stops there."""
    status, _, _, (line,) = call(echo, capfd, QUERY_STRING="&".join(["a=1"] * 101))

    assert (status, line["outcome"]) == ("400 Bad Request", "TOO_MANY_PARAMETERS")


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
    """And only after it was sent."""
    sock = _Socket()
    request = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "gunicorn.socket": sock, **environ}

    returned = guarded(echo)(request, lambda *_: None)

    assert (b"".join(returned), sock.shut) == (b"", 0)
    if shut:
        returned.close()
    assert sock.shut == shut


def test_a_stream_is_sent_in_small_pieces_and_has_no_length(capfd):
    """However large its parts: a slow reader must be able to take one in time."""
    parts = [b"a" * 200_000, b"", b"b"]
    started = []

    returned = guarded(lambda *_: Response(iter(parts)))(POST, lambda *args: started.append(args))
    pieces = list(returned)

    assert b"".join(pieces) == b"".join(parts)
    assert max(map(len, pieces)) == 65_536
    assert "Content-Length" not in dict(started[0][1])
    assert capfd.readouterr().out == ""
    returned.close()
    returned.close()
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["outcome"] == "OK"


POST = {"REQUEST_METHOD": "POST", "PATH_INFO": "/", "QUERY_STRING": ""}


def test_a_stream_that_fails_never_ends_well(capfd):
    """The server is told by an exception, the log by a line; the caller by a broken connection."""

    def fails():
        yield b"half"
        raise UnavailableError("for the log alone", reason="STORE_UNAVAILABLE")

    returned = guarded(lambda *_: Response(fails()))(POST, lambda *_: None)
    pieces = iter(returned)

    assert next(pieces) == b"half"
    with pytest.raises(ConnectionResetError):
        next(pieces)
    returned.close()
    line = json.loads(capfd.readouterr().out)
    assert (line["severity"], line["outcome"], line["detail"]) == ("ERROR", "STORE_UNAVAILABLE", "for the log alone")
    assert line["httpRequest"]["status"] == 200


@pytest.mark.parametrize("server", ["gunicorn.socket", "werkzeug.socket"])
def test_a_stream_that_fails_resets_its_connection_on_either_server(server):
    """An orderly end of the connection could pass for the end of the answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        ours, _ = listener.accept()
        returned = Stream(iter(map(int, [b"x"])), {server: ours}, {}, False, lambda _: None, 1.0)

        with pytest.raises(ConnectionResetError):
            list(returned)
        returned.close()

        with pytest.raises(ConnectionResetError):
            client.recv(1)
        ours.close()


def test_a_stream_that_nobody_reads_on_is_closed_with_what_it_noted(capfd):
    """The work ends at once, not when the garbage is collected."""

    def endless():
        try:
            while True:
                yield b"more"
        finally:
            note(ended=True)

    returned = guarded(lambda *_: Response(endless()))(POST, lambda *_: None)
    next(iter(returned))
    returned.close()

    line = json.loads(capfd.readouterr().out)
    assert (line["severity"], line["outcome"], line["ended"]) == ("WARNING", "CLIENT_GONE", True)


def test_a_stream_without_a_guard_is_a_stream_of_flask():
    """Where a function is called without its server, its streams are Flask's to send."""
    route = Route("GET", "/", lambda _: Response(iter([b"a", b"b"]), content_type="text/plain"))
    endpoint = Endpoint("sample", [route], Limits(1000))

    with flask.Flask("sample").test_request_context("/"):
        answer = endpoint(flask.request)

    assert answer.is_streamed
    assert answer.get_data() == b"ab"
