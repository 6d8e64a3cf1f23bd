"""Runs in SQL: one row for each (job, key), claimed and finished in transactions that check the fence."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, and_, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from shared.errors import ConflictError
from shared.records import Claim, Interval, Row, Run, RunQuery, RunState, Summary
from shared.stores.claims import claimed, may_claim, storable
from shared.stores.moments import from_us, to_us
from shared.stores.sql.engine import Database
from shared.stores.sql.tables import runs, summaries


class SqlRuns:
    """The run half of the store protocol; `shared.ports.RunStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim_run(self, wanted: Run, *, now: datetime, lease: timedelta, force: bool) -> Claim:
        first = claimed(None, wanted, now=now, lease=lease)
        with self._database.write() as connection:
            while (present := _locked(connection, wanted)) is None:
                if _inserted(connection, first):
                    return Claim(first, granted=True)
            if not may_claim(present, wanted, now=now, force=force):
                return Claim(present, granted=False)
            taken = claimed(present, wanted, now=now, lease=lease)
            connection.execute(update(runs).where(*_is(taken)).values(_row(taken)))
        return Claim(taken, granted=True)

    def finish_run(self, run: Run, rows: Sequence[Row], *, now: datetime) -> Run:
        finished = replace(run, state="success", generation=run.fence, lease_expires_at=None, error=None, ended_at=now)
        with self._database.write() as connection:
            _update_held(connection, finished)
            # Two generations stay: the visible one and the one before it, to compare.
            connection.execute(
                delete(summaries).where(
                    summaries.c.job == run.job,
                    summaries.c.key == run.key,
                    summaries.c.generation != (run.generation or 0),
                )
            )
            connection.execute(
                insert(summaries).values(
                    job=run.job,
                    key=run.key,
                    generation=run.fence,
                    provisional=run.provisional,
                    created_at_us=to_us(now),
                    rows=json.dumps(list(rows), allow_nan=False),
                )
            )
        return finished

    def fail_run(self, run: Run, error: str, *, retry: bool, now: datetime) -> Run:
        state: RunState = "queued" if retry else "failed"
        failed = replace(run, state=state, lease_expires_at=None, error=storable(error), ended_at=now)
        with self._database.write() as connection:
            _update_held(connection, failed)
        return failed

    def get_run(self, job: str, key: str) -> Run | None:
        with self._database.read() as connection:
            return _get(connection, job, key)

    def list_runs(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Run]:
        statement = runs_statement(query, after).limit(limit)
        with self._database.read() as connection:
            return [_run(row) for row in connection.execute(statement)]

    def list_summaries(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Summary]:
        statement = run_summaries_statement(query, after).limit(limit)
        with self._database.read() as connection:
            return [
                Summary(row.job, row.key, row.provisional, tuple(json.loads(row.rows)), from_us(row.created_at_us))
                for row in connection.execute(statement)
            ]


def runs_statement(query: RunQuery, after: tuple[str, str] | None) -> Select[Any]:
    """Return the statement that lists runs, newest key first: one range of one index."""
    return _range(select(runs), query, after)


def run_summaries_statement(query: RunQuery, after: tuple[str, str] | None) -> Select[Any]:
    """Return the statement that lists the visible summaries in the order of their runs."""
    visible = and_(
        summaries.c.job == runs.c.job, summaries.c.key == runs.c.key, summaries.c.generation == runs.c.generation
    )
    statement = select(summaries).select_from(runs).join(summaries, visible)
    # The same bounds on both sides: whichever PostgreSQL walks first, it walks no more than what is asked for.
    return _range(statement.where(*_key_bounds(summaries, query, after)), query, after)


def _is(run: Run) -> tuple[Any, Any]:
    return runs.c.job == run.job, runs.c.key == run.key


def _locked(connection: Connection, run: Run) -> Run | None:
    """Return the run as it is, and as it stays until the transaction ends."""
    row = connection.execute(select(runs).where(*_is(run)).with_for_update()).first()
    return _run(row) if row else None


def _inserted(connection: Connection, run: Run) -> bool:
    """Insert a run unless it is there; one that another transaction is just inserting is waited for."""
    inserting = sqlite if connection.dialect.name == "sqlite" else postgresql
    statement = inserting.insert(runs).on_conflict_do_nothing().values(_row(run)).returning(runs.c.fence)
    return connection.execute(statement).first() is not None


def _update_held(connection: Connection, run: Run) -> None:
    held = (*_is(run), runs.c.fence == run.fence, runs.c.state == "running")
    if connection.execute(update(runs).where(*held).values(_row(run))).rowcount == 0:
        raise ConflictError("the run was claimed again in the meantime; nothing was written", reason="FENCE_LOST")


def _range(statement: Select[Any], query: RunQuery, after: tuple[str, str] | None) -> Select[Any]:
    if query.job is not None:
        statement = statement.where(runs.c.job == query.job)
    statement = statement.where(*_key_bounds(runs, query, after))
    if after:
        key, job = after
        # The bounds hold the range; an OR by itself would be two ranges and a sort.
        statement = statement.where(or_(runs.c.key < key, runs.c.job > job))
    return statement.order_by(runs.c.key.desc(), runs.c.job)


def _key_bounds(table: Table, query: RunQuery, after: tuple[str, str] | None) -> Iterator[ColumnElement[bool]]:
    if query.since_key is not None:
        yield table.c.key >= query.since_key
    if query.until_key is not None:
        yield table.c.key < query.until_key
    if after:
        yield table.c.key <= after[0]


def _get(connection: Connection, job: str, key: str) -> Run | None:
    row = connection.execute(select(runs).where(runs.c.job == job, runs.c.key == key)).first()
    return _run(row) if row else None


def _us(moment: datetime | None) -> int | None:
    return to_us(moment) if moment else None


def _moment(microseconds: int | None) -> datetime | None:
    return from_us(microseconds) if microseconds is not None else None


def _row(run: Run) -> dict[str, Any]:
    return {
        "job": run.job,
        "key": run.key,
        "interval_start_us": to_us(run.interval.start),
        "interval_end_us": to_us(run.interval.end),
        "time_zone": run.interval.time_zone,
        "trigger": run.trigger,
        "params": json.dumps(dict(run.params)),
        "state": run.state,
        "provisional": run.provisional,
        "attempt": run.attempt,
        "fence": run.fence,
        "lease_expires_at_us": _us(run.lease_expires_at),
        "generation": run.generation,
        "output": json.dumps(dict(run.output)),
        "error": run.error,
        "created_at_us": to_us(run.created_at),
        "started_at_us": _us(run.started_at),
        "ended_at_us": _us(run.ended_at),
    }


def _run(row: Any) -> Run:
    start, end = from_us(row.interval_start_us), from_us(row.interval_end_us)
    return Run(
        job=row.job,
        interval=Interval(row.key, start, end, row.time_zone),
        trigger=row.trigger,
        created_at=from_us(row.created_at_us),
        params=json.loads(row.params),
        state=row.state,
        provisional=row.provisional,
        attempt=row.attempt,
        fence=row.fence,
        lease_expires_at=_moment(row.lease_expires_at_us),
        generation=row.generation,
        output=json.loads(row.output),
        error=row.error,
        started_at=_moment(row.started_at_us),
        ended_at=_moment(row.ended_at_us),
    )
