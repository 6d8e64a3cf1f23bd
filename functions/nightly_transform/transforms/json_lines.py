"""JSON Lines in: files of one JSON value a line, none of which is lost, however broken it is."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidRequestError
from shared.ports import Files
from shared.strict_json import LAX, check_depth, decode_text, parsed

# What predict takes as one request, less some room.
MAX_LINE_BYTES = 1_400_000
# Of a request. Written anew, with characters as escapes and 1e9 as 1000000000.0, it is up to three times as long.
_BATCH_BYTES = 400_000
_WRAPPED = ({"instance"}, {"key", "instance"})


@dataclass(frozen=True, slots=True)
class Line:
    """One line of input.

    Attributes:
        number: From 1 through all files.
        place: Its file and its number there, for messages.
        content: Without the line's end; no more than `MAX_LINE_BYTES` and one.
    """

    number: int
    place: str
    content: bytes

    def parse(self) -> tuple[Any, Any]:
        """Return its key and its instance; a line without a key has its number.

        Raises:
            InvalidRequestError: It is not one JSON value.
        """
        if len(self.content) > MAX_LINE_BYTES:
            raise InvalidRequestError(f"expected at most {MAX_LINE_BYTES} bytes")
        check_depth(self.content)
        text = decode_text(self.content)
        value = parsed(text, lambda: LAX.decode(text))
        if isinstance(value, dict) and value.keys() in _WRAPPED:
            return value.get("key", self.number), value["instance"]
        return self.number, value


def read_lines(files: Files, names: Iterable[str]) -> Iterator[Line]:
    """Yield the lines of files, one after the other, in memory that does not grow with them."""
    number = 0
    for name in names:
        with files.open(name) as file:
            for in_file, content in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 2), b""), 1):
                number += 1
                rest = content
                while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
                    rest = file.readline(MAX_LINE_BYTES + 2)
                kept = content.removesuffix(b"\n").removesuffix(b"\r")[: MAX_LINE_BYTES + 1]
                yield Line(number, f"{name} line {in_file}", kept)


def batches(lines: Iterable[Line], rows: int) -> Iterator[list[Line]]:
    """Yield lines together, as many as one request takes: always the same for the same lines."""
    batch: list[Line] = []
    size_bytes = 0
    for line in lines:
        if batch and (len(batch) == rows or size_bytes + len(line.content) > _BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append(line)
        size_bytes += len(line.content)
    if batch:
        yield batch
