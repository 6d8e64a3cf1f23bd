"""One request and what a right answer to it is; and what many of them came to."""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from .answers import Answer
from .errors import WrongAnswerError


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it goes over the wire, and what a right answer to it is."""

    request: bytes
    is_right: Callable[[Answer], bool]

    def check(self, answer: Answer) -> None:
        """Refuse a wrong answer.

        Raises:
            WrongAnswerError: With the request's first line, and the status and the start of the body that came.
        """
        if not self.is_right(answer):
            line = self.request.partition(b"\r\n")[0].decode("latin-1")
            shown = answer.body[:300].decode("utf-8", "replace")
            raise WrongAnswerError(f"{line}: wrong answer: status {answer.status}, body {shown!r}")


@dataclass(slots=True)
class Load:
    """What a load came to.

    Attributes:
        latencies_seconds: Of each right answer, from before its request was sent until its last byte was read.
        seconds: From the first request to the last answer.
        errors: Connections that broke before the answer was whole; those requests have no latency.
        reconnects: Connections opened again, be it that the server closed them or that they broke.
    """

    latencies_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    errors: int = 0
    reconnects: int = 0

    def __add__(self, other: "Load") -> "Load":
        """Return both as one load, the second after the first."""
        return Load(
            self.latencies_seconds + other.latencies_seconds,
            self.seconds + other.seconds,
            self.errors + other.errors,
            self.reconnects + other.reconnects,
        )

    @property
    def answers(self) -> int:
        """Right answers."""
        return len(self.latencies_seconds)

    @property
    def requests_per_second(self) -> float:
        """The rate of right answers."""
        return self.answers / self.seconds

    @property
    def median_seconds(self) -> float:
        """The median latency."""
        return statistics.median(self.latencies_seconds)

    @property
    def p99_seconds(self) -> float:
        """The latency that 99 % of the answers did not exceed."""
        ordered = sorted(self.latencies_seconds)
        return ordered[math.ceil(0.99 * len(ordered)) - 1]
