"""PostgreSQL, for teams that want SQL: many writers, each call bounded in time, tables made by a command."""

import time
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool

from shared.errors import ConfigurationError, ServiceError
from shared.stores.sql.deadline import BoundedConnection, seconds_left, within
from shared.stores.sql.engine import Database, translated
from shared.stores.sql.postgresql_errors import Translator
from shared.stores.sql.revision import COMMAND, NEWEST, read_revision
from shared.stores.sql.store import SqlStore

_CALL_SECONDS = 8.0
_CONNECT_SECONDS = 3
_POOL_SECONDS = 3.0
# A commit on a server takes some 5 ms, so four connections carry some hundred calls a second, and twenty instances
# stay within the hundred connections that a server commonly has.
_POOL_SIZE = 4
# A connection used this lately is taken to be alive; asking would cost every call a round trip.
_PING_AFTER_SECONDS = 1.0
_PING_SECONDS = 2.0
_SESSION = {
    # The server gives up a little before we do, so that nothing goes on there for a caller who has left.
    "statement_timeout": "7000",
    "lock_timeout": "4000",
    "idle_in_transaction_session_timeout": "10000",
    # Idle instances give their connections back; an instance that wakes up makes a new one.
    "idle_session_timeout": "600000",
    "default_transaction_isolation": "read\\ committed",
    # Every statement is one stretch of one index in its order; old statistics must not talk the planner out of it.
    "enable_sort": "off",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


def open_postgresql(url: str) -> SqlStore:
    """Open a database whose tables `python -m shared.stores migrate` has made. PostgreSQL 14 or newer.

    Open it after the server has forked. On Cloud Run and Cloud Functions, Cloud SQL is reached through a unix socket
    that the platform provides: `postgresql+psycopg://USER:PASSWORD@/DATABASE?host=/cloudsql/PROJECT:REGION:INSTANCE`.
    The functions' user needs no right to make tables: SELECT and INSERT on results, result_labels and dead_letters,
    SELECT, INSERT and UPDATE on job_states, besides those DELETE on runs and parts, SELECT, INSERT and DELETE on
    summaries, SELECT on alembic_version.

    Args:
        url: `postgresql+psycopg://user:password@host:port/database`, with what libpq knows as its query; `pool_size`
            there is how many connections an instance may hold, 4 unless told.

    Raises:
        ConfigurationError: The URL is wrong, the database refuses this user, or its tables are not of the newest
            revision.
        UnavailableError: The database did not answer.
    """
    parsed, pool_size = read_url(url)
    translate = Translator(parsed)
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    engine = new_engine(
        parsed, options, pool_size=pool_size, max_overflow=0, pool_timeout=_POOL_SECONDS, pool_use_lifo=True
    )
    event.listen(engine, "checkin", _on_checkin)
    event.listen(engine, "checkout", _on_checkout(engine.dialect))
    try:
        with translated(translate), within(_CALL_SECONDS), engine.connect() as connection:
            found = read_revision(connection)
        if found != NEWEST:
            held = f"are of revision {found}, expected {NEWEST}" if found else "are not there"
            raise ConfigurationError([f"STORE_URL: the tables in {translate.place} {held}: run `{COMMAND}`"])
    except ServiceError:
        engine.dispose()
        raise
    # A question is one statement, consistent in itself: it needs no transaction around it.
    reading = engine.execution_options(isolation_level="AUTOCOMMIT")
    return SqlStore(Database(engine, translate, reading=reading, limited=lambda: within(_CALL_SECONDS)))


def read_url(url: str) -> tuple[URL, int]:
    """Return the URL without what is ours, and the size of the pool.

    Raises:
        ConfigurationError: It is no URL, or the size is no whole number from 1 to 100.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise ConfigurationError(
            ["STORE_URL: expected postgresql+psycopg://user:password@host:port/database"]
        ) from error
    size = parsed.query.get("pool_size", str(_POOL_SIZE))
    if not isinstance(size, str) or not size.isdecimal() or not 1 <= int(size) <= 100:
        raise ConfigurationError(["STORE_URL: expected pool_size to be a whole number from 1 to 100"])
    return parsed.difference_update_query(["pool_size"]), int(size)


def new_engine(url: URL, options: str = "", **pool: Any) -> Engine:
    """Return an engine whose connections keep to the deadline of whoever uses them.

    Args:
        url: As `read_url` returns it.
        options: For the server's command line, before those in the URL.
        pool: Arguments of `sqlalchemy.create_engine`; without any, no connection is kept.
    """
    engine = create_engine(url, use_native_hstore=False, **(pool or {"poolclass": NullPool}))

    def connect(_: Dialect, __: ConnectionPoolEntry, arguments: list[Any], given: dict[str, Any]) -> BoundedConnection:
        left = seconds_left()
        if left is not None and left < 2:  # psycopg would wait for two seconds at least
            raise psycopg.OperationalError("no time is left to connect to the database")
        given.setdefault("connect_timeout", min(_CONNECT_SECONDS, int(left or _CONNECT_SECONDS)))
        given["options"] = f"{options} {given.get('options', '')}".strip()
        return BoundedConnection.connect(*arguments, **given)

    event.listen(engine, "do_connect", connect)
    return engine


def _on_checkin(_: DBAPIConnection | None, record: ConnectionPoolEntry) -> None:
    record.info["used_at"] = time.monotonic()


def _on_checkout(dialect: Dialect) -> Any:
    def ping(connection: DBAPIConnection, record: ConnectionPoolEntry, _: object) -> None:
        used_at = record.info.get("used_at")
        if used_at is None or time.monotonic() - used_at < _PING_AFTER_SECONDS:
            return
        try:
            with within(_PING_SECONDS):
                dialect.do_ping(connection)
        except psycopg.Error as error:
            raise DisconnectionError from error

    return ping
