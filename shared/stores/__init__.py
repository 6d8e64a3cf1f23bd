"""The databases behind the store protocol."""

from pathlib import Path

from shared.errors import ConfigurationError
from shared.ports import ResultStore, Store


def open_results(url: str, objects_url: str) -> ResultStore:
    """Open the results of the store a URL names, with their payloads.

    Args:
        url: See `open_store`.
        objects_url: Where payloads go that are too large for a row: `file:///path` or `gs://bucket/prefix`.

    Raises:
        ConfigurationError: A URL names no store, or its database cannot be used.
        UnavailableError: The database did not answer; the same call may succeed.
    """
    from shared.stores.objects import open_objects
    from shared.stores.payloads import PayloadStore

    return PayloadStore(open_store(url), open_objects(objects_url))


def open_store(url: str) -> Store:
    """Open the store a URL names; payloads that were too large for a row it does not have: see `open_results`.

    Only the named database's library is imported: a function carries no other.

    Args:
        url: `sqlite:///path`, `postgresql+psycopg://...` or `firestore://PROJECT/DATABASE`.

    Raises:
        ConfigurationError: The URL names no store, or its database cannot be used.
        UnavailableError: The database did not answer; the same call may succeed.
    """
    scheme, _, path = url.partition(":///")
    # SQLite takes ":memory:" for a database that each connection has for itself, and none for a temporary one.
    if scheme == "sqlite" and path not in ("", ":memory:"):
        from shared.stores.sql.sqlite import open_sqlite

        return open_sqlite(Path(path))
    if url.startswith("postgresql+psycopg://"):
        from shared.stores.sql.postgresql import open_postgresql

        return open_postgresql(url)
    if url.startswith("firestore://"):
        from shared.stores.firestore import open_firestore

        return open_firestore(url)
    expected = "STORE_URL: expected sqlite:///path of a file, postgresql+psycopg://... or firestore://PROJECT/DATABASE"
    raise ConfigurationError([expected + ("" if url else ", it is not set")])
