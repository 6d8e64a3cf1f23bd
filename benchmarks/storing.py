"""Races of store-result: against the raw client of each database, on databases of their own that start empty."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .answers import Answer
from .calls import Call
from .contests import CLIENTS
from .races import Comparison, Entrant, Race, Task, numbered
from .server import Source
from .subjects import example_result, function_source
from .wire import as_json, http_request

BATCH_RESULTS = 500
MAX_TIMES_RAW = 1.5


def store_race(name: str, ours: Mapping[str, str], raw: Mapping[str, str]) -> Race:
    """Return store-result against the raw client.

    Args:
        name: `stores-` and the database.
        ours, raw: The environments of the two, which say where their databases are.
    """
    rival = name.replace("stores-", "raw_", 1)
    entrants = (
        Entrant(rival, raw_source(rival), raw, _tasks()),
        Entrant("store_result", function_source("store_result"), ours, _tasks()),
    )
    return Race(name, entrants, [Comparison("store_result", rival, "raw", MAX_TIMES_RAW)])


def raw_source(name: str) -> Source:
    """Return one of the functions around a raw client."""
    return Source(Path(__file__).parent / name / "main.py", name)


def _tasks() -> Sequence[Task]:
    run = secrets.token_hex(6)
    one = as_json(example_result())
    batch = as_json({"results": [example_result()] * BATCH_RESULTS})

    def call(key: str) -> Call:
        return Call(http_request("POST", "/", one, f"Idempotency-Key: {key}\r\n"), _holds(key.encode(), 1))

    def batch_call(key: str) -> Call:
        request = http_request("POST", "/batch", batch, f"Idempotency-Key: {key}\r\n")
        return Call(request, _holds(b'"id":', BATCH_RESULTS))

    return (
        Task("one at a time", 1, "stores", numbered(f"one-{run}", call)),
        Task(f"{CLIENTS} at once", CLIENTS, "stores", numbered(f"many-{run}", call)),
        Task(f"batches of {BATCH_RESULTS}", 1, "stores", numbered(f"batch-{run}", batch_call), BATCH_RESULTS),
    )


def _holds(text: bytes, times: int) -> Callable[[Answer], bool]:
    """Return a check that costs the same for either answer; the raw client's has fewer members to parse."""
    return lambda answer: answer.status == 201 and answer.body.count(text) >= times
