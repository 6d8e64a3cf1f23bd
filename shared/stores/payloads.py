"""Keeps large payloads beside the database, in front of any store of results; small ones stay in the row.

The object is written first and under a name of its own, the row that points at it afterwards, in the transaction
that makes the result: a reader finds both or neither. An object is removed only where it is certain that no row
points at it; one that is left behind takes room and is never read.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime

from shared.errors import IdempotencyError, ServiceError
from shared.log import log_event
from shared.ports import ObjectStore, ResultStore
from shared.records import PayloadObject, Position, Result, ResultQuery, Stored, SummaryDocument
from shared.stores.packing import packed, too_large, unpacked

_AT_ONCE = 8
# Failures after which nothing was kept; after any other the row may be there and point at its object.
_CERTAIN = (IdempotencyError.reason, "STORE_FULL")


class PayloadStore:
    """A store of results whose large payloads lie in an object store; see `shared.ports.ResultStore`.

    Args:
        store: Keeps the rest.
        objects: Keeps large payloads.
    """

    max_inline_bytes: int | None = None

    def __init__(self, store: ResultStore, objects: ObjectStore) -> None:
        self._store = store
        self._objects = objects
        self.shards = store.shards

    def create_results(self, results: Sequence[Result]) -> list[Stored]:
        """Keep every result or none."""
        large = too_large(results, self._store.max_inline_bytes)
        if not large:
            return self._store.create_results(results)
        # Asked first, a database that is down leaves no object behind, however often a caller tries again.
        first = results[large[0]]
        self._store.get_result(first.id, first.created_at, payloads=False)
        held = self._put(results, large)
        kept = [
            replace(result, instances="", predictions="", payload_object=held[index]) if index in held else result
            for index, result in enumerate(results)
        ]
        try:
            stored = self._store.create_results(kept)
        except ServiceError as error:
            if error.reason in _CERTAIN:
                self._remove(held.values())
            raise
        used = {item.result.payload_object for item in stored}
        self._remove(payload_object for payload_object in held.values() if payload_object not in used)
        return [
            item if item.replayed else Stored(result, replayed=False)
            for item, result in zip(stored, results, strict=True)
        ]

    def get_result(self, result_id: str, now: datetime, *, payloads: bool = True) -> Result | None:
        """Return one result, or None if there is none or it has expired."""
        found = self._store.get_result(result_id, now, payloads=payloads)
        return self._fetched(found) if found and payloads else found

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
        """Return a page of a query's results."""
        found = self._store.list_results(
            query, after=after, limit=limit, now=now, max_chars=max_chars, payloads=payloads
        )
        large = [result for result in found if result.payload_object]
        if not payloads or not large:
            return found
        with ThreadPoolExecutor(min(_AT_ONCE, len(large))) as pool:
            fetched = pool.map(self._fetched, large)
            return [next(fetched) if result.payload_object else result for result in found]

    def count_results(self, query: ResultQuery) -> int:
        """Count what a query matches, expired results included."""
        return self._store.count_results(query)

    def read_summaries(self, start: datetime, end: datetime, *, shard: int | None = None) -> Iterator[SummaryDocument]:
        """Yield the summaries of every result created in [start, end), oldest first."""
        return self._store.read_summaries(start, end, shard=shard)

    def close(self) -> None:
        """Give back connections."""
        self._store.close()

    def _put(self, results: Sequence[Result], large: Sequence[int]) -> dict[int, PayloadObject]:
        """Keep the payloads of some results; of all or none."""
        kept: dict[int, PayloadObject] = {}

        def put(index: int) -> None:
            payload_object, content = packed(results[index])
            self._objects.put(payload_object.name, content)
            kept[index] = payload_object

        try:
            with ThreadPoolExecutor(min(_AT_ONCE, len(large))) as pool:
                list(pool.map(put, large))
        except Exception:
            self._remove(kept.values())
            raise
        return kept

    def _fetched(self, result: Result) -> Result:
        """Return a result with its payloads.

        Raises:
            ServiceError: reason PAYLOAD_LOST; they are not there, or not what was stored.
            UnavailableError: They could not be read now.
        """
        if result.payload_object is None:
            return result
        try:
            content = unpacked(self._objects.get(result.payload_object.name), result.payload_object)
        except ServiceError as error:
            error.metadata.setdefault("id", result.id)
            raise
        cut = result.payload_object.instances_bytes
        return replace(
            result, instances=content[:cut].decode(), predictions=content[cut:].decode(), payload_object=None
        )

    def _remove(self, unused: Iterable[PayloadObject]) -> None:
        for payload_object in unused:
            try:
                self._objects.delete(payload_object.name)
            except ServiceError as error:
                log_event("WARNING", f"objects without a row stay, {payload_object.name} first: {error.message}")
                return  # the others would keep the caller waiting as long
