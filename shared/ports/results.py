"""Results: append-only, found again by id or by a declared query."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Protocol

from shared.records import Position, Result, ResultQuery, Stored, SummaryDocument


class ResultStore(Protocol):
    """Results: append-only, found again by id or by a declared query.

    Attributes:
        max_inline_bytes: The most bytes of payload that one call of `create_results` may bring, where the database
            bounds them; None where it does not.
        shards: Over how many shards results are spread; 1 where they are not.
    """

    max_inline_bytes: int | None
    shards: int

    def create_results(self, results: Sequence[Result]) -> list[Stored]:
        """Keep every result or none, and answer in the order given.

        An id that is there already with the same payload hash is a replay and comes back as it was stored, but for
        payloads that lie in an object of their own, which are not fetched.

        Raises:
            IdempotencyError: An id is there with another payload hash; nothing was kept. Its metadata has `index`.
            UnavailableError: The database did not answer; the same call may be repeated safely.
        """
        ...

    def get_result(self, result_id: str, now: datetime, *, payloads: bool = True) -> Result | None:
        """Return one result, or None if there is none or it has expired by `now`; see `list_results` for payloads."""
        ...

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
        """Return up to `limit` results in the query's order, strictly beyond `after`, expired ones left out.

        Without `payloads`, instances and predictions are not read and come back empty. With `max_chars` it stops
        early, after the result with which the payloads together reach that length, so that large ones never pile up
        in memory. Fewer than `limit` come back for no other reason but the end.
        """
        ...

    def count_results(self, query: ResultQuery) -> int:
        """Count what the query matches, expired results included."""
        ...

    def read_summaries(self, start: datetime, end: datetime, *, shard: int | None = None) -> Iterator[SummaryDocument]:
        """Yield every result created in [start, end), oldest first, in memory that does not grow with them.

        Args:
            start: Included.
            end: Excluded.
            shard: Only those of one shard, from 0; None: all.
        """
        ...

    def close(self) -> None:
        """Give back connections; the store is not used afterwards."""
        ...
