"""SQLite as a laptop's store: durable on every commit, many readers beside one writer."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, FromClause, create_engine, event
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.exc import DBAPIError

from shared.errors import ConfigurationError, ServiceError, UnavailableError
from shared.stores.sql.engine import Database, translated
from shared.stores.sql.revision import COMMAND, NEWEST, Status, create_newest, read_revision
from shared.stores.sql.store import SqlStore

_BUSY_TIMEOUT_MS = 5000
# For the turn among this process's own writers, before the wait for other processes begins.
_TURN_SECONDS = 3.0
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# A file that may not grow, as under a quota, fails like a broken disk rather than as a full one.
_NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE}
_UNUSABLE = {
    *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH),
    *(sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOLFS),
}


def open_sqlite(path: Path) -> SqlStore:
    """Open a database file, creating it and its tables if need be, or bringing them to the newest revision.

    Open it after the server has forked: SQLite's connections do not survive a fork.

    Raises:
        ConfigurationError: The file cannot be opened, is not a database, or is newer than this code; it is left as
            it is.
        UnavailableError: Another process holds it, or there is no room to create it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(error.strerror) from error
    engine = _new_engine(path)
    try:
        with translated(_translate):
            _bring_up_to_date(engine)
    except ServiceError:
        engine.dispose()
        raise
    return SqlStore(Database(engine, _translate, turns=_turns()))


def migrate_sqlite(path: Path) -> Status:
    """Bring a file to the newest revision, and return what it held before; opening it does the same."""
    before = read_sqlite_status(path)
    open_sqlite(path).close()
    return before


def read_sqlite_status(path: Path) -> Status:
    """Look at a file. Raises as `open_sqlite` does."""
    if not path.exists():
        return Status(str(path), None)
    engine = _new_engine(path)
    try:
        with translated(_translate), engine.begin() as connection:
            return Status(str(path), read_revision(connection))
    finally:
        engine.dispose()


def _new_engine(path: Path) -> Engine:
    url = URL.create("sqlite", database=str(path.absolute()))
    engine = create_engine(url, pool_timeout=_BUSY_TIMEOUT_MS / 1000)
    engine.dialect.statement_compiler = _HintingCompiler
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _turns() -> Callable[[], AbstractContextManager[None]]:
    """Return what lets one writer of this process after the other begin.

    SQLite has those that wait sleep for up to 100 ms and look again; at 16 writers that halved the rate.
    """
    lock = threading.Lock()

    @contextmanager
    def turn() -> Iterator[None]:
        if not lock.acquire(timeout=_TURN_SECONDS):
            raise UnavailableError("the database did not answer in time", reason="STORE_UNAVAILABLE")
        try:
            yield
        finally:
            lock.release()

    return turn


class _HintingCompiler(SQLiteCompiler):
    """Renders the hints on a table, INDEXED BY for one, which SQLAlchemy drops for SQLite."""

    def get_from_hint_text(self, table: FromClause, text: str | None) -> str | None:
        """Return the hint as it was given."""
        return text


def _bring_up_to_date(engine: Engine) -> None:
    # Looking first keeps a reader that starts beside a busy writer from waiting for the one right to write.
    with engine.begin() as connection:
        if read_revision(connection) == NEWEST:
            return
    with engine.execution_options(writes=True).begin() as connection:
        before = read_revision(connection)  # another process may have been faster
        if before is None:
            create_newest(connection)
        elif before != NEWEST:
            _upgrade(connection, before)


def _upgrade(connection: Connection, before: str) -> None:
    try:
        from shared.stores.sql.migrate import upgrade
    except ModuleNotFoundError as error:
        # Staged for the cloud, a function carries no Alembic.
        problem = f"STORE_URL: the SQLite file is of revision {before}, expected {NEWEST}: run `{COMMAND}`"
        raise ConfigurationError([problem]) from error
    upgrade(connection)


def _on_connect(connection: sqlite3.Connection, _: Any) -> None:
    # Transactions are begun by hand below; the driver's own rules differ between Python versions.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}").close()
    _use_write_ahead_log(connection)
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _use_write_ahead_log(connection: sqlite3.Connection) -> None:
    # The change of mode does not wait as statements do: of functions that start at once on a fresh file, all but
    # one would fail.
    deadline = time.monotonic() + _BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _on_begin(connection: Connection) -> None:
    # A reader that later writes cannot wait for another writer, it fails at once: so writers say so first.
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _translate(error: DBAPIError) -> ServiceError:
    extended = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR)
    code = extended & 0xFF
    if extended in _NO_ROOM:
        return UnavailableError("the database has no room left", reason="STORE_FULL", retry_after_seconds=60)
    if code in _BUSY or code == sqlite3.SQLITE_IOERR:
        return UnavailableError("the database did not answer in time", reason="STORE_UNAVAILABLE")
    if code in _UNUSABLE:
        return _unusable(str(error.orig))
    return ServiceError("the database failed", reason="STORE_FAILED")


def _unusable(cause: str | None) -> ConfigurationError:
    return ConfigurationError([f"STORE_URL: the SQLite file cannot be used: {cause}"])
