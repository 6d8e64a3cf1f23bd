"""Results and runs for tests to store, and callers that come all at once."""

import hashlib
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.records import Interval, Result, Run

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEASE = timedelta(minutes=11)


def a_result(**changes):
    """Return a result with a fresh id, different from any other unless told."""
    result = Result(
        id=secrets.token_hex(13),
        created_at=NOW,
        model="digits",
        version="1",
        instances="[[1]]",
        predictions='[{"digit":3}]',
        summary='{"count":1,"classes":["3"],"scores":[0.5]}',
        payload_hash=hashlib.sha256(secrets.token_bytes(8)).hexdigest(),
    )
    return replace(result, **changes)


def a_run(key="2026-11-21", job="nightly", **changes):
    """Return a run as a caller asks for it."""
    start = datetime.fromisoformat(key).replace(tzinfo=UTC)
    run = Run(
        job=job,
        interval=Interval(key, start, start + timedelta(days=1), "Etc/UTC"),
        trigger="schedule",
        created_at=NOW,
        params={"deep": [1, {"a": None}]},
    )
    return replace(run, **changes)


def claim(store, run=None, *, now=NOW, force=False):
    """Claim a run with the usual lease."""
    return store.claim_run(run or a_run(), now=now, lease=LEASE, force=force)


def in_parallel(count, work):
    """Call `work(index)` on `count` threads that start together."""
    barrier = threading.Barrier(count)

    def wait_and_work(index):
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_work, range(count)))
