"""Runs in Firestore: one document for each (job, key), changed only as it was read.

Each change is one atomic commit that Firestore refuses if the document was changed since: what a transaction would
give, but without its locks, which an instance that dies would leave behind, and without the calls that the library
makes for it with no time-out of ours.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain, islice
from typing import Any

from google.cloud.firestore import Query

from shared.errors import ConflictError, ServiceError, UnavailableError
from shared.records import Claim, Row, Run, RunQuery, RunState, Summary
from shared.stores.claims import claimed, may_claim, storable
from shared.stores.firestore.changes import Change, summary_of, writes_of
from shared.stores.firestore.client import Database, Document
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.run_documents import run_id, run_of
from shared.stores.firestore.shapes import Direction, build_query
from shared.stores.moments import from_us, to_us

_MAX_ROWS_BYTES = 900 * 1024
# How often a change that others forestall is tried again, and for how long it waits before, the first time.
_ROUNDS, _PAUSE_SECONDS = 6, 0.01
_NEWEST_FIRST: tuple[tuple[str, Direction], ...] = (("key", "DESCENDING"), ("job", "ASCENDING"))
_RUNS_AT_ONCE, _SUMMARIES_AT_ONCE, _PAGE_CHARS = 1000, 50, 4_000_000


class FirestoreRuns:
    """The run half of the store protocol; `shared.ports.RunStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_run(self, wanted: Run, *, now: datetime, lease: timedelta, force: bool) -> Claim:
        def decide(present: Run | None) -> Change | Run:
            if present and not may_claim(present, wanted, now=now, force=force):
                return present
            return Change(claimed(present, wanted, now=now, lease=lease))

        return self._change(wanted, decide)

    def finish_run(self, run: Run, rows: Sequence[Row], *, now: datetime) -> Run:
        finished = replace(run, state="success", generation=run.fence, lease_expires_at=None, error=None, ended_at=now)

        def decide(present: Run | None) -> Change:
            _check_held(present, run)
            text = json.dumps(list(rows), allow_nan=False)
            if len(text) > _MAX_ROWS_BYTES:
                raise ServiceError(
                    f"the rows of a run: expected at most {_MAX_ROWS_BYTES} bytes of JSON, got {len(text)}",
                    reason="ROWS_TOO_LARGE",
                )
            return Change(finished, {"provisional": run.provisional, "created_at_us": to_us(now), "rows": text})

        return self._change(run, decide).run

    def fail_run(self, run: Run, error: str, *, retry: bool, now: datetime) -> Run:
        state: RunState = "queued" if retry else "failed"
        failed = replace(run, state=state, lease_expires_at=None, error=storable(error), ended_at=now)

        def decide(present: Run | None) -> Change:
            _check_held(present, run)
            return Change(failed)

        return self._change(run, decide).run

    def get_run(self, job: str, key: str) -> Run | None:
        found = self._find(self._reference(job, key), Deadline())
        return run_of(found.fields) if found else None

    def list_runs(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Run]:
        documents = chain.from_iterable(self._pages(query, after, min(limit, _RUNS_AT_ONCE), Deadline()))
        return [run_of(document.fields) for document in islice(documents, limit)]

    def list_summaries(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Summary]:
        deadline = Deadline()
        pages = self._pages(query, after, min(limit, _SUMMARIES_AT_ONCE), deadline)
        return list(islice(chain.from_iterable(self._visible(page, deadline) for page in pages), limit))

    def _change(self, run: Run, decide: Callable[[Run | None], Change | Run]) -> Claim:
        """Change a run as `decide` says of what it is now, or leave it as it is, if it returns that.

        Raises:
            UnavailableError: Others changed it all the time.
        """
        reference, write_id, deadline = self._reference(run.job, run.key), secrets.token_hex(8), Deadline()
        for round_ in range(_ROUNDS):
            if round_:
                time.sleep(_PAUSE_SECONDS * 2**round_)
            found = self._find(reference, deadline)
            if found and found.fields["write_id"] == write_id:
                return Claim(run_of(found.fields), granted=True)  # by an earlier round, whose answer was lost
            change = decide(run_of(found.fields) if found else None)
            if isinstance(change, Run):
                return Claim(change, granted=False)
            if self._database.commit(deadline, writes_of(reference, found, change, write_id)):
                return Claim(change.run, granted=True)
        raise UnavailableError("the run is being changed by others", reason="STORE_BUSY")

    def _reference(self, job: str, key: str) -> Any:
        return self._database.collection("runs").document(run_id(job, key))

    def _find(self, reference: Any, deadline: Deadline) -> Document | None:
        return next(iter(self._database.get([reference], deadline)), None)

    def _pages(
        self, query: RunQuery, after: tuple[str, str] | None, size: int, deadline: Deadline
    ) -> Iterator[list[Document]]:
        order = _NEWEST_FIRST if query.job is None else _NEWEST_FIRST[:1]
        collection = self._database.collection("runs")
        whole = build_query(collection, {"job": query.job}, order, query.since_key, query.until_key)
        are_more = size > 0
        while are_more:
            rest = _beyond(whole, query.job, *after) if after else whole
            page, are_more = self._database.page(rest, size, deadline, _PAGE_CHARS)
            if page:
                yield page
                after = page[-1].fields["key"], page[-1].fields["job"]

    def _visible(self, runs: Sequence[Document], deadline: Deadline) -> list[Summary]:
        """Return the summaries that runs point at, as they were when the runs were read."""
        pointing = [
            (summary_of(run.reference, generation), run) for run in runs if (generation := run.fields["generation"])
        ]
        found = self._database.get([reference for reference, _ in pointing], deadline, read_time=runs[0].read_time)
        held = {document.reference: document.fields for document in found}
        return [
            Summary(
                job=run.fields["job"],
                key=run.fields["key"],
                provisional=held[reference]["provisional"],
                rows=tuple(json.loads(held[reference]["rows"])),
                created_at=from_us(held[reference]["created_at_us"]),
            )
            for reference, run in pointing
        ]


def _check_held(present: Run | None, run: Run) -> None:
    if present is None or present.fence != run.fence or present.state != "running":
        raise ConflictError("the run was claimed again in the meantime; nothing was written", reason="FENCE_LOST")


def _beyond(query: Query, job_asked: str | None, key: str, job: str) -> Query:
    """Return what of a query lies strictly beyond (key, job), in the order newest key, then job."""
    if job_asked is None:
        return query.start_after({"key": key, "job": job})
    return query.start_at({"key": key}) if job_asked > job else query.start_after({"key": key})
