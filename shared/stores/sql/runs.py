"""Runs in SQL: one row for each (job, key), changed together with the row of its job, which is locked first."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime

from sqlalchemy import delete, insert, select

from shared.runs import JobState, Row, Run, RunQuery, Summary
from shared.stores.changed_runs import ChangedRuns
from shared.stores.claims import Decision
from shared.stores.job_states import seen, with_pause
from shared.stores.moments import from_us, to_us
from shared.stores.outcomes import finish
from shared.stores.run_fields import run_of
from shared.stores.run_queries import check_runs, check_summaries
from shared.stores.sql.engine import Database
from shared.stores.sql.run_lists import run_summaries_statement, runs_statement
from shared.stores.sql.run_rows import find_job, find_run, locked_job, of_run, save, save_job
from shared.stores.sql.tables import parts, runs, summaries

_ENDED = ("success", "failed", "missed")


class SqlRuns(ChangedRuns):
    """The runs of the store protocol; `shared.ports.RunStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def finish_run(self, run: Run, rows: Sequence[Row], *, now: datetime) -> Run:
        with self._database.write() as connection:
            job = locked_job(connection, run.job)
            present = find_run(connection, run, locked=True)
            decision = finish(present, job, run, now=now)
            save(connection, present, job, decision)
            done = decision.run
            # Two generations stay: the visible one and the one before it, to compare.
            before = present.generation if present else None
            connection.execute(delete(summaries).where(of_run(summaries, run), summaries.c.generation != (before or 0)))
            connection.execute(
                insert(summaries).values(
                    job=done.job,
                    key=done.key,
                    generation=done.generation,
                    provisional=done.provisional,
                    created_at_us=to_us(now),
                    rows=json.dumps(list(rows), allow_nan=False),
                )
            )
        return done

    def get_run(self, job: str, key: str) -> Run | None:
        with self._database.read() as connection:
            row = connection.execute(select(runs).where(runs.c.job == job, runs.c.key == key)).first()
        return run_of(row._asdict()) if row else None

    def list_runs(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Run]:
        check_runs(query)
        with self._database.read() as connection:
            return [run_of(row._asdict()) for row in connection.execute(runs_statement(query, after).limit(limit))]

    def list_summaries(self, query: RunQuery, *, after: tuple[str, str] | None, limit: int) -> list[Summary]:
        check_summaries(query)
        statement = run_summaries_statement(query, after).limit(limit)
        with self._database.read() as connection:
            return [
                Summary(row.job, row.key, row.provisional, tuple(json.loads(row.rows)), from_us(row.created_at_us))
                for row in connection.execute(statement)
            ]

    def prune_runs(self, job: str, *, before_key: str, limit: int) -> int:
        old = select(runs.c.key).where(runs.c.job == job, runs.c.key < before_key, runs.c.state.in_(_ENDED))
        with self._database.write() as connection:
            locked_job(connection, job)
            keys = list(connection.execute(old.order_by(runs.c.key).limit(limit)).scalars())
            for table in (summaries, parts, runs):
                connection.execute(delete(table).where(table.c.job == job, table.c.key.in_(keys)))
        return len(keys)

    def touch_job(self, job: str, *, now: datetime) -> JobState:
        with self._database.read() as connection:
            present = find_job(connection, job)
        # Who looks takes no turn among those who write.
        if present and present.first_seen_at:
            return present
        return self._change_job(job, lambda present: seen(present, now))

    def set_paused(self, job: str, *, paused: bool, now: datetime) -> JobState:
        return self._change_job(job, lambda present: with_pause(present, paused=paused, now=now))

    def _change(self, run: Run, decide: Callable[[Run | None, JobState], Decision]) -> Decision:
        with self._database.write() as connection:
            job = locked_job(connection, run.job)
            present = find_run(connection, run, locked=True)
            decision = decide(present, job)
            save(connection, present, job, decision)
        return decision

    def _change_job(self, job_id: str, change: Callable[[JobState], JobState]) -> JobState:
        with self._database.write() as connection:
            present = locked_job(connection, job_id)
            job = change(present)
            save_job(connection, present, job)
        return job
