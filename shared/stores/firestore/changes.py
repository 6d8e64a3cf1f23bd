"""Changes of a run and its job: one atomic commit, refused if either was changed since it was read.

That is what a transaction would give, but without its locks, which an instance that dies would leave behind, and
without the calls that the library makes for it with no time-out of ours.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from google.cloud.firestore import Client, WriteBatch

from shared.errors import UnavailableError
from shared.runs import JobState, Run
from shared.stores.claims import Decision
from shared.stores.firestore.client import Database, Document
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.run_documents import job_id, run_id, run_of_document
from shared.stores.run_fields import job_fields, job_of, run_fields

# How often a change that others forestall is tried again, and for how long it waits before, the first time.
_ROUNDS, _PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 10, 0.02, 0.3


@dataclass(frozen=True, slots=True)
class Found:
    """A run and its job as they are.

    Attributes:
        document: The run's; None: there is none.
        job_document: The job's.
        run: As a record.
        job: As it is, or as one that was never seen.
    """

    document: Document | None
    job_document: Document | None
    run: Run | None
    job: JobState


@dataclass(frozen=True, slots=True)
class Change:
    """What is to become of a run and its job.

    Attributes:
        decision: What they become.
        fields: Fields of the run's document beside those of the run.
        add: Adds writes to the same commit.
    """

    decision: Decision
    fields: Mapping[str, Any] = field(default_factory=dict)
    add: Callable[[WriteBatch], None] = lambda batch: None


def change_run(database: Database, run: Run, decide: Callable[[Found, Deadline], Change]) -> Decision:
    """Change a run and its job as `decide` says of what they are now, and return what was decided.

    Raises:
        UnavailableError: Others changed them all the time.
    """
    write_id, deadline = secrets.token_hex(8), Deadline()
    change: Change | None = None
    for _ in rounds():
        found = _find(database, run, deadline)
        if change and found.document and found.document.fields["write_id"] == write_id:
            return change.decision  # of an earlier round, whose answer was lost
        change = decide(found, deadline)
        if not change.decision.changed or database.commit(deadline, _writes(database, found, change, write_id)):
            return change.decision
    raise UnavailableError("the run is being changed by others", reason="STORE_BUSY")


def change_job(database: Database, job: str, change: Callable[[JobState], JobState]) -> JobState:
    """Change a job alone. Raises as `change_run` does."""
    reference, deadline = _job_reference(database, job), Deadline()
    for _ in rounds():
        found = next(iter(database.get([reference], deadline)), None)
        present = job_of(found.fields) if found else JobState(job)
        changed = change(present)
        if changed == present or database.commit(deadline, writing(reference, found, job_fields(changed))):
            return changed
    raise UnavailableError("the job is being changed by others", reason="STORE_BUSY")


def rounds() -> Iterator[None]:
    """Yield as often as something is tried, after pauses that grow, and differ from those of others."""
    pause = _PAUSE_SECONDS
    yield
    for _ in range(_ROUNDS - 1):
        time.sleep(pause * (500 + secrets.randbelow(1000)) / 1000)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        yield


def writing(reference: Any, found: Document | None, fields: Mapping[str, Any]) -> Callable[[WriteBatch], None]:
    """Return what adds the write of a document, on the condition that it is still as it was found."""

    def add(batch: WriteBatch) -> None:
        if found:
            batch.update(reference, dict(fields), option=Client.write_option(last_update_time=found.update_time))
        else:
            batch.create(reference, dict(fields))

    return add


def reference_of(database: Database, run: Run) -> Any:
    """Return the reference of a run's document."""
    return database.collection("runs").document(run_id(run.job, run.key))


def _find(database: Database, run: Run, deadline: Deadline) -> Found:
    run_reference, job_reference = reference_of(database, run), _job_reference(database, run.job)
    documents = {each.reference: each for each in database.get([run_reference, job_reference], deadline)}
    here, job = documents.get(run_reference), documents.get(job_reference)
    return Found(
        here, job, run_of_document(here.fields) if here else None, job_of(job.fields) if job else JobState(run.job)
    )


def _writes(database: Database, found: Found, change: Change, write_id: str) -> Callable[[WriteBatch], None]:
    run, job = change.decision.run, change.decision.job
    kept = found.document.fields["kept_generation"] if found.document else None
    fields = {**run_fields(run), "kept_generation": kept, **change.fields, "write_id": write_id}

    def add(batch: WriteBatch) -> None:
        writing(reference_of(database, run), found.document, fields)(batch)
        if job != found.job:
            writing(_job_reference(database, job.job), found.job_document, job_fields(job))(batch)
        change.add(batch)

    return add


def _job_reference(database: Database, job: str) -> Any:
    return database.collection("job_states").document(job_id(job))
