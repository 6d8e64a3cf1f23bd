"""export: what Parquet holds of a day is what the store holds, to the character and the microsecond."""

import io
import json
import tracemalloc
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest
from pyarrow import parquet

from functions.nightly_transform.contract import Context
from functions.nightly_transform.transforms import export
from shared.errors import ConflictError, ServiceError
from shared.jobs import Job
from shared.runs import Run
from shared.stores import open_results
from shared.stores.objects import open_files
from tests.contract.factories import a_result

JOB = Job("export", "10 3 * * *", "Europe/Paris", "export", "")
NOW = datetime(2026, 11, 22, 5, tzinfo=UTC)
INTERVAL = JOB.interval("2026-11-21")
MICROSECOND = timedelta(microseconds=1)
NAME = "exports/results/date=2026-11-21/part-0000.parquet"


@pytest.fixture
def results(tmp_path):
    results = open_results(f"sqlite:///{tmp_path}/x.db", f"file://{tmp_path}/objects")
    yield results
    results.close()


@pytest.fixture
def files(tmp_path):
    return open_files(f"file://{tmp_path}/objects")


@pytest.fixture
def context(results, files):
    """A run of 2026-11-21 in Paris."""
    return Context(
        run=Run("export", INTERVAL, "schedule", NOW),
        job=JOB,
        jobs={"export": JOB},
        store=None,
        results=results,
        files=files,
        predict=None,
        wake=lambda job: 0,
        now=lambda: NOW,
        keep_alive=lambda: None,
        seconds_left=lambda: 540.0,
    )


def content(files, name=NAME):
    with files.open(name) as file:
        return file.read()


def row_of(result):
    """Return a result as a row that is read back."""
    names = ("id", "created_at", "model", "version", "request_id", "instances", "predictions", "summary")
    return {name: getattr(result, name) for name in names} | {"labels": sorted(result.labels.items())}


def rows(files, name=NAME):
    return parquet.read_table(io.BytesIO(content(files, name))).to_pylist()


def test_a_day_is_read_back_whole(context, results, files):
    """Every column of every result of the day, oldest first, large payloads and odd text included, and no other."""
    kept = [
        a_result(id="a", created_at=INTERVAL.start, labels={"z": "1", "a": "é\u2028"}, request_id="r-1"),
        a_result(id="b", created_at=INTERVAL.start + timedelta(hours=3), instances='[NaN, "\\ud800", 1.0, 1e400]'),
        a_result(id="c", created_at=INTERVAL.start + timedelta(hours=3), predictions='["' + "x" * 2_000_000 + '"]'),
        a_result(id="d", created_at=INTERVAL.end - MICROSECOND, model="ä/b", version="007", summary='{"count":0}'),
    ]
    others = [
        a_result(created_at=INTERVAL.start - MICROSECOND),
        a_result(created_at=INTERVAL.end),
        a_result(created_at=INTERVAL.start, expires_at=NOW - MICROSECOND),
    ]
    results.create_results(kept + others)

    (row,) = export.task(context)

    table = parquet.read_table(io.BytesIO(content(files)))
    assert table.to_pylist() == [row_of(result) for result in kept]
    assert row == {
        "key": "2026-11-21",
        "file": NAME,
        "results": 4,
        "row_groups": 1,
        "bytes": len(content(files)),
    }
    assert table.schema.field("created_at").type == pa.timestamp("us", tz="UTC")
    assert table.schema.field("labels").type == pa.map_(pa.string(), pa.string())
    assert [field.name for field in table.schema if field.nullable] == ["request_id"]


