"""What the parts of nightly-transform are given: made once a worker, in main.py, and in tests."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.jobs import Job
from shared.ports import Files, ResultStore, Store

from .contract import Predict

Publish = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Dependencies:
    """The world around a run.

    Attributes:
        jobs: The regular jobs, by id.
        store: Runs and summaries, and results without the payloads that lie beside it.
        results: Results with their payloads.
        files: Files under OBJECTS_URL.
        predict: Asks the predict function.
        now: The clock.
        publish: Hands a message to the jobs' topic; None where there is none: slices, and tasks that want more time,
            are then worked on here, and whatever else is queued waits until it is asked for.
        code_version: Which deployment this is.
    """

    jobs: Mapping[str, Job]
    store: Store
    results: ResultStore
    files: Files
    predict: Predict
    now: Callable[[], datetime]
    publish: Publish | None = None
    code_version: str = "local"
