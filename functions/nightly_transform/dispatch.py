"""Wakes queued runs: as many as may be under way, the oldest first, once what they come after has succeeded."""

from collections.abc import Iterator
from itertools import islice

from shared.errors import ServiceError
from shared.jobs import Job, dependants
from shared.log import log_event
from shared.runs import Run, RunQuery

from .dependencies import Dependencies
from .orders import is_interval_of

_RUNS_AT_ONCE = 100
_NEWEST_RUNS = 20
# A queue that waits for others is not walked to its end each time; its newest runs are always looked at.
_LOOKED_AT = 200
_ALL = 1_000_000


class Dispatcher:
    """Publishes the messages that have queued runs claimed.

    A message too many is refused by the claim, and a message too few is made good by the next reconciliation: so
    nothing here is locked, and a topic that does not answer fails no run.
    """

    def __init__(self, given: Dependencies) -> None:
        self._given = given

    def unmet(self, job: Job, key: str) -> list[str]:
        """Return the jobs this one comes after that have not succeeded for the same interval."""
        found = {name: self._given.store.get_run(name, key) for name in job.after}
        return [name for name, run in found.items() if run is None or run.state != "success" or run.provisional]

    def dispatch(self, job: Job, at_most: int = _ALL) -> int:
        """Wake what may begin now, and return how many runs that is.

        Args:
            job: Whose queue.
            at_most: Fewer than there are places: for the others, messages are on their way already.
        """
        publish, now = self._given.publish, self._given.now()
        if publish is None:
            return 0
        woken = 0
        try:
            state = self._given.store.touch_job(job.id, now=now)
            active = sum(lease > now for lease in state.active.values())
            for run in islice(self._queued(job), _LOOKED_AT):
                if woken >= at_most:
                    break
                if active + woken >= (run.max_active or job.max_active):
                    if run.trigger == "backfill":
                        break
                elif self._ready(job, run, paused=state.paused_at is not None):
                    publish({"job": job.id, "key": run.key})
                    woken += 1
        except ServiceError as error:
            log_event("WARNING", f"job {job.id}: its queue waits for the next reconciliation: {error.message}")
        return woken

    def follow(self, job: Job, key: str) -> None:
        """Wake what waited for a run that has succeeded: the next of its job, and the jobs that come after it."""
        self.dispatch(job, at_most=1)
        for other in dependants(self._given.jobs, job.id):
            run = self._given.store.get_run(other.id, key)
            if run is not None and run.state == "queued":
                self._wake(other, key)

    def _wake(self, job: Job, key: str) -> None:
        """Wake one run; whether it may begin, its claim decides."""
        if self._given.publish is None:
            return
        try:
            self._given.publish({"job": job.id, "key": key})
        except ServiceError as error:
            log_event("WARNING", f"job {job.id}: {key} waits for the next reconciliation: {error.message}")

    def _ready(self, job: Job, run: Run, *, paused: bool) -> bool:
        if not is_interval_of(job, run):
            return False  # of a schedule that is no more; reconcile ends it
        by_hand = run.trigger == "manual"
        waits = run.not_before is not None and run.not_before > self._given.now()
        return not waits and (by_hand or not (paused or self.unmet(job, run.key)))

    def _queued(self, job: Job) -> Iterator[Run]:
        """Yield the newest runs that no backfill asked for, then all others, oldest first: tonight's run waits for no
        backfill of last year.
        """
        query = RunQuery(job=job.id, state="queued")
        newest = self._given.store.list_runs(query, after=None, limit=_NEWEST_RUNS)
        first = [run for run in reversed(newest) if run.trigger != "backfill"]
        yield from first
        keys = {run.key for run in first}
        yield from (run for run in self._oldest_first(job) if run.key not in keys)

    def _oldest_first(self, job: Job) -> Iterator[Run]:
        query = RunQuery(job=job.id, state="queued", oldest_first=True)
        after: tuple[str, str] | None = None
        while page := self._given.store.list_runs(query, after=after, limit=_RUNS_AT_ONCE):
            yield from page
            if len(page) < _RUNS_AT_ONCE:
                return
            after = (page[-1].key, page[-1].job)
