"""The rows of runs and of their jobs, as they are and as they stay until the transaction ends."""

from importlib import import_module
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, and_, insert, select, update

from shared.runs import JobState, Run
from shared.stores.claims import Decision
from shared.stores.run_fields import job_fields, job_of, run_fields, run_of
from shared.stores.sql.tables import job_states, runs


def of_run(table: Table, run: Run) -> ColumnElement[bool]:
    """Return the condition that a row is a run's."""
    return and_(table.c.job == run.job, table.c.key == run.key)


def find_run(connection: Connection, run: Run, *, locked: bool = False) -> Run | None:
    """Return the run of this job and key, to change it or not."""
    statement = select(runs).where(of_run(runs, run))
    row = connection.execute(statement.with_for_update() if locked else statement).first()
    return run_of(row._asdict()) if row else None


def find_job(connection: Connection, job_id: str, *, locked: bool = False) -> JobState | None:
    """Return a job, to change it or not."""
    statement = select(job_states).where(job_states.c.job == job_id)
    row = connection.execute(statement.with_for_update() if locked else statement).first()
    return job_of(row._asdict()) if row else None


def locked_job(connection: Connection, job_id: str) -> JobState:
    """Return a job, whose row is made if there is none: whoever changes its runs does so one after the other."""
    while (job := find_job(connection, job_id, locked=True)) is None:
        # One that another transaction is just inserting is waited for.
        insert_if_absent(connection, job_states, job_fields(JobState(job_id)))
    return job


def save_run(connection: Connection, present: Run | None, run: Run) -> None:
    """Write a run; `present` is what is there, locked."""
    if present is None:
        connection.execute(insert(runs).values(run_fields(run)))
    elif run != present:
        connection.execute(update(runs).where(of_run(runs, run)).values(run_fields(run)))


def save_job(connection: Connection, present: JobState, job: JobState) -> None:
    """Write a job; `present` is what is there, locked."""
    if job != present:
        connection.execute(update(job_states).where(job_states.c.job == job.job).values(job_fields(job)))


def save(connection: Connection, present: Run | None, job: JobState, decision: Decision) -> None:
    """Write what was decided about a run and its job as they are, locked."""
    if decision.changed:
        save_run(connection, present, decision.run)
        save_job(connection, job, decision.job)


def insert_if_absent(connection: Connection, table: Table, row: dict[str, Any]) -> bool:
    """Insert a row unless its key is there, and return whether it was inserted."""
    # The other database's is not imported.
    dialect = import_module(f"sqlalchemy.dialects.{connection.dialect.name}")
    key = next(iter(table.primary_key.columns))
    statement = dialect.insert(table).on_conflict_do_nothing().values(row).returning(key)
    return connection.execute(statement).first() is not None
