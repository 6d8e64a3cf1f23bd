"""The function that one writes first to keep results in PostgreSQL: psycopg, and nothing else. No part of ours.

Measured beside store-result and list-results, with the same requests. DATABASE is libpq's URL of it.
"""

import json
import os
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import flask
import functions_framework
import psycopg

_TABLE = """
CREATE TABLE IF NOT EXISTS results (id text PRIMARY KEY, created_at_us bigint, model text, version text, labels text,
    instances text, predictions text);
CREATE INDEX IF NOT EXISTS results_by_time ON results (created_at_us, id);
CREATE INDEX IF NOT EXISTS results_by_model ON results (model, created_at_us, id);
"""
_INSERT = "INSERT INTO results VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING"
_SELECT = "SELECT id, created_at_us, model, version, labels, instances, predictions FROM results"
_COLUMNS = ("id", "created_at", "model", "version", "labels", "instances", "predictions")
_POOL_SIZE = 4
_pool: "queue.LifoQueue[psycopg.Connection | None]" = queue.LifoQueue()
for _ in range(_POOL_SIZE):
    _pool.put(None)


@functions_framework.http
def raw_postgresql(request: flask.Request) -> Any:
    """Keep one result or a batch of them, or list the newest."""
    if request.method == "GET":
        return {"results": _newest(request.args.get("model"), int(request.args["page_size"]))}
    body, key = request.get_json(), request.headers["Idempotency-Key"]
    with _connection() as connection:
        if request.path != "/batch":
            connection.execute(_INSERT, _row(key, body))
            return {"id": key}, 201
        ids = [f"{key}:{index}" for index in range(len(body["results"]))]
        with connection.transaction(), connection.cursor() as cursor:
            cursor.executemany(_INSERT, [_row(*pair) for pair in zip(ids, body["results"], strict=True)])
        return {"results": [{"id": each} for each in ids]}, 201


def _newest(model: str | None, count: int) -> list[dict[str, Any]]:
    where, values = (" WHERE model = %s", (model, count)) if model else ("", (count,))
    with _connection() as connection:
        statement = f"{_SELECT}{where} ORDER BY created_at_us DESC, id DESC LIMIT %s"
        rows = connection.execute(statement, values).fetchall()
    return [dict(zip(_COLUMNS, _shown(*row), strict=True)) for row in rows]


def _shown(result_id: str, created_at_us: int, model: str, version: str, *texts: str) -> tuple[Any, ...]:
    created_at = datetime.fromtimestamp(created_at_us / 1e6, UTC).isoformat()
    return result_id, created_at, model, version, *map(json.loads, texts)


def _row(result_id: str, body: dict[str, Any]) -> tuple[Any, ...]:
    texts = [json.dumps(body.get(name, {})) for name in ("labels", "instances", "predictions")]
    return result_id, time.time_ns() // 1000, body["model"], body["version"], *texts


@contextmanager
def _connection() -> "Iterator[psycopg.Connection]":
    connection = _pool.get()
    try:
        if connection is None:
            connection = psycopg.connect(os.environ["DATABASE"], autocommit=True)
            connection.execute(_TABLE)
        yield connection
    finally:
        _pool.put(connection)
