"""`python -m shared.stores`: the tables of the store that STORE_URL names."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from shared.config import read_settings
from shared.errors import ConfigurationError, ServiceError
from shared.stores.sql.postgresql_tables import migrate_postgresql, read_postgresql_status
from shared.stores.sql.revision import COMMAND, NEWEST, Status
from shared.stores.sql.sqlite import migrate_sqlite, read_sqlite_status

_SQLITE, _POSTGRESQL, _FIRESTORE = "sqlite:///", "postgresql+psycopg://", "firestore://"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        0 done, or nothing to do; 1 it failed, or status found that there is something to do; 2 the request was wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options.url or read_settings().store_url)
        return status
    except ServiceError as error:
        print(error.message, file=sys.stderr)
        return 2 if isinstance(error, ConfigurationError) else 1


def _migrate(url: str) -> int:
    if url.startswith(_FIRESTORE):
        return _without_tables()
    path = _sqlite_path(url)
    before = migrate_sqlite(path) if path else migrate_postgresql(url)
    if before.missing:
        print(f"{before.place}: brought from {before.revision or 'nothing'} to {NEWEST}")
    else:
        print(f"{before.place}: at {NEWEST} already, nothing to do")
    return 0


def _status(url: str) -> int:
    if url.startswith(_FIRESTORE):
        return _without_tables()
    path = _sqlite_path(url)
    found: Status = read_sqlite_status(path) if path else read_postgresql_status(url)
    print(f"{found.place}: {f'at {found.revision}' if found.revision else 'no tables'}, newest {NEWEST}")
    if found.missing:
        print(f"missing {', '.join(found.missing)}: run `{COMMAND}`")
    return 1 if found.missing else 0


def _sqlite_path(url: str) -> Path | None:
    """Return the file that a URL names, None if it names a PostgreSQL database."""
    path = url.removeprefix(_SQLITE)
    if url.startswith(_SQLITE) and path not in ("", ":memory:"):
        return Path(path)
    if url.startswith(_POSTGRESQL):
        return None
    raise ConfigurationError([f"STORE_URL: expected {_SQLITE}path, {_POSTGRESQL}... or {_FIRESTORE}..."])


def _without_tables() -> int:
    print("Firestore has no tables, nothing to do: its indexes are deployed from firestore.indexes.json")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m shared.stores", description=__doc__)
    commands = parser.add_subparsers(required=True, title="commands")
    migrate = commands.add_parser("migrate", help="bring the tables to the newest revision")
    migrate.set_defaults(run=_migrate)
    status = commands.add_parser("status", help="say of which revision they are; 1 if not the newest")
    status.set_defaults(run=_status)
    for command in (migrate, status):
        command.add_argument("--url", help="the store (default: STORE_URL)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
