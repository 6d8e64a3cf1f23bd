"""Results in SQL: append-only, found by id or along an index."""

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, insert, or_, select, tuple_

from shared.errors import IdempotencyError
from shared.records import Position, Result, ResultQuery, Stored, SummaryDocument
from shared.stores.sql.engine import Database
from shared.stores.sql.tables import from_us, result_labels, results, to_us

_PAGE_ROWS = 1000
_columns = results.c


class SqlResults:
    """The result half of the store protocol; `shared.ports.ResultStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_results(self, new: Sequence[Result]) -> list[Stored]:
        with self._database.write() as connection:
            present = _by_id(connection, [result.id for result in new])
            stored: list[Stored] = []
            fresh: dict[str, Result] = {}
            for index, result in enumerate(new):
                before = present.get(result.id) or fresh.get(result.id)
                if before and before.payload_hash != result.payload_hash:
                    raise IdempotencyError(
                        "this idempotency key was used before with another body: send a new key, or the same body",
                        metadata={"index": str(index)},
                    )
                stored.append(Stored(before or result, replayed=before is not None))
                if before is None:
                    fresh[result.id] = result
            _insert(connection, list(fresh.values()))
        return stored

    def get_result(self, result_id: str, now: datetime) -> Result | None:
        with self._database.read() as connection:
            found = _by_id(connection, [result_id]).get(result_id)
        return found if found and (not found.expires_at or found.expires_at > now) else None

    def list_results(
        self, query: ResultQuery, *, after: Position | None, limit: int, now: datetime, max_chars: int | None = None
    ) -> list[Result]:
        statement = list_statement(query, after, now).limit(limit)
        found: list[Result] = []
        chars = 0
        with self._database.read() as connection, connection.execute(statement) as rows:
            for row in rows:
                found.append(_result(row))
                chars += found[-1].payload_chars
                if max_chars is not None and chars >= max_chars:
                    break
        return found

    def count_results(self, query: ResultQuery) -> int:
        with self._database.read() as connection:
            return int(connection.execute(count_statement(query)).scalar_one())

    def read_summaries(self, start: datetime, end: datetime) -> Iterator[SummaryDocument]:
        position = (to_us(start), "")
        while True:
            # Page by page, each its own short transaction: a long one would keep the write-ahead log from shrinking.
            with self._database.read() as connection:
                rows = connection.execute(summaries_statement(position, to_us(end))).all()
            for moment, _, model, version, summary in rows:
                yield SummaryDocument(from_us(moment), model, version, json.loads(summary))
            if len(rows) < _PAGE_ROWS:
                return
            position = (rows[-1][0], rows[-1][1])


def list_statement(query: ResultQuery, after: Position | None, now: datetime) -> Select[Any]:
    """Return the statement that lists a query's results in order: one range of one index, whatever is asked."""
    keys, where = _range(query)
    if after:
        position = tuple_(to_us(after.created_at), after.id)
        where.append(tuple_(*keys) > position if query.order == "asc" else tuple_(*keys) < position)
    where.append(or_(_columns.expires_at_us.is_(None), _columns.expires_at_us > to_us(now)))
    order = [key.asc() if query.order == "asc" else key.desc() for key in keys]
    source = results.join(result_labels) if query.label else results
    return _along_index(select(results).select_from(source).where(and_(*where)).order_by(*order), query)


def count_statement(query: ResultQuery) -> Select[Any]:
    """Return the statement that counts what a query matches, from the index alone."""
    keys, where = _range(query)
    return _along_index(select(func.count(keys[0])).where(and_(True, *where)), query)


def summaries_statement(after: tuple[int, str], end_us: int) -> Select[Any]:
    """Return the statement for the next summaries strictly beyond (created_at_us, id), oldest first."""
    return (
        select(_columns.created_at_us, _columns.id, _columns.model, _columns.version, _columns.summary)
        .where(tuple_(_columns.created_at_us, _columns.id) > tuple_(*after), _columns.created_at_us < end_us)
        .order_by(_columns.created_at_us, _columns.id)
        .limit(_PAGE_ROWS)
    )


def _along_index(statement: Select[Any], query: ResultQuery) -> Select[Any]:
    # Where two indexes seem as good, SQLite takes the one that was made first, even if that leaves the version to be
    # filtered row by row.
    table = result_labels if query.label else results
    prefix = "labels" if query.label else "results"
    index = f"{prefix}_by_{'version' if query.version else 'model' if query.model else 'time'}"
    return statement.with_hint(table, f"INDEXED BY {index}", "sqlite")


def _range(query: ResultQuery) -> tuple[Sequence[ColumnElement[Any]], list[ColumnElement[bool]]]:
    """Return the columns of the order and the conditions, all of one table."""
    table = result_labels if query.label else results
    keys = (table.c.created_at_us, table.c.result_id if query.label else results.c.id)
    where = [
        condition
        for wanted, condition in (
            (query.label, result_labels.c.pair == "=".join(query.label or ())),
            (query.model, table.c.model == query.model),
            (query.version, table.c.version == query.version),
            (query.since, table.c.created_at_us >= (to_us(query.since) if query.since else 0)),
            (query.until, table.c.created_at_us < (to_us(query.until) if query.until else 0)),
        )
        if wanted is not None
    ]
    return keys, where


def _by_id(connection: Connection, ids: list[str]) -> dict[str, Result]:
    rows = connection.execute(select(results).where(_columns.id.in_(ids)))
    return {row.id: _result(row) for row in rows}


def _insert(connection: Connection, new: list[Result]) -> None:
    if not new:
        return
    connection.execute(insert(results), [_row(result) for result in new])
    labels = [
        {
            "result_id": result.id,
            "pair": f"{name}={value}",
            "model": result.model,
            "version": result.version,
            "created_at_us": to_us(result.created_at),
        }
        for result in new
        for name, value in result.labels.items()
    ]
    if labels:
        connection.execute(insert(result_labels), labels)


def _row(result: Result) -> dict[str, Any]:
    return {
        "id": result.id,
        "created_at_us": to_us(result.created_at),
        "model": result.model,
        "version": result.version,
        "expires_at_us": to_us(result.expires_at) if result.expires_at else None,
        "payload_hash": result.payload_hash,
        "summary": result.summary,
        "request_id": result.request_id,
        "labels": json.dumps(dict(result.labels)),
        "instances": result.instances,
        "predictions": result.predictions,
    }


def _result(row: Any) -> Result:
    return Result(
        id=row.id,
        created_at=from_us(row.created_at_us),
        model=row.model,
        version=row.version,
        instances=row.instances,
        predictions=row.predictions,
        summary=row.summary,
        payload_hash=row.payload_hash,
        labels=json.loads(row.labels),
        request_id=row.request_id,
        expires_at=from_us(row.expires_at_us) if row.expires_at_us is not None else None,
    )
