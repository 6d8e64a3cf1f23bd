"""The functions as they are: each one, the request it gets, and what a right answer to it is."""

import itertools
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.config import ROOT

from .calls import Call
from .server import Source
from .wire import JsonCheck, as_json, http_request

HELD_OUT = ROOT / "model" / "digits" / "held_out.json"
PAGE_RESULTS = 10
_SEEDED_RESULTS = 100
_HELLO = b"Hello, World!"


@dataclass(frozen=True, slots=True)
class Subject:
    """One function under measurement.

    Attributes:
        name: In the table and for `--only`.
        source: What is served.
        next_call: Makes the next request.
        env: Its environment beyond what all functions get.
        reads_results: Whether results must be in the store before.
        starts_slowly: It takes seconds to start, so that one start a round has to do.
    """

    name: str
    source: Source
    next_call: Callable[[], Call]
    env: Mapping[str, str] = field(default_factory=dict)
    reads_results: bool = False
    starts_slowly: bool = False


def hello_world() -> Subject:
    """Return what all others are measured against."""
    call = Call(http_request("GET", "/"), lambda answer: answer.status == 200 and answer.body == _HELLO)
    return Subject("hello-world", Source(Path(__file__).parent / "hello" / "main.py", "hello"), lambda: call)


def store_result() -> Subject:
    """Return store-result, given one result at a time, each with an idempotency key of its own."""
    body, run, numbers = as_json(example_result()), secrets.token_hex(6), itertools.count()

    def next_call() -> Call:
        key = f"bench-{run}-{next(numbers)}"
        request = http_request("POST", "/", body, f"Idempotency-Key: {key}\r\n")
        return Call(request, lambda answer: answer.status == 201 and json.loads(answer.body)["request_id"] == key)

    return Subject("store_result", function_source("store_result"), next_call)


def list_results() -> Subject:
    """Return list-results, asked for its first page."""

    def is_right(value: Any) -> bool:
        return len(value["results"]) == PAGE_RESULTS and all(r["model"] == "digits" for r in value["results"])

    call = Call(http_request("GET", f"/?page_size={PAGE_RESULTS}"), JsonCheck(is_right))
    return Subject("list_results", function_source("list_results"), lambda: call, reads_results=True)


def nightly_transform() -> Subject:
    """Return nightly-transform, asked for its jobs."""

    def is_right(value: Any) -> bool:
        return "nightly" in [job["id"] for job in value["jobs"]]

    call = Call(http_request("GET", "/jobs"), JsonCheck(is_right))
    return Subject("nightly_transform", function_source("nightly_transform"), lambda: call)


def function_source(name: str) -> Source:
    """Return one of the project's functions."""
    return Source(ROOT / "functions" / name / "main.py", name)


def seed_call() -> Call:
    """Return the request to store-result that puts the results there which list-results finds."""
    body = as_json({"results": [example_result()] * _SEEDED_RESULTS})
    return Call(http_request("POST", "/batch", body), lambda answer: answer.status == 201)


def digit_example() -> tuple[Any, int]:
    """Return one image that no model version was trained on, and the digit it shows."""
    held_out = json.loads(HELD_OUT.read_bytes())
    return held_out["images"][0], held_out["digits"][0]


def example_result() -> dict[str, Any]:
    """Return a result as it is handed to store-result: one image of 8 by 8, ten probabilities."""
    image, digit = digit_example()
    probabilities = [0.991 if index == digit else 0.001 for index in range(10)]
    predictions = [{"digit": digit, "probabilities": probabilities}]
    return {"model": "digits", "version": "1", "instances": [image], "predictions": predictions}
