"""A page before a nightly-transform of its own, whose store a test may fill."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from shared.jobs import Job, read_jobs
from shared.ports import Store
from shared.runs import Row, Run
from shared.stores import open_store
from tests.support import running_function

LEASE = timedelta(minutes=11)


@dataclass(frozen=True)
class NightWorld:
    """Where the page and its jobs answer, and their store.

    Attributes:
        url: The page's.
        api: Nightly-transform's.
        database: The store's file.
    """

    url: str
    api: str
    database: Path
    store: Store

    def trigger(self, job: str, key: str, **order: Any) -> Any:
        """Run a job over an interval, and return the run."""
        answer = httpx.post(f"{self.api}/jobs/{job}:trigger", json={"key": key, **order}, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["run"]

    def begin(self, job: str, key: str, **changes: Any) -> Run:
        """Claim a run, as a worker does."""
        now = datetime.now(UTC)
        wanted = Run(job, _job(job).interval(key), "schedule", now, code_version="local")
        claim = self.store.claim_run(
            replace(wanted, **changes), now=now, lease=LEASE, max_active=99, reprocess="completed"
        )
        assert claim.granted
        return claim.run

    def succeed(self, job: str, key: str, rows: list[Row] | None = None, **changes: Any) -> Run:
        """Have a run succeed, with a summary."""
        run = replace(self.begin(job, key, **changes), output={"rows": len(rows or [])})
        return self.store.finish_run(run, rows or [], now=datetime.now(UTC))

    def fail(self, job: str, key: str, error: str, **changes: Any) -> Run:
        """Have a run fail for good."""
        return self.store.fail_run(self.begin(job, key, **changes), error, retry_at=None, now=datetime.now(UTC))

    def multiply(self, job: str, key: str, starts: list[datetime]) -> None:
        """Copy a run to other starts: the store itself would take half a minute for ten thousand."""
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.row_factory = sqlite3.Row
            kept = dict(connection.execute("SELECT * FROM runs WHERE job = ? AND key = ?", (job, key)).fetchone())
            names = ", ".join(f'"{name}"' for name in kept)
            places = ", ".join(f":{name}" for name in kept)
            connection.executemany(
                f"INSERT OR REPLACE INTO runs ({names}) VALUES ({places})",
                [{**kept, "key": f"{start:%Y-%m-%dT%H:%MZ}"} for start in starts],
            )


@contextmanager
def night_world(folder: Path, **env: str) -> Iterator[NightWorld]:
    """Run both until the block ends."""
    database = folder / "nights.db"
    state = {"STATE_DIR": str(folder), "STORE_URL": f"sqlite:///{database}"}
    with running_function("nightly_transform", state, folder / "nightly.log") as nightly:
        page = {"STATE_DIR": str(folder), "NIGHTLY_TRANSFORM_URL": nightly.url, **env}
        with running_function("web", page, folder / "web.log") as web:
            store = open_store(state["STORE_URL"])
            yield NightWorld(web.url, nightly.url, database, store)
            store.close()


def days_ago(count: int) -> str:
    """Return a key: the day so many before today, in UTC as the jobs are."""
    return str(today() - timedelta(days=count))


def today() -> date:
    """Return the present day in UTC."""
    return datetime.now(UTC).date()


def _job(job: str) -> Job:
    return read_jobs()[job]
