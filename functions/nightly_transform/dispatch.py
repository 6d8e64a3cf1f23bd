"""Wakes queued runs: as many as may be under way, the oldest first, once what they come after has succeeded."""

from collections.abc import Iterator

from shared.errors import ServiceError
from shared.jobs import Job, dependants
from shared.log import log_event
from shared.runs import Run, RunQuery

from .dependencies import Dependencies

_RUNS_AT_ONCE = 100


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

    def dispatch(self, job: Job) -> int:
        """Wake what may begin now, and return how many runs that is."""
        publish, now = self._given.publish, self._given.now()
        if publish is None:
            return 0
        woken = 0
        try:
            state = self._given.store.touch_job(job.id, now=now)
            active = sum(lease > now for lease in state.active.values())
            for run in self._queued(job):
                if active + woken >= (run.max_active or job.max_active):
                    break
                if self._ready(job, run, paused=state.paused_at is not None):
                    publish({"job": job.id, "key": run.key})
                    woken += 1
        except ServiceError as error:
            log_event("WARNING", f"job {job.id}: its queue waits for the next reconciliation: {error.message}")
        return woken

    def follow(self, job: Job, key: str) -> None:
        """Wake what waited for a run that has ended: its job's queue, and jobs that come after it."""
        self.dispatch(job)
        for other in dependants(self._given.jobs, job.id):
            if self._waits(other, key):
                self.dispatch(other)

    def _waits(self, job: Job, key: str) -> bool:
        run = self._given.store.get_run(job.id, key)
        return run is not None and run.state == "queued"

    def _ready(self, job: Job, run: Run, *, paused: bool) -> bool:
        by_hand = run.trigger == "manual"
        waits = run.not_before is not None and run.not_before > self._given.now()
        return not waits and (by_hand or not (paused or self.unmet(job, run.key)))

    def _queued(self, job: Job) -> Iterator[Run]:
        query = RunQuery(job=job.id, state="queued", oldest_first=True)
        after: tuple[str, str] | None = None
        while page := self._given.store.list_runs(query, after=after, limit=_RUNS_AT_ONCE):
            yield from page
            if len(page) < _RUNS_AT_ONCE:
                return
            after = (page[-1].key, page[-1].job)
