"""A run in parts: planned once, each slice a message of its own, merged by whoever finishes the last one."""

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from shared.errors import ServiceError, UnavailableError
from shared.jobs import Job
from shared.runs import Interval, Part, Run

from .alive import LEASE, Alive
from .contract import Transform
from .dependencies import Dependencies, Publish

# How long a slice waits for its turn; one that hangs holds up no other for longer.
_TURN_SECONDS = 5.0


class FanOut:
    """Plans parts, works them, and merges what they came to."""

    def __init__(self, given: Dependencies) -> None:
        self._given = given
        # In one process, slices that are folded at the same time only take the interpreter from each other.
        self._turn = threading.Lock()

    def start(self, job: Job, run: Run, publish: Publish) -> Run:
        """Publish a message for each part that is not done; the parts are planned if they are not yet.

        The plan is kept before the first message goes out, so whoever takes over publishes what is missing.
        """
        if run.plan is None:
            run = self._given.store.plan_parts(run, cut(run.interval, job.slices, self._given.store.shards))
        for part in self._given.store.list_parts(run, partials=False):
            if not part.done:
                publish({"job": run.job, "key": run.key, "plan": run.plan, "slice": part.index})
        return run

    def fold(self, run: Run, part: Part, transform: Transform) -> None:
        """Work one part and keep its partial, unless another delivery was faster."""
        has_turn = self._turn.acquire(timeout=_TURN_SECONDS)
        try:
            partial, documents = fold_part(self._given, part, transform, Alive(self._given, run))
        finally:
            if has_turn:
                self._turn.release()
        self._given.store.finish_part(run, replace(part, partial=json.dumps(partial), documents=documents))
        now = self._given.now()
        if run.lease_expires_at is not None and run.lease_expires_at - now < LEASE / 2:
            self._given.store.renew_run(run, now=now, lease=LEASE)

    def is_complete(self, run: Run) -> bool:
        """Tell whether every part is done."""
        return run.plan is not None and self._given.store.open_parts(run) == 0

    def merge(self, run: Run, transform: Transform) -> tuple[list[dict[str, Any]], int]:
        """Return the rows of a run whose parts are all done, and how many documents they hold."""
        parts = self._given.store.list_parts(run, partials=True)
        if len(parts) != run.parts or not all(part.done for part in parts):
            raise ServiceError(f"expected {run.parts} parts, found {len(parts)}", reason="PARTS_LOST")
        partials = [json.loads(part.partial or "null") for part in parts]
        return transform.merge(run.interval, partials), sum(part.documents for part in parts)

    def part_of(self, job: str, key: str, plan: int, index: int) -> tuple[Run, Part] | None:
        """Return a run and the part of it that a message means; None if the run goes on without that message.

        Raises:
            UnavailableError: Other code planned it than this.
        """
        run = self._given.store.get_run(job, key)
        if run is None or run.state != "running" or run.plan != plan:
            return None
        if run.code_version != self._given.code_version:
            # Two versions may count differently; once its lease is over, the run is planned anew by one of them.
            raise UnavailableError("the run was planned by another version of the code", reason="OTHER_CODE")
        part = self._given.store.get_part(run, index)
        return (run, part) if part else None

    def failed(self, job: Job, run: Run, part: Part, error: Exception) -> None:
        """Count a failed part.

        Raises:
            UnavailableError: It is to be delivered again.
        """
        text = f"{type(error).__name__}: {error}"
        if self._given.store.fail_part(run, part.index, text).attempt < job.max_attempts:
            raise UnavailableError(f"slice {part.index} failed and will be tried again", reason="SLICE_FAILED")


def cut(interval: Interval, slices: int, shards: int) -> list[Part]:
    """Cut an interval into stretches that differ by no more than a microsecond, for each shard."""
    length = interval.end - interval.start
    edges = [interval.start + length * i // slices for i in range(slices + 1)]
    stretches = [(start, end) for start, end in pairwise(edges) if start < end]
    of_shard = range(shards) if shards > 1 else (None,)
    cuts = [(start, end, shard) for start, end in stretches for shard in of_shard]
    return [Part(index, *each) for index, each in enumerate(cuts)]


def fold_part(given: Dependencies, part: Part, transform: Transform, alive: Alive) -> tuple[Any, int]:
    """Return the partial of a part, and how many documents it holds."""
    documents = 0

    def counted(start: datetime, end: datetime) -> Iterator[Any]:
        nonlocal documents
        for document in given.store.read_summaries(start, end, shard=part.shard):
            documents += 1
            if documents % 1000 == 0:
                alive.keep()
            yield document

    return transform.fold(counted(part.start, part.end)), documents
