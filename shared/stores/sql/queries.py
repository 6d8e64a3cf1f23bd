"""The declared questions to results, each as one statement along one index, in whichever database.

A statement is made once for every shape of question: making one takes longer than answering it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Select,
    Table,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from shared.records import Position, ResultQuery
from shared.stores.moments import to_us
from shared.stores.sql.tables import result_labels, results

PAGE_ROWS = 1000
# Before and after every time there is.
_EVER = (-(2**63), 2**63 - 1)
_PAYLOADS = (results.c.instances, results.c.predictions)
_HEADER = [column for column in results.c if column not in {*_PAYLOADS}]


@dataclass(frozen=True, slots=True)
class Question:
    """A statement, and what stands in the places it leaves open."""

    statement: Select[Any]
    values: Mapping[str, Any]


def list_question(
    query: ResultQuery,
    after: Position | None,
    limit: int,
    now: datetime,
    *,
    payloads: bool = True,
    max_payload_bytes: int | None = None,
) -> Question:
    """Return what lists a query's results in order.

    Args:
        query: Which.
        after: Where the last page ended.
        limit: How many at most.
        now: What has expired by then is left out.
        payloads: Whether instances and predictions are read.
        max_payload_bytes: From the result on before which the payloads reach this, they are NULL.
    """
    walk, values = _walk(query, after)
    statement = _list_statement(walk, payloads, payloads and max_payload_bytes is not None)
    return Question(statement, {**values, "limit": limit, "now_us": to_us(now), "max_bytes": max_payload_bytes})


def count_question(query: ResultQuery, *, estimating: bool = False) -> Question:
    """Return what counts the results that a query matches, from the index alone.

    Args:
        query: What.
        estimating: The database chooses indexes by what it estimates, as PostgreSQL does: the order, which a count
            does not need, holds it to the index as it does where a list is asked for.
    """
    walk, values = _walk(query, None)
    return Question(_count_statement(walk, estimating), values)


def summaries_statement(after: tuple[int, str], end_us: int) -> Select[Any]:
    """Return the statement for the next summaries strictly beyond (created_at_us, id), oldest first."""
    own = results.c
    return (
        select(own.created_at_us, own.id, own.model, own.version, own.summary)
        .where(tuple_(own.created_at_us, own.id) > tuple_(*after), own.created_at_us < end_us)
        .order_by(own.created_at_us, own.id)
        .limit(PAGE_ROWS)
    )


@cache
def by_id_statement(*, payloads: bool = True) -> Select[Any]:
    """Return the statement that reads results by their ids, the parameter `ids`."""
    columns = [*_HEADER, *(_PAYLOADS if payloads else ())]
    return select(*columns).where(results.c.id.in_(bindparam("ids", expanding=True)))


class _Walk(NamedTuple):
    """A stretch of an index, in the order of the index or against it; where it begins and ends is left open.

    The condition names every column of the index, and the order does too, even those that are equal in the whole
    stretch. That leaves PostgreSQL no other index that is in order: it estimates, and where it believes that every
    third result is of a version it would rather filter all results newest first, through a million newer ones.
    """

    labelled: bool
    fixed: tuple[str, ...]
    descending: bool
    low_included: bool

    @property
    def table(self) -> Table:
        return result_labels if self.labelled else results

    def columns(self) -> list[ColumnElement[Any]]:
        own = self.table.c
        return [*(own[name] for name in self.fixed), own.created_at_us, own.result_id if self.labelled else own.id]

    def order(self) -> list[ColumnElement[Any]]:
        return [column.desc() if self.descending else column.asc() for column in self.columns()]

    def stretch(self) -> ColumnElement[bool]:
        here = tuple_(*self.columns())
        low = here >= self._end("low") if self.low_included else here > self._end("low")
        return and_(low, here < self._end("high"))

    def equalities(self) -> list[ColumnElement[bool]]:
        """Return conditions that mean the same: quicker to check row by row, and they hold nobody to the index."""
        own = self.table.c
        fixed = [own[name] == bindparam(name, type_=own[name].type) for name in self.fixed]
        return [*fixed, own.created_at_us >= _number("low_us"), own.created_at_us < _number("high_us")]

    def along(self, statement: Select[Any]) -> Select[Any]:
        # Where two indexes seem as good, SQLite takes the one that was made first.
        index = "version" if "version" in self.fixed else "model" if "model" in self.fixed else "time"
        prefix = "labels" if self.labelled else "results"
        return statement.with_hint(self.table, f"INDEXED BY {prefix}_by_{index}", "sqlite")

    def _end(self, name: str) -> ColumnElement[Any]:
        names = (*self.fixed, f"{name}_us", f"{name}_id")
        return tuple_(*(bindparam(n, type_=column.type) for n, column in zip(names, self.columns(), strict=True)))


def _walk(query: ResultQuery, after: Position | None) -> tuple[_Walk, dict[str, Any]]:
    """Return the stretch that holds what a query matches, and its ends."""
    given = {"pair": "=".join(query.label) if query.label else None, "model": query.model, "version": query.version}
    fixed = {name: value for name, value in given.items() if value is not None}
    low = (to_us(query.since) if query.since else _EVER[0], "")
    high = (to_us(query.until) if query.until else _EVER[1], "")
    low_included = True
    if after:
        position = (to_us(after.created_at), after.id)
        if query.order == "desc":
            high = min(high, position)
        elif position >= low:
            low, low_included = position, False
    walk = _Walk(query.label is not None, tuple(fixed), query.order == "desc", low_included)
    return walk, {**fixed, "low_us": low[0], "low_id": low[1], "high_us": high[0], "high_id": high[1]}


@cache
def _list_statement(walk: _Walk, payloads: bool, bounded: bool) -> Select[Any]:
    columns: list[ColumnElement[Any]] = [*_HEADER, *(_bounded(walk) if bounded else _PAYLOADS if payloads else ())]
    source = results.join(result_labels) if walk.labelled else results
    expires = results.c.expires_at_us
    unexpired = or_(expires.is_(None), expires > _number("now_us"))
    statement = select(*columns).select_from(source).where(walk.stretch(), unexpired)
    return walk.along(statement.order_by(*walk.order()).limit(_number("limit")))


@cache
def _count_statement(walk: _Walk, estimating: bool) -> Select[Any]:
    if estimating:
        matching = select(literal(1)).where(walk.stretch()).order_by(*walk.order())
        return select(func.count()).select_from(matching.subquery())
    return walk.along(select(func.count()).select_from(walk.table).where(*walk.equalities()))


def _bounded(walk: _Walk) -> list[ColumnElement[Any]]:
    # The length of a large value is known without reading it.
    own_bytes = func.octet_length(_PAYLOADS[0]) + func.octet_length(_PAYLOADS[1])
    before = func.coalesce(func.sum(own_bytes).over(order_by=walk.order(), rows=(None, -1)), 0)
    return [case((before < _number("max_bytes"), column)).label(column.name) for column in _PAYLOADS]


def _number(name: str) -> BindParameter[int]:
    return bindparam(name, type_=BigInteger())
