"""daily_summary over few and many results, beside a loop over the same results that does nothing with them."""

import statistics
from dataclasses import dataclass

from .children import child_json
from .databases.rows import USUAL_TIMES
from .errors import WrongAnswerError

MIN_RATE_SHARE = 0.5
MAX_MEMORY_TIMES = 1.2
# Of each way in a round: what is over in a moment is done often, and each way is first as often as last.
_LEAST_RESULTS, _LEAST_TURNS = 300_000, 2


@dataclass(frozen=True, slots=True)
class Summarised:
    """One process, in which the same results were read and summarised in turns.

    Attributes:
        results: How many.
        reading_seconds: The median of just reading them.
        summary_seconds: The median of reading and summarising them.
        peak_memory_bytes: The most the process had.
    """

    results: int
    reading_seconds: float
    summary_seconds: float
    peak_memory_bytes: int

    @property
    def share(self) -> float:
        """The rate of summarising, as a share of that of reading."""
        return self.reading_seconds / self.summary_seconds


def summarised(store_url: str, results: int) -> Summarised:
    """Measure once.

    Args:
        store_url: A store filled at the usual times.
        results: How many it holds.

    Raises:
        WrongAnswerError: Not every result was read, or summarised.
        MeasurementError: The process failed.
    """
    turns = max(_LEAST_TURNS, _LEAST_RESULTS // results)
    span = (USUAL_TIMES.of(0).isoformat(), USUAL_TIMES.of(results).isoformat())
    found = child_json("benchmarks.summarise", store_url, *span, str(turns))
    if found["results"] != [results]:
        raise WrongAnswerError(f"daily_summary: {found['results']} results read or summarised of {results}")
    seconds = found["seconds"]
    reading, summary = (statistics.median(seconds[name]) for name in ("reading", "summary"))
    return Summarised(results, reading, summary, found["peak_memory_bytes"])
