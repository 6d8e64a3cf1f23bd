"""Summarises the results of a store in a process of its own, beside just reading them.

    python -m benchmarks.summarise STORE_URL START END TURNS

Writes one JSON object to standard output: how long each turn took, how many results were read and summarised, and the
most memory that the process ever had.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from functions.nightly_transform.transforms.daily_summary import transform
from shared.ports import ResultStore
from shared.runs import Interval
from shared.stores import open_store

_STATUS = Path("/proc/self/status")


def main(url: str, start: datetime, end: datetime, turns: int) -> dict[str, Any]:
    """Read and summarise in turns, each first as often as last."""
    store = open_store(url)
    interval = Interval(start.date().isoformat(), start, end, "Etc/UTC")
    ways: dict[str, Callable[[ResultStore, Interval], int]] = {"reading": _read, "summary": _summarise}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found = set()
    for turn in range(turns):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            began = time.perf_counter()
            found.add(ways[name](store, interval))
            seconds[name].append(time.perf_counter() - began)
    store.close()
    return {"seconds": seconds, "results": sorted(found), "peak_memory_bytes": peak_memory_bytes()}


def peak_memory_bytes() -> int:
    """Return the most memory that this process ever had.

    On Linux `getrusage` would begin with what the process had that started this one.
    """
    if _STATUS.exists():
        kibibytes = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:")).split()[1]
        return int(kibibytes) * 1024
    # macOS counts bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _read(store: ResultStore, interval: Interval) -> int:
    count = 0
    for _ in store.read_summaries(interval.start, interval.end):
        count += 1
    return count


def _summarise(store: ResultStore, interval: Interval) -> int:
    partial = transform.fold(store.read_summaries(interval.start, interval.end))
    return sum(row["results"] for row in transform.merge(interval, [partial]))


if __name__ == "__main__":
    begins, ends = map(datetime.fromisoformat, sys.argv[2:4])
    print(json.dumps(main(sys.argv[1], begins, ends, int(sys.argv[4]))))
