"""Transactions, and the database's own errors in our words."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from shared.errors import ServiceError, UnavailableError

Translate = Callable[[DBAPIError], ServiceError]


class Database:
    """An engine whose transactions say whether they write: SQLite wants to know at the start.

    Args:
        engine: Where connections come from.
        translate: Names a failure of this database.
        reading: Where those come from that only read; the same unless told.
        limited: Bounds what the block does in time, where the database itself does not.
        turns: Held by who writes, where the database has one writer at a time and lets others sleep and look again.
    """

    def __init__(
        self,
        engine: Engine,
        translate: Translate,
        *,
        reading: Engine | None = None,
        limited: Callable[[], AbstractContextManager[None]] = nullcontext,
        turns: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._reading = reading or engine
        self._writing = engine.execution_options(writes=True)
        self._translate = translate
        self._limited = limited
        self._turns = turns

    @property
    def reads_whole(self) -> bool:
        """Whether an answer comes whole, before its first row can be looked at."""
        return self._reading.dialect.name != "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run the block, which asks one question, in one consistent view of the database."""
        with translated(self._translate), self._limited(), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run the block in a transaction that commits if the block ends well."""
        with translated(self._translate), self._limited(), self._turns(), self._writing.begin() as connection:
            yield connection

    def close(self) -> None:
        """Close every pooled connection."""
        self._reading.dispose()


@contextmanager
def translated(translate: Translate) -> Iterator[None]:
    """Raise the database's errors within the block as ours."""
    try:
        yield
    except PoolTimeoutError as error:
        raise UnavailableError("every database connection is busy", reason="STORE_UNAVAILABLE") from error
    except DBAPIError as error:
        raise translate(error) from error
