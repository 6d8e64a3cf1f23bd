"""Removes old runs from Firestore, where nothing below a document goes with it."""

from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from google.cloud.firestore import Client, WriteBatch

from shared.runs import RunQuery, RunState
from shared.stores.firestore.client import Database, Document
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.parts import parts_below
from shared.stores.firestore.run_lists import summary_of

_ENDED: tuple[RunState, ...] = ("failed", "missed", "success")
# As many as one request easily holds.
_DELETES_AT_ONCE = 400


def prune(
    database: Database,
    documents: Callable[[RunQuery, None, int, Deadline], Sequence[Document]],
    job: str,
    before_key: str,
    limit: int,
) -> int:
    """Delete a job's oldest runs that ended; see `shared.ports.RunStore.prune_runs`.

    Args:
        database: Where they are.
        documents: Lists runs.
        job: Whose.
        before_key: Only earlier keys.
        limit: How many at most.
    """
    deadline = Deadline()
    ended = [
        documents(RunQuery(job, until_key=before_key, state=state, oldest_first=True), None, limit, deadline)
        for state in _ENDED
    ]
    # Each run in time of its own: what was deleted when time is up stays so.
    oldest = islice(merge(*ended, key=lambda run: str(run.fields["key"])), limit)
    return sum(_delete(database, run, Deadline()) for run in oldest)


def _delete(database: Database, run: Document, deadline: Deadline) -> bool:
    """Delete a run, unless it was changed in the meantime; its parts before it, but for those planned since."""
    planned = run.fields.get("plan") or 0
    below = parts_below(database, run.reference, deadline, fields=("plan",))
    parts = [part.reference for part in below if part.fields["plan"] <= planned]
    for start in range(0, len(parts), _DELETES_AT_ONCE):
        database.commit(deadline, _deletes(parts[start : start + _DELETES_AT_ONCE]))
    written = (run.fields["generation"], run.fields["kept_generation"])
    summaries = [summary_of(run.reference, generation) for generation in written if generation]

    def add(batch: WriteBatch) -> None:
        batch.delete(run.reference, option=Client.write_option(last_update_time=run.update_time))
        _deletes(summaries)(batch)

    # One that is gone was deleted by this call, whose answer was lost, or by another, which counts alike.
    return database.commit(deadline, add) or not database.get([run.reference], deadline)


def _deletes(references: Sequence[Any]) -> Callable[[WriteBatch], None]:
    def add(batch: WriteBatch) -> None:
        for reference in references:
            batch.delete(reference)

    return add
