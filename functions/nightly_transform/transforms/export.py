"""export: the results of a day as one Parquet file, for whoever asks questions that a list cannot answer.

`<prefix>/date=<key>/part-0000.parquet`, a layout that BigQuery, DuckDB, Spark and pandas read as partitions. The file
is there whole or not at all, and the same results give the same bytes, so a rerun changes nothing that has not changed.
Expired results are left out. A day without results has a file without rows.

Params:
    prefix: Below what the days lie; `exports/results` unless told.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from shared.errors import ServiceError
from shared.records import Position, Result, ResultQuery
from shared.runs import Row

from ..contract import Context
from .params import Params

if TYPE_CHECKING:
    import pyarrow  # type: ignore[import-untyped]

# Payloads in memory at a time: of a page as it is read, and of a row group, which readers take whole.
_PAGE_CHARS, _PAGE_RESULTS = 4_000_000, 1000
_GROUP_CHARS, _GROUP_RESULTS = 16_000_000, 100_000


def task(context: Context) -> list[Row]:
    """Write the file of the run's interval."""
    prefix = Params(context.run.params, ("prefix",)).text("prefix", "exports/results")
    name = f"{prefix}/date={context.run.key}/part-0000.parquet"
    counts = {"results": 0, "row_groups": 0, "bytes": 0}
    context.files.write(name, _parquet(_groups(_results(context)), counts))
    return [{"key": context.run.key, "file": name, **counts}]


def _results(context: Context) -> Iterator[Result]:
    interval, after = context.run.interval, None
    query = ResultQuery(since=interval.start, until=interval.end, order="asc")
    while True:
        context.keep_alive()
        if context.seconds_left() <= 0:
            raise ServiceError("the results are more than one delivery has time for", reason="OUT_OF_TIME")
        found = context.results.list_results(
            query, after=after, limit=_PAGE_RESULTS, now=context.now(), max_chars=_PAGE_CHARS
        )
        yield from found
        if not found:
            return
        after = Position(found[-1].created_at, found[-1].id)


def _groups(results: Iterator[Result]) -> Iterator[list[Result]]:
    """Yield results together: cut by their own sizes alone, so that pages of any size leave the same file."""
    group: list[Result] = []
    chars = 0
    for result in results:
        group.append(result)
        chars += len(result.instances) + len(result.predictions)
        if chars >= _GROUP_CHARS or len(group) >= _GROUP_RESULTS:
            yield group
            group, chars = [], 0
    if group:
        yield group


def _parquet(groups: Iterator[Sequence[Result]], counts: dict[str, int]) -> Iterator[bytes]:
    """Yield the file piece by piece, and count what is in it."""
    from pyarrow import parquet

    schema, sink = _schema(), _Sink()
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in groups:
            writer.write_table(_table(group, schema), row_group_size=len(group))
            counts["results"] += len(group)
            counts["row_groups"] += 1
            yield from sink.taken(counts)
    yield from sink.taken(counts)


def _schema() -> "pyarrow.Schema":
    import pyarrow as pa

    text = pa.string()
    return pa.schema(
        [
            pa.field("id", text, nullable=False),
            pa.field("created_at", pa.timestamp("us", tz="UTC"), nullable=False),
            pa.field("model", text, nullable=False),
            pa.field("version", text, nullable=False),
            pa.field("labels", pa.map_(text, text), nullable=False),
            pa.field("request_id", text),
            pa.field("instances", text, nullable=False),
            pa.field("predictions", text, nullable=False),
            pa.field("summary", text, nullable=False),
        ]
    )


def _table(group: Sequence[Result], schema: "pyarrow.Schema") -> "pyarrow.Table":
    import pyarrow as pa

    def column(field: "pyarrow.Field") -> "pyarrow.Array":
        values: list[Any] = [getattr(result, field.name) for result in group]
        if field.name == "labels":
            # Sorted: two stores may give a result's labels in different orders.
            values = [sorted(labels.items()) for labels in values]
        return pa.array(values, field.type)

    return pa.Table.from_arrays([column(field) for field in schema], schema=schema)


class _Sink:
    """A file to write to, whose content is taken away piece by piece."""

    closed = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, content: Any) -> int:
        """Hold some more."""
        self._pieces.append(bytes(content))
        return len(content)

    def flush(self) -> None:
        """Do nothing: it is taken when it is wanted."""

    def close(self) -> None:
        """Do nothing, likewise."""

    def taken(self, counts: dict[str, int]) -> list[bytes]:
        """Return what was written since the last time, and count it."""
        pieces, self._pieces = self._pieces, []
        counts["bytes"] += sum(map(len, pieces))
        return pieces
