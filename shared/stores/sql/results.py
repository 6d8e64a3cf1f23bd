"""Results in SQL: append-only, found by id or along an index."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, Table, TextClause, insert, text

from shared.errors import IdempotencyError
from shared.records import PayloadObject, Position, Result, ResultQuery, Stored, SummaryDocument
from shared.stores.moments import from_us, to_us
from shared.stores.shards import check_shard
from shared.stores.sql.engine import Database
from shared.stores.sql.queries import (
    PAGE_ROWS,
    by_id_statement,
    count_question,
    list_question,
    summaries_statement,
)
from shared.stores.sql.tables import result_labels, results


class SqlResults:
    """The result half of the store protocol; `shared.ports.ResultStore` says what each method does."""

    max_inline_bytes: int | None = None
    shards = 1

    def __init__(self, database: Database) -> None:
        self._database = database

    def create_results(self, new: Sequence[Result]) -> list[Stored]:
        wanted: dict[str, Result] = {}
        replayed = []
        for result in new:
            replayed.append(result.id in wanted)
            wanted.setdefault(result.id, result)
        stored: list[Stored] = []
        with self._database.write() as connection:
            present = _keep_new(connection, wanted)
            for index, result in enumerate(new):
                kept = present.get(result.id) or wanted[result.id]
                if kept.payload_hash != result.payload_hash:
                    raise IdempotencyError(
                        "this idempotency key was used before with another body: send a new key, or the same body",
                        metadata={"index": str(index)},
                    )
                stored.append(Stored(kept, replayed=replayed[index] or result.id in present))
        return stored

    def get_result(self, result_id: str, now: datetime, *, payloads: bool = True) -> Result | None:
        if "\0" in result_id:
            return None  # PostgreSQL's text cannot hold it, not even in a question
        with self._database.read() as connection:
            found = _by_id(connection, [result_id], payloads=payloads).get(result_id)
        return found if found and (not found.expires_at or found.expires_at > now) else None

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
        found: list[Result] = []
        chars = 0
        while True:
            bound = max(1, max_chars - chars) if payloads and max_chars and self._database.reads_whole else None
            left = limit - len(found)
            question = list_question(query, after, left, now, payloads=payloads, max_payload_bytes=bound)
            with (
                self._database.read() as connection,
                connection.execute(question.statement, question.values) as rows,
            ):
                for row in rows:
                    if payloads and row.instances is None:
                        break  # beyond the bound, which counts bytes: characters may be fewer
                    found.append(_result(row))
                    chars += found[-1].payload_chars
                    if max_chars is not None and chars >= max_chars:
                        return found
                else:
                    return found
            after = Position(found[-1].created_at, found[-1].id)

    def count_results(self, query: ResultQuery) -> int:
        with self._database.read() as connection:
            question = count_question(query, estimating=connection.dialect.name != "sqlite")
            return int(connection.execute(question.statement, question.values).scalar_one())

    def read_summaries(self, start: datetime, end: datetime, *, shard: int | None = None) -> Iterator[SummaryDocument]:
        check_shard(shard, self.shards)
        return self._summaries(start, end)

    def _summaries(self, start: datetime, end: datetime) -> Iterator[SummaryDocument]:
        position = (to_us(start), "")
        while True:
            # Page by page, each its own short transaction: a long one would keep the write-ahead log from shrinking.
            with self._database.read() as connection:
                rows = connection.execute(summaries_statement(position, to_us(end))).all()
            for moment, _, model, version, summary in rows:
                yield SummaryDocument(from_us(moment), model, version, json.loads(summary))
            if len(rows) < PAGE_ROWS:
                return
            position = (rows[-1][0], rows[-1][1])


# Made once: making it takes longer than running it.
_INSERT = insert(results)


def _keep_new(connection: Connection, wanted: Mapping[str, Result]) -> dict[str, Result]:
    """Insert what is not there, and return what was."""
    if connection.dialect.name == "sqlite":
        # The one right to write is held, so that nothing comes between looking and inserting.
        present = _by_id(connection, list(wanted))
        fresh = [result for result in wanted.values() if result.id not in present]
        if fresh:
            connection.execute(_INSERT, [row_of(result) for result in fresh])
        if pairs := [pair for result in fresh for pair in label_rows_of(result)]:
            connection.execute(insert(result_labels), pairs)
        return present
    # In the order of ids: two batches that share some would otherwise wait for each other.
    rows = [row_of(wanted[result_id]) for result_id in sorted(wanted)]
    inserted = set(connection.execute(_INSERT_RESULTS, _arrays(rows)).scalars()) if rows else set()
    if pairs := [pair for result in wanted.values() if result.id in inserted for pair in label_rows_of(result)]:
        connection.execute(_INSERT_LABELS, _arrays(pairs))
    # A new statement sees what another transaction committed while the first one waited for it.
    return _by_id(connection, [result_id for result_id in wanted if result_id not in inserted])


def _inserting_arrays(table: Table) -> TextClause:
    """Return PostgreSQL's statement for any number of rows, and quicker than one with a value for each."""
    names = ", ".join(column.name for column in table.c)
    arrays = ", ".join(
        f"CAST(:{column.name} AS {'bigint' if isinstance(column.type, BigInteger) else 'text'}[])" for column in table.c
    )
    returned = table.primary_key.columns[0].name
    return text(  # the names are our own
        f"INSERT INTO {table.name} ({names}) SELECT * FROM unnest({arrays}) ON CONFLICT DO NOTHING RETURNING {returned}"  # noqa: S608
    )


_INSERT_RESULTS, _INSERT_LABELS = _inserting_arrays(results), _inserting_arrays(result_labels)


def _arrays(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def _by_id(connection: Connection, ids: list[str], *, payloads: bool = True) -> dict[str, Result]:
    if not ids:
        return {}
    return {row.id: _result(row) for row in connection.execute(by_id_statement(payloads=payloads), {"ids": ids})}


def label_rows_of(result: Result) -> list[dict[str, Any]]:
    """Return a result's labels as rows of their table."""
    return [
        {
            "result_id": result.id,
            "pair": f"{name}={value}",
            "model": result.model,
            "version": result.version,
            "created_at_us": to_us(result.created_at),
        }
        for name, value in result.labels.items()
    ]


def row_of(result: Result) -> dict[str, Any]:
    """Return a result as a row of the table."""
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
        "payload_object": json.dumps(asdict(result.payload_object)) if result.payload_object else None,
        "instances": result.instances,
        "predictions": result.predictions,
    }


def _result(row: Any) -> Result:
    return Result(
        id=row.id,
        created_at=from_us(row.created_at_us),
        model=row.model,
        version=row.version,
        instances=getattr(row, "instances", ""),
        predictions=getattr(row, "predictions", ""),
        summary=row.summary,
        payload_hash=row.payload_hash,
        labels=json.loads(row.labels) if row.labels != "{}" else {},
        request_id=row.request_id,
        expires_at=from_us(row.expires_at_us) if row.expires_at_us is not None else None,
        payload_object=PayloadObject(**json.loads(row.payload_object)) if row.payload_object else None,
    )
