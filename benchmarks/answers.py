"""Puts HTTP/1.1 answers together from the pieces a socket delivers, at a few microseconds each.

An HTTP library would take several times as long for it as the functions measured here take to answer, on the
processor that they share.
"""

from dataclasses import dataclass

from .errors import MalformedAnswerError

_END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer; `keep_alive` tells whether its connection takes another request."""

    status: int
    body: bytes
    keep_alive: bool


class AnswerReader:
    """Reads one answer to a GET or POST; make another reader for the next."""

    def __init__(self) -> None:
        self._data = b""
        self._body_start = 0
        self._status = 0
        self._keep_alive = True
        self._chunked = False
        self._length: int | None = None

    @property
    def started(self) -> bool:
        """Whether any byte of the answer has come."""
        return bool(self._data)

    def feed(self, piece: bytes) -> Answer | None:
        """Take what a socket delivered; return the answer once it is whole.

        Raises:
            MalformedAnswerError: It is no HTTP/1.1 answer, or more came than the answer.
        """
        self._data += piece
        if not self._body_start and not self._read_head():
            return None
        if self._chunked:
            return self._read_chunks()
        if self._length is None:
            return None
        surplus = len(self._data) - self._body_start - self._length
        if surplus > 0:
            raise MalformedAnswerError(f"{surplus} bytes came after the end of the answer")
        return self._answer(self._data[self._body_start :]) if surplus == 0 else None

    def end(self) -> Answer | None:
        """Take the end of the connection: it completes an answer that gave no length, and breaks any other."""
        if self._body_start and self._length is None and not self._chunked:
            self._keep_alive = False
            return self._answer(self._data[self._body_start :])
        return None

    def _read_head(self) -> bool:
        end = self._data.find(_END_OF_HEAD)
        if end < 0:
            return False
        line, *fields = self._data[:end].split(b"\r\n")
        if not line.startswith(b"HTTP/1.1 ") or not line[9:12].isdigit():
            raise MalformedAnswerError(f"expected HTTP/1.1 and a status, got {line[:40]!r}")
        self._status = int(line[9:12])
        self._body_start = end + len(_END_OF_HEAD)
        for field in fields:
            name, _, value = field.partition(b":")
            self._read_field(name.lower(), value.strip())
        return True

    def _read_field(self, name: bytes, value: bytes) -> None:
        if name == b"content-length":
            if not value.isdigit():
                raise MalformedAnswerError(f"Content-Length: expected a whole number, got {value[:40]!r}")
            self._length = int(value)
        elif name == b"transfer-encoding":
            self._chunked = value.lower() == b"chunked"
        elif name == b"connection":
            self._keep_alive = value.lower() != b"close"

    def _read_chunks(self) -> Answer | None:
        chunks: list[bytes] = []
        at = self._body_start
        while (line_end := self._data.find(b"\r\n", at)) >= 0:
            size_text = self._data[at:line_end].partition(b";")[0].strip()
            try:
                size = int(size_text, 16)
            except ValueError:
                raise MalformedAnswerError(f"expected the size of a chunk, got {size_text[:40]!r}") from None
            start = line_end + 2
            at = start + size + 2
            if len(self._data) < at:
                return None
            if size == 0:
                return self._answer(b"".join(chunks))
            chunks.append(self._data[start : start + size])
        return None

    def _answer(self, body: bytes) -> Answer:
        return Answer(self._status, body, self._keep_alive)
