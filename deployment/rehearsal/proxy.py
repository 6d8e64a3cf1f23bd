"""The one door of the rehearsed cloud: an HTTPS proxy on loopback that answers for every host itself."""

import http.server
import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from .certificates import Authority
from .wire import Answer, Request

_IDLE_SECONDS = 60


class Proxy:
    """Takes CONNECT, speaks TLS as the host that was asked for, and hands each request to one function.

    Nothing is passed on: a host that no API knows is answered like any other, so nothing leaves this machine.

    Attributes:
        url: For HTTPS_PROXY.
    """

    def __init__(self, authority: Authority, answer: Callable[[Request], Answer]) -> None:
        handler = type("Handler", (_Handler,), {"authority": authority, "answer": staticmethod(answer)})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="rehearsal", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_SECONDS
    disable_nagle_algorithm = True  # headers and body are written apart
    authority: Authority
    answer: Callable[[Request], Answer]
    host: str | None = None

    def do_CONNECT(self) -> None:
        self.host = self.path.rpartition(":")[0]
        context = self.authority.context_for(self.host)
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.wfile.flush()
        try:
            self.connection = context.wrap_socket(self.connection, server_side=True)
        except OSError:
            self.close_connection = True
            return
        self.rfile, self.wfile = self.connection.makefile("rb", -1), self.connection.makefile("wb", 0)
        self.close_connection = False

    def _handle(self) -> None:
        url = urlsplit(self.path)
        request = Request(
            self.command,
            self.host or url.hostname or "",
            unquote(url.path),
            dict(parse_qsl(url.query, keep_blank_values=True)),
            {name.lower(): value for name, value in self.headers.items()},
            self._body(),
            target=urlunsplit(("", "", url.path or "/", url.query, "")),
        )
        answer = self.answer(request)
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response_only(answer.status, HTTPStatus(answer.status).phrase)
        headers = {"Content-Type": "application/json; charset=UTF-8", **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _handle  # noqa: N815

    def _body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def finish(self) -> None:
        """Close what speaks TLS too: the server knows only the socket that was there before it."""
        super().finish()
        if self.connection is not self.request:
            self.connection.close()

    def log_message(self, *arguments: object) -> None:
        """Say nothing: the control plane keeps its own log of calls."""
