"""Runs in Firestore: one document for each (job, key), changed together with that of its job."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from google.cloud.firestore import WriteBatch

from shared.errors import ServiceError
from shared.runs import JobState, Row, Run
from shared.stores.changed_runs import ChangedRuns
from shared.stores.claims import Decision
from shared.stores.firestore.changes import Change, Found, change_job, change_run
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.pruning import prune
from shared.stores.firestore.run_documents import run_id, run_of_document
from shared.stores.firestore.run_lists import FirestoreRunLists, summary_of
from shared.stores.job_states import seen, with_pause
from shared.stores.moments import to_us
from shared.stores.outcomes import finish

_MAX_ROWS_BYTES = 900 * 1024


class FirestoreRuns(FirestoreRunLists, ChangedRuns):
    """The runs of the store protocol; `shared.ports.RunStore` says what each method does."""

    def finish_run(self, run: Run, rows: Sequence[Row], *, now: datetime) -> Run:
        def decide(found: Found, _: Deadline) -> Change:
            decision = finish(found.run, found.job, run, now=now)
            return _finishing(found, decision, _rows_text(rows), now)

        return change_run(self._database, run, decide).run

    def get_run(self, job: str, key: str) -> Run | None:
        reference = self._database.collection("runs").document(run_id(job, key))
        found = self._database.get([reference], Deadline())
        return run_of_document(found[0].fields) if found else None

    def prune_runs(self, job: str, *, before_key: str, limit: int) -> int:
        return prune(self._database, self._documents, job, before_key, limit)

    def touch_job(self, job: str, *, now: datetime) -> JobState:
        return change_job(self._database, job, lambda present: seen(present, now))

    def set_paused(self, job: str, *, paused: bool, now: datetime) -> JobState:
        return change_job(self._database, job, lambda present: with_pause(present, paused=paused, now=now))

    def _change(self, run: Run, decide: Callable[[Run | None, JobState], Decision]) -> Decision:
        return change_run(self._database, run, lambda found, _: Change(decide(found.run, found.job)))


def _rows_text(rows: Sequence[Row]) -> str:
    text = json.dumps(list(rows), allow_nan=False)
    if len(text) > _MAX_ROWS_BYTES:
        raise ServiceError(
            f"the rows of a run: expected at most {_MAX_ROWS_BYTES} bytes of JSON, got {len(text)}",
            reason="ROWS_TOO_LARGE",
        )
    return text


def _finishing(found: Found, decision: Decision, rows: str, now: datetime) -> Change:
    """Return the change that makes rows visible; two generations stay, this one and the one before it, to compare."""
    done, before = decision.run, found.document
    visible = before.fields["generation"] if before else None
    kept = before.fields["kept_generation"] if before else None
    summary = {"provisional": done.provisional, "created_at_us": to_us(now), "rows": rows}

    def add(batch: WriteBatch) -> None:
        if before:
            batch.set(summary_of(before.reference, done.fence), summary)
            if kept:
                batch.delete(summary_of(before.reference, kept))

    return Change(decision, {"kept_generation": visible}, add)
