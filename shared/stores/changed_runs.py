"""What becomes of a run when it is claimed, renewed or failed: the rules applied, however a database writes them."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta

from shared.runs import Claim, JobState, Reprocess, Run
from shared.stores.claims import Decision, claim, enqueue
from shared.stores.outcomes import fail, mark_deadline_missed, renew, requeue


class ChangedRuns(ABC):
    """Changes of a run and its job together; `shared.ports.RunStore` says what each method does."""

    def claim_run(
        self, wanted: Run, *, now: datetime, lease: timedelta, max_active: int, reprocess: Reprocess
    ) -> Claim:
        def decide(present: Run | None, job: JobState) -> Decision:
            return claim(present, job, wanted, now=now, lease=lease, max_active=max_active, reprocess=reprocess)

        return self._change(wanted, decide).claim

    def enqueue_run(self, wanted: Run, *, now: datetime, reprocess: Reprocess) -> Claim:
        return self._change(
            wanted, lambda present, job: enqueue(present, job, wanted, now=now, reprocess=reprocess)
        ).claim

    def renew_run(self, run: Run, *, now: datetime, lease: timedelta) -> Run:
        return self._change(run, lambda present, job: renew(present, job, run, now=now, lease=lease)).run

    def requeue_run(self, run: Run, *, now: datetime) -> Run:
        return self._change(run, lambda present, job: requeue(present, job, run)).run

    def fail_run(self, run: Run, error: str, *, retry_at: datetime | None, now: datetime) -> Run:
        return self._change(run, lambda present, job: fail(present, job, run, error, retry_at=retry_at, now=now)).run

    def mark_deadline_missed(self, wanted: Run, *, now: datetime) -> bool:
        return self._change(wanted, lambda present, job: mark_deadline_missed(present, job, wanted, now=now)).changed

    @abstractmethod
    def _change(self, run: Run, decide: Callable[[Run | None, JobState], Decision]) -> Decision:
        """Change a run and its job as `decide` says of what they are now."""
