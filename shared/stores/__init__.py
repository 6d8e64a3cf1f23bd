"""The databases behind the store protocol."""

from pathlib import Path

from shared.errors import ConfigurationError
from shared.ports import Store


def open_store(url: str) -> Store:
    """Open the store a URL names, creating what it needs.

    Only the named database's library is imported: a function carries no other.

    Raises:
        ConfigurationError: The URL names no store, or its database cannot be used.
    """
    scheme, _, path = url.partition(":///")
    # SQLite takes ":memory:" for a database that each connection has for itself, and none for a temporary one.
    if scheme == "sqlite" and path not in ("", ":memory:"):
        from shared.stores.sql.sqlite import open_sqlite

        return open_sqlite(Path(path))
    raise ConfigurationError(["STORE_URL: expected sqlite:///path of a file" + ("" if url else ", it is not set")])
