"""Claims a run, works its interval through the job's code, and makes the outcome visible once."""

import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from shared.errors import ConfigurationError, ConflictError, ServiceError
from shared.jobs import Job
from shared.log import bound, log_event
from shared.runs import Claim, Interval, Part, Reprocess, Row, Run, Trigger

from .alive import LEASE, Alive
from .contract import Context, Task, Transform, Unfinished
from .dependencies import Dependencies
from .dispatch import Dispatcher
from .fan_out import FanOut, cut, fold_part
from .orders import wanted_run
from .transforms import find_code

_MAX_ERROR_CHARS = 2000


class Runner:
    """Runs jobs over intervals.

    Args:
        given: The world around.
        find: Finds a job's code.
    """

    def __init__(self, given: Dependencies, find: Callable[[Job], Transform | Task] = find_code) -> None:
        self._given = given
        self._find = find
        self._fan_out = FanOut(given)
        self.dispatcher = Dispatcher(given)

    def wanted(self, job: Job, interval: Interval, trigger: Trigger, params: Mapping[str, Any] | None = None) -> Run:
        """Return a run as it is asked for now; see `wanted_run`."""
        wanted = wanted_run(job, interval, trigger, self._given.now(), params)
        return replace(wanted, code_version=self._given.code_version)

    def run(self, job: Job, wanted: Run, *, reprocess: Reprocess) -> Claim:
        """Work a run unless that was done, is being done, or has to wait.

        Returns:
            The run as it ended, or goes on in parts; where it was refused, as it is, and why.
        """
        claim = self._given.store.claim_run(
            wanted, now=self._given.now(), lease=LEASE, max_active=job.max_active, reprocess=reprocess
        )
        if claim.refusal == "max-active":
            # The last place may have come free since, by somebody who did not see this run wait.
            self.dispatcher.dispatch(job, at_most=1)
        return Claim(self._work(job, claim.run)) if claim.granted else claim

    def work_slice(self, job: Job, key: str, plan: int, index: int) -> Run | None:
        """Work one part of a run, and end the run if it was the last; None if the run goes on without it."""
        found = self._fan_out.part_of(job.id, key, plan, index)
        if found is None:
            return None
        run, part = found
        with bound(job=job.id, key=key, attempt=run.attempt, slice=index):
            if not part.done and (ended := self._work_part(job, run, part)):
                return ended
            return self._ended(job, run, self._merged) if self._fan_out.is_complete(run) else run

    def _work(self, job: Job, run: Run) -> Run:
        with bound(job=job.id, key=run.key, attempt=run.attempt):
            if run.attempt > job.max_attempts:
                lost = ServiceError(f"each of {job.max_attempts} attempts ended without an outcome")
                return self._fail(job, run, lost)
            return self._ended(job, run, self._outcome)

    def _ended(self, job: Job, run: Run, work: Callable[[Job, Run], tuple[list[Row], dict[str, Any]] | Run]) -> Run:
        """Return the run with the outcome of the work, which is the run itself where that goes on in parts."""
        try:
            outcome = work(job, run)
            if isinstance(outcome, Run):
                return outcome
            rows, output = outcome
            output = {"rows": len(rows), **output, "seconds": self._seconds_since(run.started_at)}
            finished = self._given.store.finish_run(replace(run, output=output), rows, now=self._given.now())
        except Unfinished:
            waiting = self._given.store.requeue_run(run, now=self._given.now())
            if self._given.publish is None:
                return self.run(job, waiting, reprocess="none").run
            self.dispatcher.dispatch(job, at_most=1)
            return waiting
        except Exception as error:
            if isinstance(error, ConflictError) and error.reason == "FENCE_LOST":
                raise
            # If the store is away, this raises in its turn: the lease runs out and a redelivery takes over.
            return self._fail(job, run, error)
        _log_run("INFO", finished, **output)
        self.dispatcher.follow(job, run.key)
        return finished

    def _outcome(self, job: Job, run: Run) -> tuple[list[Row], dict[str, Any]] | Run:
        code, alive = self._find(job), Alive(self._given, run)
        if not isinstance(code, Transform):
            return code(self._context(job, run, alive)), {}
        parts = cut(run.interval, job.slices, self._given.store.shards)
        if len(parts) > 1 and self._given.publish is not None:
            run = self._fan_out.start(job, run, self._given.publish)
            return self._merged(job, run) if self._fan_out.is_complete(run) else run
        folded = [fold_part(self._given, part, code, alive) for part in parts]
        rows = code.merge(run.interval, [partial for partial, _ in folded])
        return rows, {"documents": sum(documents for _, documents in folded)}

    def _merged(self, job: Job, run: Run) -> tuple[list[Row], dict[str, Any]]:
        rows, documents = self._fan_out.merge(run, self._transform(job))
        return rows, {"documents": documents, "slices": run.parts}

    def _work_part(self, job: Job, run: Run, part: Part) -> Run | None:
        """Work a part; return the run if it has failed for good by that."""
        try:
            self._fan_out.fold(run, part, self._transform(job))
        except ConflictError:
            raise
        except Exception as error:
            self._fan_out.failed(job, run, part, error)
            return self._fail(job, run, error, permanent=True)
        return None

    def _seconds_since(self, began: datetime | None) -> float:
        now = self._given.now()
        return max(0.0, round((now - (began or now)).total_seconds(), 3))

    def _transform(self, job: Job) -> Transform:
        code = self._find(job)
        if isinstance(code, Transform):
            return code
        raise ConfigurationError([f"job {job.id}: a task is not worked in slices"])

    def _context(self, job: Job, run: Run, alive: Alive) -> Context:
        given = self._given
        return Context(
            run=run,
            job=job,
            jobs=given.jobs,
            store=given.store,
            results=given.results,
            files=given.files,
            predict=given.predict,
            wake=self.dispatcher.dispatch,
            now=given.now,
            keep_alive=alive.keep,
            seconds_left=alive.seconds_left,
        )

    def _fail(self, job: Job, run: Run, error: Exception, *, permanent: bool = False) -> Run:
        permanent = permanent or (isinstance(error, ServiceError) and error.http_status < 500)
        now = self._given.now()
        again = not permanent and run.trigger != "manual" and run.attempt < job.max_attempts
        retry_at = now + job.backoff(run.attempt) if again else None
        text = f"{type(error).__name__}: {error}"[:_MAX_ERROR_CHARS].encode("utf-8", "backslashreplace").decode()
        failed = self._given.store.fail_run(run, text, retry_at=retry_at, now=now)
        trace = "".join(traceback.format_exception(error))
        _log_run("WARNING" if again else "ERROR", failed, error=text, stack_trace=trace)
        self.dispatcher.dispatch(job, at_most=1)
        return failed


def _log_run(severity: Any, run: Run, **fields: Any) -> None:
    log_event(severity, f"run {run.job} {run.key}: {run.state}, attempt {run.attempt}", state=run.state, **fields)
