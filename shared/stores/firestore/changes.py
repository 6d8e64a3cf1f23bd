"""One change of a run, as the writes of one commit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import Client, WriteBatch

from shared.records import Run
from shared.stores.firestore.client import Document
from shared.stores.firestore.run_documents import run_document


@dataclass(frozen=True, slots=True)
class Change:
    """What a run becomes, and the summary that is written beside it under its fence."""

    run: Run
    summary: dict[str, Any] | None = None


def writes_of(run: Any, found: Document | None, change: Change, write_id: str) -> Callable[[WriteBatch], None]:
    """Return what adds a change to a batch, on the condition that the run is still as it was found."""
    before = found.fields if found else {}
    visible, kept = before.get("generation"), before.get("kept_generation")
    fields = {**run_document(change.run), "write_id": write_id, "kept_generation": visible if change.summary else kept}

    def add(batch: WriteBatch) -> None:
        if change.summary:
            batch.set(summary_of(run, change.run.fence), change.summary)
            # Two generations stay: the visible one and the one before it, to compare.
            if kept:
                batch.delete(summary_of(run, kept))
        if found:
            batch.update(run, fields, option=Client.write_option(last_update_time=found.update_time))
        else:
            batch.create(run, fields)

    return add


def summary_of(run: Any, generation: int) -> Any:
    """Return the reference of what a run wrote under a fence."""
    return run.collection("summaries").document(str(generation))
