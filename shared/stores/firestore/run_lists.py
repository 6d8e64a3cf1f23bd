"""Lists of runs and of what they wrote, page by page along declared indexes."""

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from google.cloud.firestore import Query

from shared.runs import Run, RunQuery, Summary
from shared.stores.firestore.client import Database, Document
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.run_documents import run_of_document
from shared.stores.firestore.shapes import Direction, build_query
from shared.stores.moments import from_us
from shared.stores.run_queries import check_runs, check_summaries

After = tuple[str, str] | None
_Order = tuple[tuple[str, Direction], ...]
_NEWEST_FIRST: _Order = (("key", "DESCENDING"), ("job", "ASCENDING"))
_OLDEST_FIRST: _Order = (("key", "ASCENDING"),)
_RUNS_AT_ONCE, _SUMMARIES_AT_ONCE, PAGE_CHARS = 1000, 50, 4_000_000


class FirestoreRunLists:
    """The lists of the run half of the store protocol; `shared.ports.RunStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list_runs(self, query: RunQuery, *, after: After, limit: int) -> list[Run]:
        return [run_of_document(each.fields) for each in self._documents(query, after, limit, Deadline())]

    def list_summaries(self, query: RunQuery, *, after: After, limit: int) -> list[Summary]:
        check_summaries(query)
        deadline = Deadline()
        pages = self._pages(query, after, min(limit, _SUMMARIES_AT_ONCE), deadline)
        return list(islice(chain.from_iterable(self._visible(page, deadline) for page in pages), limit))

    def _documents(self, query: RunQuery, after: After, limit: int, deadline: Deadline) -> list[Document]:
        check_runs(query)
        pages = self._pages(query, after, min(limit, _RUNS_AT_ONCE), deadline)
        return list(islice(chain.from_iterable(pages), limit))

    def _pages(self, query: RunQuery, after: After, size: int, deadline: Deadline) -> Iterator[list[Document]]:
        order = _OLDEST_FIRST if query.oldest_first else _NEWEST_FIRST if query.job is None else _NEWEST_FIRST[:1]
        equal = {"job": query.job, "state": query.state}
        collection = self._database.collection("runs")
        whole = build_query(collection, equal, order, query.since_key, query.until_key)
        are_more = size > 0
        while are_more:
            rest = _beyond(whole, query, *after) if after else whole
            page, are_more = self._database.page(rest, size, deadline, PAGE_CHARS)
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


def summary_of(run: Any, generation: int) -> Any:
    """Return the reference of what a run wrote under a fence."""
    return run.collection("summaries").document(str(generation))


def _beyond(query: Query, asked: RunQuery, key: str, job: str) -> Query:
    """Return what of a query lies strictly beyond (key, job), in the order newest key, then job, or against it."""
    if asked.job is None:
        return query.start_after({"key": key, "job": job})
    is_in = asked.job < job if asked.oldest_first else asked.job > job
    return query.start_at({"key": key}) if is_in else query.start_after({"key": key})
