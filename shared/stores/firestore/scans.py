"""Walks along an index, page by page and over all shards, holding little more than what is asked for."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from heapq import merge
from typing import Any, TypeVar

from google.cloud import firestore

from shared.records import Order, Position
from shared.stores.firestore.client import Database, Document
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.shapes import Direction, build_query
from shared.stores.moments import to_us

T = TypeVar("T")
_DIRECTIONS: dict[Order, Direction] = {"asc": "ASCENDING", "desc": "DESCENDING"}
# How much text the pages of all shards may hold: one of large documents comes in several.
_PAGE_CHARS = 4_000_000
# With several shards no shard has exactly its part of a page; these few more are seldom too few.
_SPARE_DOCUMENTS = 8


_Page = tuple[list[Document], bool]


@dataclass(frozen=True, slots=True)
class Scan:
    """The results that a query means, in order.

    Attributes:
        database: Where they are.
        shards: Over how many shards they are spread.
        equal: Values by field, those not asked for None; see `shapes.build_query`.
        order: By time and then by id, either way.
        since_us: The first time, included; None: from the beginning.
        until_us: The last time, excluded.
        fields: What to read of each; None: everything.
        page_size: How many are likely to be wanted.
        deadline: Makes the deadline of each page; a list hands out one for all.
        shard: The only one to walk; None: all.
    """

    database: Database
    shards: int
    equal: Mapping[str, Any]
    order: Order
    since_us: int | None
    until_us: int | None
    fields: tuple[str, ...] | None
    page_size: int
    deadline: Callable[[], Deadline]
    shard: int | None = None

    def documents(self, after: Position | None) -> Iterator[Document]:
        """Yield what stands strictly beyond a position."""
        place = (to_us(after.created_at), after.id) if after else None
        first = self._of_each_shard(lambda shard: self._page(shard, place))
        shards = [self._rest(shard, page) for shard, page in zip(self._walked, first, strict=True)]
        return merge(*shards, key=_place, reverse=self.order == "desc")

    def count(self) -> int:
        """Count them all."""
        deadline = self.deadline()
        return sum(self._of_each_shard(lambda shard: self.database.count(self._query(shard), deadline)))

    def _of_each_shard(self, work: Callable[[int], T]) -> list[T]:
        """Return what `work` returns for each shard, all at once."""
        if len(self._walked) == 1:
            return [work(self._walked[0])]
        with ThreadPoolExecutor(self.shards) as pool:
            return list(pool.map(work, self._walked))

    @property
    def _walked(self) -> range:
        return range(self.shards) if self.shard is None else range(self.shard, self.shard + 1)

    def _rest(self, shard: int, page: _Page) -> Iterator[Document]:
        documents, are_more = page
        yield from documents
        while are_more:
            documents, are_more = self._page(shard, _place(documents[-1]))
            yield from documents

    def _page(self, shard: int, after: tuple[int, str] | None) -> _Page:
        count = len(self._walked)
        size = self.page_size if count == 1 else self.page_size // count + _SPARE_DOCUMENTS
        query = self._query(shard)
        if self.fields is not None:
            query = query.select(self.fields)
        if after:
            created_at_us, result_id = after
            query = query.start_after({"created_at_us": created_at_us, "__name__": result_id})
        return self.database.page(query, size, self.deadline(), _PAGE_CHARS // count)

    def _query(self, shard: int) -> firestore.Query:
        order = (("created_at_us", _DIRECTIONS[self.order]),)
        equal = {"shard": shard, **self.equal}
        return build_query(self.database.collection("results"), equal, order, self.since_us, self.until_us)


def _place(document: Document) -> tuple[int, str]:
    return document.fields["created_at_us"], document.id
