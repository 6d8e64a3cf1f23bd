"""Transactions, and the database's own errors in our words."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
    """

    def __init__(self, engine: Engine, translate: Translate) -> None:
        self._reading = engine
        self._writing = engine.execution_options(writes=True)
        self._translate = translate

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Run the block in one consistent view of the database."""
        with translated(self._translate), self._reading.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run the block in a transaction that commits if the block ends well."""
        with translated(self._translate), self._writing.begin() as connection:
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
