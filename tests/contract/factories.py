"""Results, runs and what belongs to them for tests to store, and callers that come all at once."""

import hashlib
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from shared.records import Result
from shared.runs import DeadLetter, Interval, Part, Run

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LEASE = timedelta(minutes=11)
MICROSECOND = timedelta(microseconds=1)


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


def some_parts(count=3, **changes):
    """Return the parts of a day that is cut into as many."""
    start = NOW - timedelta(days=1)
    length = timedelta(days=1) / count
    return [replace(Part(n, start + n * length, start + (n + 1) * length), **changes) for n in range(count)]


def a_letter(letter_id="m1", **changes):
    """Return a dead letter."""
    letter = DeadLetter(letter_id, NOW, "expected JSON", "{", hashlib.sha256(b"{").hexdigest(), 1)
    return replace(letter, **changes)


def claim(store, run=None, *, now=NOW, max_active=99, reprocess="none"):
    """Claim a run with the usual lease."""
    return store.claim_run(run or a_run(), now=now, lease=LEASE, max_active=max_active, reprocess=reprocess)


def enqueue(store, run=None, *, now=NOW, reprocess="none"):
    """Have a run wait."""
    return store.enqueue_run(run or a_run(), now=now, reprocess=reprocess)


def in_parallel(count, work):
    """Call `work(index)` on `count` threads that start together."""
    barrier = threading.Barrier(count)

    def wait_and_work(index):
        barrier.wait()
        return work(index)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(wait_and_work, range(count)))
