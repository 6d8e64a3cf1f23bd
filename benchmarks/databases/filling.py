"""Fills a fresh store with results, in a process of its own: past the functions, with rows as these write them.

    python -m benchmarks.databases.filling STORE_URL COUNT FIRST APART_US

The indexes are taken away before and made again after, which takes a third of the time; what is read later is the
same table and the same indexes. The database library stays out of the process that measures memory.
"""

import itertools
import sys
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Table, create_engine, insert

from shared.stores import open_store
from shared.stores.sql.results import label_rows_of, row_of
from shared.stores.sql.tables import result_labels, results

from .rows import USUAL_TIMES, Times, result

_CHUNK_ROWS = 20_000


def main(url: str, count: int, times: Times = USUAL_TIMES) -> None:
    """Write the results 0 to count - 1, and leave the database as a server that has run for long would."""
    open_store(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        for table in (results, result_labels):
            for index in table.indexes:
                index.drop(connection)
        for numbers in _chunks(range(count)):
            made = [result(number, times) for number in numbers]
            _write(connection, results, [row_of(each) for each in made])
            _write(connection, result_labels, [row for each in made for row in label_rows_of(each)])
        for table in (results, result_labels):
            for index in sorted(table.indexes, key=lambda index: index.name or ""):
                index.create(connection)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        # PostgreSQL's own housekeeping would come to it within a minute, in the middle of a measurement.
        sqlite = connection.dialect.name == "sqlite"
        for statement in ["PRAGMA wal_checkpoint(TRUNCATE)"] if sqlite else ["VACUUM (ANALYZE)", "CHECKPOINT"]:
            connection.exec_driver_sql(statement)
    engine.dispose()


def _write(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name == "sqlite":
        # Compiled once, and handed to the driver as it is: SQLAlchemy would look at every value.
        connection.exec_driver_sql(str(insert(table).compile(dialect=connection.dialect)), [*map(_values(table), rows)])
        return
    names = [column.name for column in table.c]
    cursor = connection.connection.driver_connection.cursor()  # type: ignore[union-attr]
    with cursor.copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[name] for name in names])


def _values(table: Table) -> Any:
    names = [column.name for column in table.c]
    return lambda row: tuple([row[name] for name in names])


def _chunks(numbers: Iterable[int]) -> Iterator[list[int]]:
    left = iter(numbers)
    while chunk := list(itertools.islice(left, _CHUNK_ROWS)):
        yield chunk


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Times(datetime.fromisoformat(sys.argv[3]), int(sys.argv[4])))
