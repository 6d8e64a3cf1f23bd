"""Output that grows over several attempts: kept in pieces, each a file, until it is written whole."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from shared.errors import NotFoundError, UnavailableError
from shared.ports import Files

_READ_BYTES = 1024 * 1024
# So much output is lost by a crash, at most.
_FULL_ROWS, _FULL_BYTES = 1000, 4 * 1024 * 1024
_NAME = re.compile(r"([0-9]{9})-([0-9]{9})-([0-9]+)-([0-9]+)-([0-9a-f]{32})")


class Piece(NamedTuple):
    """A stretch of the output.

    Attributes:
        start: How many batches of the input come before it.
        end: How many there are with its own.
        lines: How many it holds.
        errors: How many of these are errors.
        digest: Of all the input up to its end: it is of use for that input alone.
    """

    start: int
    end: int
    lines: int
    errors: int
    digest: str


class Pieces:
    """The pieces of one output, and the one that is being made.

    Args:
        files: Where they are.
        output: The output's name.
    """

    def __init__(self, files: Files, output: str) -> None:
        self._files = files
        self._output = output
        self._folder = f"{output}.pieces/"
        self._lines: list[bytes] = []
        self._errors = 0
        self._start = 0

    def kept(self) -> list[Piece]:
        """Return the pieces that earlier attempts kept, each beginning where the one before ends.

        Attempts that overlapped may have kept pieces that do so too; of these some are left out.
        """
        found = [_NAME.fullmatch(name.removeprefix(self._folder)) for name in self._files.names(self._folder)]
        pieces = sorted(Piece(int(n[1]), int(n[2]), int(n[3]), int(n[4]), n[5]) for n in found if n)
        at_start, chain = {piece.start: piece for piece in pieces}, list[Piece]()
        while self._start in at_start:
            chain.append(at_start.pop(self._start))
            self._start = chain[-1].end
        return chain

    def add(self, lines: Sequence[bytes], errors: int) -> bool:
        """Add lines of output to the piece under way, and tell whether it is to be kept now."""
        self._lines += lines
        self._errors += errors
        return len(self._lines) >= _FULL_ROWS or sum(map(len, self._lines)) >= _FULL_BYTES

    def keep(self, end: int, digest: str) -> list[Piece]:
        """Keep the piece under way and return it, if there is anything in it."""
        if not self._lines:
            return []
        piece = Piece(self._start, end, len(self._lines), self._errors, digest)
        self._files.write(self._name(piece), self._lines)
        self._lines, self._errors, self._start = [], 0, end
        return [piece]

    def join(self, pieces: Sequence[Piece], keep_alive: Callable[[], None]) -> None:
        """Write the output whole.

        Raises:
            UnavailableError: A piece is gone, since another attempt was faster.
        """
        self._files.write(self._output, self._contents(pieces, keep_alive))

    def remove(self) -> None:
        """Remove every piece."""
        for name in self._files.names(self._folder):
            self._files.delete(name)

    def _contents(self, pieces: Sequence[Piece], keep_alive: Callable[[], None]) -> Iterator[bytes]:
        for piece in pieces:
            try:
                file = self._files.open(self._name(piece))
            except NotFoundError as error:
                raise UnavailableError("a piece of the output is gone", reason="PIECE_LOST") from error
            with file:
                while content := file.read(_READ_BYTES):
                    keep_alive()
                    yield content

    def _name(self, piece: Piece) -> str:
        return f"{self._folder}{piece.start:09d}-{piece.end:09d}-{piece.lines}-{piece.errors}-{piece.digest}"
