"""Results in Firestore: append-only, one document each, which is also the record that makes its key idempotent."""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from google.cloud import firestore

from shared.errors import InvalidRequestError, UnavailableError
from shared.records import Position, Result, ResultQuery, Stored, SummaryDocument
from shared.stores.firestore.client import Database
from shared.stores.firestore.creation import answers, documents_of
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.documents import RESULT_HEADER, is_document_id, result_of
from shared.stores.firestore.scans import Scan
from shared.stores.moments import from_us, to_us
from shared.stores.shards import check_shard

_LIST_DOCUMENTS, _SUMMARY_DOCUMENTS = 1000, 500
_SUMMARY_FIELDS = ("created_at_us", "model", "version", "summary")
# How often a create that others forestall is tried again, and for how long it waits before, the first time.
_ROUNDS, _PAUSE_SECONDS = 6, 0.01


class FirestoreResults:
    """The result half of the store protocol; `shared.ports.ResultStore` says what each method does."""

    # Firestore would take 10 MiB a request; the emulator takes 4.
    max_inline_bytes: int | None = 3_500_000

    def __init__(self, database: Database, shards: int) -> None:
        self._database = database
        self.shards = shards

    def create_results(self, new: Sequence[Result]) -> list[Stored]:
        documents = documents_of(new, self.shards)
        deadline = Deadline()
        # Creating without looking costs one call where results are new. What is there already makes it fail whole,
        # and is read then; only a batch that might contradict itself is looked up before.
        present = {} if len(documents) == len(new) else self._present(documents, deadline)
        for round_ in range(_ROUNDS):
            if round_:
                time.sleep(_PAUSE_SECONDS * 2**round_)
            stored, missing = answers(new, present, documents)
            if not missing or self._create(missing, deadline):
                return stored
            present = self._present(documents, deadline)
        raise UnavailableError("other requests keep these results busy", reason="STORE_BUSY")

    def get_result(self, result_id: str, now: datetime, *, payloads: bool = True) -> Result | None:
        if not is_document_id(result_id):
            return None
        found = self._present([result_id], Deadline(), field_paths=None if payloads else RESULT_HEADER).get(result_id)
        result = result_of(result_id, found) if found else None
        return result if result and (not result.expires_at or result.expires_at > now) else None

    def list_results(
        self,
        query: ResultQuery,
        *,
        after: Position | None,
        limit: int,
        now: datetime,
        max_chars: int | None = None,
        payloads: bool = True,
    ) -> list[Result]:
        if after and not is_document_id(after.id):
            raise InvalidRequestError("a position names no result", reason="INVALID_PAGE_TOKEN")
        scan = self._scan(
            query,
            fields=None if payloads else RESULT_HEADER,
            page_size=min(limit, _LIST_DOCUMENTS),
        )
        found: list[Result] = []
        chars = 0
        for document in scan.documents(after) if limit > 0 else ():
            result = result_of(document.id, document.fields)
            if result.expires_at and result.expires_at <= now:
                continue
            found.append(result)
            chars += result.payload_chars
            if len(found) >= limit or (max_chars is not None and chars >= max_chars):
                break
        return found

    def count_results(self, query: ResultQuery) -> int:
        return self._scan(query).count()

    def read_summaries(self, start: datetime, end: datetime, *, shard: int | None = None) -> Iterator[SummaryDocument]:
        check_shard(shard, self.shards)
        query = ResultQuery(since=start, until=end, order="asc")
        # A deadline for each page: whoever reads takes time in between.
        scan = self._scan(query, fields=_SUMMARY_FIELDS, page_size=_SUMMARY_DOCUMENTS, deadline=Deadline)
        return self._summaries(replace(scan, shard=shard))

    def _summaries(self, scan: Scan) -> Iterator[SummaryDocument]:
        for document in scan.documents(None):
            fields = document.fields
            yield SummaryDocument(
                from_us(fields["created_at_us"]), fields["model"], fields["version"], json.loads(fields["summary"])
            )

    def _scan(
        self,
        query: ResultQuery,
        *,
        fields: tuple[str, ...] | None = None,
        page_size: int = 1,
        deadline: Callable[[], Deadline] | None = None,
    ) -> Scan:
        whole = Deadline()
        return Scan(
            database=self._database,
            shards=self.shards,
            equal={
                "label_pairs": "=".join(query.label) if query.label else None,
                "model": query.model,
                "version": query.version,
            },
            order=query.order,
            since_us=to_us(query.since) if query.since else None,
            until_us=to_us(query.until) if query.until else None,
            fields=fields,
            page_size=page_size,
            deadline=deadline or (lambda: whole),
        )

    def _create(self, documents: Mapping[str, dict[str, Any]], deadline: Deadline) -> bool:
        """Create documents, all or none; False if one of them is there."""
        collection = self._database.collection("results")

        def add(batch: firestore.WriteBatch) -> None:
            for result_id, document in documents.items():
                batch.create(collection.document(result_id), document)

        return self._database.commit(deadline, add)

    def _present(self, ids: Iterable[str], deadline: Deadline, **how: Any) -> dict[str, dict[str, Any]]:
        """Return the fields of the results that there are, by id."""
        collection = self._database.collection("results")
        found = self._database.get(map(collection.document, ids), deadline, **how)
        return {document.id: document.fields for document in found}
