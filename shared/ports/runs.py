"""Runs and what they wrote: claimed with a lease, finished under a fence."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from shared.runs import Claim, DeadLetter, JobState, Part, Reprocess, Row, Run, RunQuery, Summary


class RunStore(Protocol):
    """Runs, one for each (job, key), and the summaries they wrote."""

    def claim_run(
        self, wanted: Run, *, now: datetime, lease: timedelta, max_active: int, reprocess: Reprocess
    ) -> Claim:
        """Take a run, creating it if this is the first time it is asked for.

        Granted for a run that is new, missed or queued, for one whose lease ran out, for a provisional one that
        ended, and for others that ended as `reprocess` says. A run that was queued, or lost, keeps the trigger, the
        params and `max_active` it was asked for with, unless this one is asked for by hand; its attempts go on
        counting, where those of a run that ended, or is asked for by hand, begin anew. Its parts are kept for the same
        params, interval and code.

        Refused, in this order:
            running: It is under way, its lease has not run out.
            ended: It ended, and is not to be run again.
            paused: Its job is, and it is not asked for by hand, nor was. Nothing is changed.
            backing-off: It is queued until `not_before`, and not asked for by hand. Nothing is changed.
            max-active: As many runs of its job as may are under way. It is queued, as `enqueue_run` would.

        Args:
            wanted: The run as it is asked for: job, interval, trigger, params, provisional, max_active, deadline_at,
                code_version, created_at.
            now: The clock; the store has none.
            lease: For how long the run is the caller's.
            max_active: How many runs of the job may be under way, where the run itself does not say.
            reprocess: Which runs that ended are run again.

        Raises:
            UnavailableError: The database did not answer, or others changed the job all the time.
        """
        ...

    def enqueue_run(self, wanted: Run, *, now: datetime, reprocess: Reprocess) -> Claim:
        """Have a run wait for its turn, whoever may claim it then.

        Granted for a run that is new or missed, for one whose lease ran out, and for those that ended as
        `claim_run` has it: it is queued then, without `not_before`. Refused as running, ended, paused, or as
        `queued`, where it waits already; nothing is changed then.
        """
        ...

    def renew_run(self, run: Run, *, now: datetime, lease: timedelta) -> Run:
        """Extend the lease of a run that is the caller's.

        Raises:
            ConflictError: reason FENCE_LOST; it was claimed again since, or has ended.
        """
        ...

    def requeue_run(self, run: Run, *, now: datetime) -> Run:
        """Put a run that is the caller's back in the queue, the attempt not counted: the next goes on from here.

        Raises:
            ConflictError: As `renew_run` does.
        """
        ...

    def finish_run(self, run: Run, rows: Sequence[Row], *, now: datetime) -> Run:
        """Write the rows under the run's fence and make them the visible ones, in one transaction.

        Raises:
            ConflictError: As `renew_run` does. Nothing was written.
            ValueError or TypeError: The rows are not JSON values with finite numbers. Nothing was written.
        """
        ...

    def fail_run(self, run: Run, error: str, *, retry_at: datetime | None, now: datetime) -> Run:
        """Record a failed attempt: queued until `retry_at`, or failed for good. Raises as `renew_run` does."""
        ...

    def mark_deadline_missed(self, wanted: Run, *, now: datetime) -> bool:
        """Note once that a run had not succeeded in time; one that is not there is kept as `missed`.

        Returns:
            Whether this call noted it: False if it succeeded, or was noted before.
        """
        ...

    def get_run(self, job: str, key: str) -> Run | None:
        """Return one run, or None."""
        ...

    def list_runs(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Run]:
        """Return up to `limit` runs in the query's order, strictly beyond the (key, job) in `after`.

        Raises:
            InvalidRequestError: reason UNDECLARED_QUERY; see `RunQuery`.
        """
        ...

    def list_summaries(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Summary]:
        """Return the visible summaries of the runs that `list_runs` would return, for a query without `state`."""
        ...

    def prune_runs(self, job: str, *, before_key: str, limit: int) -> int:
        """Delete up to `limit` runs of a job that ended, or were missed, of earlier keys, and all they wrote.

        Returns:
            How many were deleted.
        """
        ...

    def touch_job(self, job: str, *, now: datetime) -> JobState:
        """Return what is known of a job, which is seen from now on, if it never was."""
        ...

    def set_paused(self, job: str, *, paused: bool, now: datetime) -> JobState:
        """Pause or resume a job; pausing one that is paused changes nothing."""
        ...


class PartStore(Protocol):
    """Runs in parts: what each slice came to, kept until the last one is there."""

    def plan_parts(self, run: Run, parts: Sequence[Part]) -> Run:
        """Keep the parts of a run that is the caller's, in place of any before; its plan is its fence then.

        Raises:
            ConflictError: As `RunStore.renew_run` does. Nothing was kept.
        """
        ...

    def list_parts(self, run: Run, *, partials: bool) -> list[Part]:
        """Return the parts of a run's plan by index; without `partials` those that are done have an empty one."""
        ...

    def get_part(self, run: Run, index: int) -> Part | None:
        """Return one part of a run's plan, its partial empty if it is done, or None."""
        ...

    def finish_part(self, run: Run, part: Part) -> bool:
        """Keep a part's partial and how many documents it holds, unless one is kept already.

        Returns:
            Whether this call kept it.

        Raises:
            ConflictError: reason PLAN_GONE; the run has no such part.
        """
        ...

    def fail_part(self, run: Run, index: int, error: str) -> Part:
        """Count a failure of a part that is not done, and return it. Raises as `finish_part` does."""
        ...

    def open_parts(self, run: Run) -> int:
        """Count the parts of a run's plan that are not done."""
        ...


class DeadLetterStore(Protocol):
    """Messages that can never be understood."""

    def record_dead_letter(self, letter: DeadLetter) -> bool:
        """Keep a letter; one of the same id stays as it is. Returns whether this call kept it."""
        ...

    def list_dead_letters(self, *, after: tuple[datetime, str] | None, limit: int) -> list[DeadLetter]:
        """Return up to `limit` letters, newest first and then by id, strictly beyond (received_at, id) in `after`."""
        ...
