"""What a store must do, whichever database is behind it. The contract tests hold every implementation to it."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from shared.records import (
    Claim,
    Interval,
    Position,
    Result,
    ResultQuery,
    Row,
    Run,
    RunQuery,
    Stored,
    Summary,
    SummaryDocument,
)


class ObjectStore(Protocol):
    """Keeps what is too large for a row: objects that are there whole or not at all, and never change."""

    def put(self, name: str, content: bytes) -> None:
        """Keep an object under a name that was never used; when this returns, it outlives a crash.

        Raises:
            UnavailableError: It could not be kept now.
        """
        ...

    def get(self, name: str) -> bytes:
        """Return an object.

        Raises:
            ServiceError: reason PAYLOAD_LOST; there is none of this name.
            UnavailableError: It could not be read now.
        """
        ...

    def delete(self, name: str) -> None:
        """Remove an object, if it is there.

        Raises:
            UnavailableError: It could not be removed now.
        """
        ...


class ResultStore(Protocol):
    """Results: append-only, found again by id or by a declared query.

    Attributes:
        max_inline_bytes: The most bytes of payload that one call of `create_results` may bring, where the database
            bounds them; None where it does not.
    """

    max_inline_bytes: int | None

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

    def read_summaries(self, start: datetime, end: datetime) -> Iterator[SummaryDocument]:
        """Yield every result created in [start, end), oldest first, in memory that does not grow with them."""
        ...

    def close(self) -> None:
        """Give back connections; the store is not used afterwards."""
        ...


class RunStore(Protocol):
    """Runs and what they wrote: claimed with a lease, finished under a fence."""

    def claim_run(self, wanted: Run, *, now: datetime, lease: timedelta, force: bool) -> Claim:
        """Take the run for (job, key), creating it if this is the first time it is asked for.

        Granted for a new or queued run, for one whose lease ran out, for a provisional one that ended, for a failed
        one if the trigger is manual, and with `force` for anything that is not running. Not granted otherwise; the
        run comes back as it is.
        """
        ...

    def finish_run(self, run: Run, rows: Sequence[Row], *, now: datetime) -> Run:
        """Write the rows under the run's fence and make them the visible ones, in one transaction.

        Raises:
            ConflictError: reason FENCE_LOST; the run was claimed again since, or has ended. Nothing was written.
            ValueError or TypeError: The rows are not JSON values with finite numbers. Nothing was written.
        """
        ...

    def fail_run(self, run: Run, error: str, *, retry: bool, now: datetime) -> Run:
        """Record a failed attempt: queued again if `retry`, else failed. Raises ConflictError as finish_run does."""
        ...

    def get_run(self, job: str, key: str) -> Run | None:
        """Return one run, or None."""
        ...

    def list_runs(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Run]:
        """Return up to `limit` runs, newest key first, strictly beyond the (key, job) in `after`."""
        ...

    def list_summaries(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Summary]:
        """Return the visible summaries of the runs that `list_runs` would return."""
        ...


class Store(ResultStore, RunStore, Protocol):
    """Everything the functions keep."""


class Transform(Protocol):
    """A job's work, pure: the same rows, byte for byte, however the interval is cut into slices."""

    def slices(self, interval: Interval) -> list[tuple[datetime, datetime]]:
        """Cut the interval into half-open stretches that cover it without overlap."""
        ...

    def fold(self, documents: Iterator[SummaryDocument]) -> object:
        """Reduce the documents of one slice to a partial whose sums are exact."""
        ...

    def merge(self, interval: Interval, partials: Sequence[object]) -> list[Row]:
        """Combine partials, in any order, into the rows to keep; rounds here and nowhere else."""
        ...