def test_the_same_results_are_the_same_bytes(context, results, files, monkeypatch):
    """However they are paged, and on every run; a rerun replaces the file, with what came to be."""
    many = [
        a_result(id=f"{n:03d}", created_at=INTERVAL.start + n * MICROSECOND, instances=json.dumps("é" * n))
        for n in range(300)
    ]
    results.create_results(many)
    monkeypatch.setattr(export, "_GROUP_CHARS", 5000)
    found = set()
    for page_chars, page_results in ((100, 1000), (10**6, 7), (10**6, 300), (10**6, 1000)):
        monkeypatch.setattr(export, "_PAGE_CHARS", page_chars)
        monkeypatch.setattr(export, "_PAGE_RESULTS", page_results)
        (row,) = export.task(context)
        found.add(content(files))

    assert len(found) == 1
    assert row["row_groups"] > 5
    assert row["row_groups"] == parquet.ParquetFile(io.BytesIO(content(files))).num_row_groups
    assert rows(files) == [row_of(result) for result in many]

    results.create_results([a_result(id="new", created_at=INTERVAL.start)])
    export.task(context)
    assert {row["id"] for row in rows(files)} == {"new", *(result.id for result in many)}
    assert files.names("") == [NAME]


def test_a_day_without_results_has_a_file_without_rows(context, files):
    """A partition that is missing would look like a day that was not exported."""
    (row,) = export.task(context)

    table = parquet.read_table(io.BytesIO(content(files)))
    assert (table.num_rows, table.num_columns) == (0, 9)
    assert (row["results"], row["row_groups"]) == (0, 0)


def test_what_breaks_off_leaves_the_file_before(context, results, files):
    """A run that lost its lease, or its time, has written nothing."""
    results.create_results([a_result(id="a", created_at=INTERVAL.start)])
    export.task(context)
    before = content(files)
    results.create_results([a_result(id="b", created_at=INTERVAL.start)])
    calls = iter(range(9))

    def lost():
        if next(calls) == 1:
            raise ConflictError("lost", reason="FENCE_LOST")

    with pytest.raises(ConflictError):
        export.task(replace(context, keep_alive=lost))
    with pytest.raises(ServiceError) as raised:
        export.task(replace(context, seconds_left=lambda: 0.0))

    assert raised.value.reason == "OUT_OF_TIME"
    assert content(files) == before


def test_the_place_may_be_told(context, files):
    """Params have one name; any other, and a place outside, is refused."""
    told = {"prefix": "lake/results"}
    export.task(replace(context, run=replace(context.run, params=told)))
    assert files.names("") == ["lake/results/date=2026-11-21/part-0000.parquet"]

    for params, reason in (({"prefix": "../x"}, "INVALID_NAME"), ({"place": "x"}, "INVALID_PARAMS")):
        with pytest.raises(ServiceError) as raised:
            export.task(replace(context, run=replace(context.run, params=params)))
        assert (raised.value.http_status, raised.value.reason) == (400, reason)


def test_a_large_day_streams(context, results, files):
    """A hundred megabytes of payloads take a part of that, beside what Parquet's own library holds."""
    filler = "x" * 500_000
    for n in range(200):
        moment = INTERVAL.start + timedelta(minutes=n)
        results.create_results([a_result(id=f"{n:03d}", created_at=moment, instances=f'"{filler}"')])
    export.task(context)  # imports once
    pool = pa.default_memory_pool()
    held_before = pool.max_memory()
    tracemalloc.start()
    try:
        (row,) = export.task(context)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert (row["results"], row["row_groups"]) == (200, 7)
    assert peak_bytes < 40_000_000
    assert pool.max_memory() - held_before < 60_000_000


def test_into_a_bucket(context, results, files, cloud_storage):
    """The same bytes as in a folder, in one upload."""
    results.create_results([a_result(id=f"{n}", created_at=INTERVAL.start) for n in range(10)])
    bucket = open_files(f"gs://{cloud_storage[1]}/objects")

    export.task(context)
    export.task(replace(context, files=bucket))

    there = content(bucket)
    bucket._bucket.close()
    assert there == content(files)
    assert cloud_storage[0].names(cloud_storage[1]) == [f"objects/{NAME}"]
