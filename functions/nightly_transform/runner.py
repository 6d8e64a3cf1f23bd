"""Claims a run, folds its interval through the transform, and makes the outcome visible once."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from shared.errors import ServiceError
from shared.jobs import SETTLE, Job
from shared.log import log_event
from shared.ports import Store, Transform
from shared.records import Claim, Interval, Row, Run, Trigger

from .transforms import find_transform

# Longer than a push may take, so that a redelivery never overlaps a run that is still alive.
LEASE = timedelta(minutes=11)
_MAX_ERROR_CHARS = 2000


class Runner:
    """Runs jobs over intervals.

    Args:
        store: Where results are read and runs are kept.
        now: The clock.
        find: Finds a job's transform.
    """

    def __init__(
        self, store: Store, now: Callable[[], datetime], find: Callable[[Job], Transform] = find_transform
    ) -> None:
        self._store = store
        self._now = now
        self._find = find

    def run(self, job: Job, interval: Interval, trigger: Trigger, params: Mapping[str, Any], *, force: bool) -> Claim:
        """Run a job over an interval unless that was done, or is being done.

        An interval that is still open, or ended so lately that a result may still be on its way into the store,
        makes a provisional run, which the next run of the same key supersedes.

        Returns:
            The run as it ended, and whether the work was done here.
        """
        now = self._now()
        wanted = Run(
            job=job.id,
            interval=interval,
            trigger=trigger,
            created_at=now,
            params={**job.params, **params},
            provisional=now < interval.end + SETTLE,
        )
        claim = self._store.claim_run(wanted, now=now, lease=LEASE, force=force)
        if not claim.granted:
            return claim
        return Claim(self._work(job, claim.run), granted=True)

    def _work(self, job: Job, run: Run) -> Run:
        started = time.monotonic()
        try:
            if run.trigger == "schedule" and run.attempt > job.max_attempts:
                raise ServiceError(f"each of {job.max_attempts} attempts ended without an outcome")
            rows, documents = self._transform(job, run)
            output = {"rows": len(rows), "documents": documents, "seconds": round(time.monotonic() - started, 3)}
            finished = self._store.finish_run(replace(run, output=output), rows, now=self._now())
        except Exception as error:
            # If someone else holds the run by now, or the store is away, this raises in its turn: the lease runs
            # out and a redelivery takes over.
            return self._fail(job, run, error)
        _log_run("INFO", finished, **output)
        return finished

    def _transform(self, job: Job, run: Run) -> tuple[list[Row], int]:
        transform = self._find(job)
        documents = 0

        def counted(start: datetime, end: datetime) -> Any:
            nonlocal documents
            for document in self._store.read_summaries(start, end):
                documents += 1
                yield document

        partials = [transform.fold(counted(start, end)) for start, end in transform.slices(run.interval)]
        return transform.merge(run.interval, partials), documents

    def _fail(self, job: Job, run: Run, error: Exception) -> Run:
        permanent = isinstance(error, ServiceError) and error.http_status < 500
        retry = not permanent and run.trigger == "schedule" and run.attempt < job.max_attempts
        text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS].encode("utf-8", "backslashreplace").decode()
        failed = self._store.fail_run(run, text, retry=retry, now=self._now())
        _log_run("WARNING" if retry else "ERROR", failed, stack_trace=traceback.format_exc())
        return failed


def _log_run(severity: Any, run: Run, **fields: Any) -> None:
    log_event(
        severity,
        f"run {run.job} {run.key}: {run.state}, attempt {run.attempt}",
        job=run.job,
        key=run.key,
        attempt=run.attempt,
        state=run.state,
        **fields,
    )
