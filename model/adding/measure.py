"""Measures a loaded version: how long a call takes, what a batch gains, what memory it took."""

import resource
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..runtimes import Runtime
from .samples import repeated

BATCH = 8
LONGEST_SECONDS = 1.0
MOST_CALLS = 200


def measure_calls(
    runtime: Runtime, name: str, inputs: Mapping[str, NDArray[Any]], *, batched: bool
) -> dict[str, float]:
    """Return the median time of a call, and how many more rows a second a batch of eight answers than one row.

    Args:
        inputs: One row, if the signature is batched.
    """
    one = _median_seconds(runtime, name, inputs)
    if not batched:
        return {"latency_ms": one * 1000}
    eight = _median_seconds(runtime, name, repeated(inputs, BATCH))
    return {"latency_ms": one * 1000, "speedup_at_8": BATCH * one / eight}


def peak_memory_bytes() -> int:
    """Return the most memory that this process has held at once."""
    status = Path("/proc/self/status")
    if status.exists():  # of this program alone: getrusage counts what ran before exec too
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _median_seconds(runtime: Runtime, name: str, inputs: Mapping[str, NDArray[Any]]) -> float:
    runtime.run(name, inputs)  # the first call sets things up
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < MOST_CALLS and (not times or time.perf_counter() - started < LONGEST_SECONDS):
        before = time.perf_counter()
        runtime.run(name, inputs)
        times.append(time.perf_counter() - before)
    return statistics.median(times)
