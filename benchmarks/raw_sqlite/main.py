"""The function that one writes first to keep results in SQLite: its driver, and nothing else. No part of ours.

Measured beside store-result and list-results, with the same requests. DATABASE names the file.
"""

import json
import os
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import Any

import flask
import functions_framework

_TABLE = """
CREATE TABLE IF NOT EXISTS results (id TEXT PRIMARY KEY, created_at_us INTEGER, model TEXT, version TEXT, labels TEXT,
    instances TEXT, predictions TEXT);
CREATE INDEX IF NOT EXISTS results_by_time ON results (created_at_us, id);
CREATE INDEX IF NOT EXISTS results_by_model ON results (model, created_at_us, id);
"""
_INSERT = "INSERT OR IGNORE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)"
_SELECT = "SELECT id, created_at_us, model, version, labels, instances, predictions FROM results"
_COLUMNS = ("id", "created_at", "model", "version", "labels", "instances", "predictions")
_own = threading.local()


@functions_framework.http
def raw_sqlite(request: flask.Request) -> Any:
    """Keep one result or a batch of them, or list the newest."""
    if request.method == "GET":
        return {"results": _newest(request.args.get("model"), int(request.args["page_size"]))}
    body, key = request.get_json(), request.headers["Idempotency-Key"]
    bodies = body["results"] if request.path == "/batch" else [body]
    ids = [f"{key}:{index}" for index in range(len(bodies))] if request.path == "/batch" else [key]
    rows = [_row(result_id, body) for result_id, body in zip(ids, bodies, strict=True)]
    connection = _connection()
    with connection:
        connection.executemany(_INSERT, rows)
    return ({"results": [{"id": each} for each in ids]} if request.path == "/batch" else {"id": key}), 201


def _newest(model: str | None, count: int) -> list[dict[str, Any]]:
    where, values = (" WHERE model = ?", (model, count)) if model else ("", (count,))
    rows = _connection().execute(f"{_SELECT}{where} ORDER BY created_at_us DESC, id DESC LIMIT ?", values)
    return [dict(zip(_COLUMNS, _shown(*row), strict=True)) for row in rows]


def _shown(result_id: str, created_at_us: int, model: str, version: str, *texts: str) -> tuple[Any, ...]:
    created_at = datetime.fromtimestamp(created_at_us / 1e6, UTC).isoformat()
    return result_id, created_at, model, version, *map(json.loads, texts)


def _row(result_id: str, body: dict[str, Any]) -> tuple[Any, ...]:
    texts = [json.dumps(body.get(name, {})) for name in ("labels", "instances", "predictions")]
    return result_id, time.time_ns() // 1000, body["model"], body["version"], *texts


def _connection() -> sqlite3.Connection:
    if not hasattr(_own, "connection"):
        _own.connection = sqlite3.connect(os.environ["DATABASE"], timeout=30)
        _own.connection.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {_TABLE}")
    return _own.connection  # type: ignore[no-any-return]
