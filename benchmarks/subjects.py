"""What is measured: each function, the request it gets, and what a right answer to it is."""

import itertools
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.config import ROOT

from .answers import Answer
from .load import Call
from .server import Source

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
        reads_results: Whether results must be in the store before.
    """

    name: str
    source: Source
    next_call: Callable[[], Call]
    reads_results: bool = False


def hello_world() -> Subject:
    """Return what all others are measured against."""
    call = Call(_request("GET", "/"), lambda answer: answer.status == 200 and answer.body == _HELLO)
    return Subject("hello-world", Source(Path(__file__).parent / "hello" / "main.py", "hello"), lambda: call)


def all_subjects() -> list[Subject]:
    """Return the project's functions, in the order of the table."""
    predict, page, jobs = _predict_call(), _page_call(), _jobs_call()
    return [
        Subject("predict", function_source("predict"), lambda: predict),
        Subject("store_result", function_source("store_result"), _store_calls()),
        Subject("list_results", function_source("list_results"), lambda: page, reads_results=True),
        Subject("nightly_transform", function_source("nightly_transform"), lambda: jobs),
    ]


def function_source(name: str) -> Source:
    """Return one of the project's functions."""
    return Source(ROOT / "functions" / name / "main.py", name)


def seed_call() -> Call:
    """Return the request to store-result that puts the results there which list-results finds."""
    body = _json({"results": [_result()] * _SEEDED_RESULTS})
    return Call(_request("POST", "/batch", body), lambda answer: answer.status == 201)


def _predict_call() -> Call:
    image, digit = _example()
    body = _json({"instances": [image]})

    def is_right(value: Any) -> bool:
        return bool([row["digit"] for row in value["predictions"]] == [digit])

    return Call(_request("POST", "/v1/models/digits:predict", body), _Checked(200, is_right))


def _store_calls() -> Callable[[], Call]:
    """Return a maker of requests, each with an idempotency key of its own."""
    body, run, numbers = _json(_result()), secrets.token_hex(6), itertools.count()

    def next_call() -> Call:
        key = f"bench-{run}-{next(numbers)}"
        request = _request("POST", "/", body, f"Idempotency-Key: {key}\r\n")
        return Call(request, lambda answer: answer.status == 201 and json.loads(answer.body)["request_id"] == key)

    return next_call


def _page_call() -> Call:
    def is_right(value: Any) -> bool:
        return len(value["results"]) == PAGE_RESULTS and all(r["model"] == "digits" for r in value["results"])

    return Call(_request("GET", f"/?page_size={PAGE_RESULTS}"), _Checked(200, is_right))


def _jobs_call() -> Call:
    def is_right(value: Any) -> bool:
        return "nightly" in [job["id"] for job in value["jobs"]]

    return Call(_request("GET", "/jobs"), _Checked(200, is_right))


class _Checked:
    """Checks a JSON answer; a body equal to the one found right last is not parsed again."""

    def __init__(self, status: int, is_right: Callable[[Any], bool]) -> None:
        self._status = status
        self._is_right = is_right
        self._right_body: bytes | None = None

    def __call__(self, answer: Answer) -> bool:
        if answer.status != self._status:
            return False
        if answer.body != self._right_body:
            try:
                right = self._is_right(json.loads(answer.body))
            except (ValueError, LookupError, TypeError):
                return False
            self._right_body = answer.body if right else None
        return self._right_body is not None


def _example() -> tuple[Any, int]:
    """Return one image that no model version was trained on, and the digit it shows."""
    held_out = json.loads(HELD_OUT.read_bytes())
    return held_out["images"][0], held_out["digits"][0]


def _result() -> dict[str, Any]:
    image, digit = _example()
    probabilities = [0.991 if index == digit else 0.001 for index in range(10)]
    predictions = [{"digit": digit, "probabilities": probabilities}]
    return {"model": "digits", "version": "1", "instances": [image], "predictions": predictions}


def _request(method: str, path: str, body: bytes = b"", fields: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: nightshift-benchmarks\r\n{fields}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n".encode() + body


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
