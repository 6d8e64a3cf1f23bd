"""All results as one CSV: every row is counted, and the server's memory looked at while they come."""

import http.client
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .calls import Call
from .errors import MeasurementError, WrongAnswerError
from .lane import ANSWER_SECONDS
from .server import serving
from .subjects import function_source
from .wire import JsonCheck, http_request

CSV = "csv"
EARLY_ROWS = 50_000
_PIECE_BYTES = 1 << 18
_SAMPLE_SECONDS = 0.2


@dataclass(slots=True)
class Streamed:
    """One stream.

    Attributes:
        rows: Counted as they came, without the header.
        seconds: From the request to the last byte.
        early_memory_bytes: Of the server, when 50,000 rows had come.
        peak_memory_bytes: The most there was at any look from then on.
    """

    rows: int = 0
    size_bytes: int = 0
    seconds: float = 0.0
    early_memory_bytes: int = 0
    peak_memory_bytes: int = 0
    samples: int = field(default=0)

    def look(self, memory_bytes: Callable[[], int]) -> None:
        """Take note of the memory."""
        found = memory_bytes()
        self.early_memory_bytes = self.early_memory_bytes or found
        self.peak_memory_bytes = max(self.peak_memory_bytes, found)
        self.samples += 1


def stream_csv(env: Mapping[str, str], kept: int, log_path: Path) -> Streamed:
    """Ask list-results for everything as CSV.

    Args:
        env: Its environment.
        kept: How many results there are.
        log_path: Takes its output.

    Raises:
        WrongAnswerError: It sent no CSV, or more or fewer rows than there are results.
        MeasurementError: The stream broke off.
    """
    with serving(function_source("list_results"), env, log_path) as server:
        health = Call(http_request("GET", "/?page_size=1"), JsonCheck(lambda value: len(value["results"]) == 1))
        server.first_answer_seconds(health)
        connection = http.client.HTTPConnection(*server.address, timeout=ANSWER_SECONDS)
        started = time.perf_counter()
        try:
            connection.request("GET", "/", headers={"Accept": "text/csv"})
            answer = connection.getresponse()
            if answer.status != 200 or not (answer.getheader("Content-Type") or "").startswith("text/csv"):
                raise WrongAnswerError(f"GET / for CSV: status {answer.status}, body {answer.read(300)!r}")
            found = read_rows(answer.read1, server.memory_bytes)
        except (OSError, http.client.HTTPException) as error:
            raise MeasurementError(f"the stream broke off: {error!r}\n{server.log_tail()}") from error
        finally:
            connection.close()
        found.seconds = time.perf_counter() - started
    if found.rows != kept:
        raise WrongAnswerError(f"GET / for CSV: {found.rows} rows of {kept} results")
    return found


def read_rows(read: Callable[[int], bytes], memory_bytes: Callable[[], int]) -> Streamed:
    """Read a CSV with a header, none of whose cells holds a line break, to its end.

    Args:
        read: Returns up to so many bytes, none at the end.
        memory_bytes: Looks at the memory of the server.
    """
    found, next_look = Streamed(rows=-1), 0.0
    while piece := read(_PIECE_BYTES):
        found.rows += piece.count(b"\n")
        found.size_bytes += len(piece)
        if found.rows >= EARLY_ROWS and time.perf_counter() >= next_look:
            found.look(memory_bytes)
            next_look = time.perf_counter() + _SAMPLE_SECONDS
    found.look(memory_bytes)
    return found
