"""Lists of runs and of what they wrote: each one range of one index, already in order."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import ColumnElement, Select, Table, and_, literal, or_, select, tuple_

from shared.runs import RunQuery
from shared.stores.sql.tables import runs, summaries

After = tuple[str, str] | None


def runs_statement(query: RunQuery, after: After) -> Select[Any]:
    """Return the statement that lists runs."""
    return _in_state(query, after) if query.state else _newest_first(select(runs), query, after)


def run_summaries_statement(query: RunQuery, after: After) -> Select[Any]:
    """Return the statement that lists the visible summaries in the order of their runs."""
    visible = and_(
        summaries.c.job == runs.c.job, summaries.c.key == runs.c.key, summaries.c.generation == runs.c.generation
    )
    statement = select(summaries).select_from(runs).join(summaries, visible)
    # The same bounds on both sides: whichever PostgreSQL walks first, it walks no more than what is asked for.
    return _newest_first(statement.where(*_key_bounds(summaries, query, after)), query, after)


def _newest_first(statement: Select[Any], query: RunQuery, after: After) -> Select[Any]:
    if query.job is not None:
        statement = statement.where(runs.c.job == query.job)
    statement = statement.where(*_key_bounds(runs, query, after))
    if after:
        key, job = after
        # The bounds hold the range; an OR by itself would be two ranges and a sort.
        statement = statement.where(or_(runs.c.key < key, runs.c.job > job))
    return statement.order_by(runs.c.key.desc(), runs.c.job)


def _key_bounds(table: Table, query: RunQuery, after: After) -> Iterator[ColumnElement[bool]]:
    if query.since_key is not None:
        yield table.c.key >= query.since_key
    if query.until_key is not None:
        yield table.c.key < query.until_key
    if after:
        yield table.c.key <= after[0]


def _in_state(query: RunQuery, after: After) -> Select[Any]:
    """Return the statement that lists a job's runs in one state, either way.

    The conditions name whole beginnings of the index, and the order all of it, equal or not: PostgreSQL, which
    estimates, has no other index then that is in order. It would filter a year of runs to find the last that waits.
    """
    columns = (runs.c.job, runs.c.state, runs.c.key)
    fixed = (literal(query.job), literal(query.state))

    def place(key: str) -> ColumnElement[Any]:
        return tuple_(*fixed, literal(key))

    here, statement = tuple_(*columns), select(runs).where(tuple_(*columns[:2]) <= tuple_(*fixed))
    statement = statement.where(here >= place(query.since_key or ""))
    if query.until_key is not None:
        statement = statement.where(here < place(query.until_key))
    if after:
        key, job = after
        if query.oldest_first:
            # Of one key the jobs come in descending order then.
            is_in = query.job is not None and query.job < job
            statement = statement.where(here >= place(key) if is_in else here > place(key))
        else:
            is_in = query.job is not None and query.job > job
            statement = statement.where(here <= place(key) if is_in else here < place(key))
    return statement.order_by(*(column.asc() if query.oldest_first else column.desc() for column in columns))
