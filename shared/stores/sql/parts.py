"""Parts of runs in SQL: one row each, of the plan that the run's own row names."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, insert, select, update

from shared.runs import Part, Run
from shared.stores.outcomes import failed_part, finished_part, no_such_part, plan
from shared.stores.part_fields import part_fields, part_of
from shared.stores.sql.engine import Database
from shared.stores.sql.run_rows import find_run, of_run, save_run
from shared.stores.sql.tables import parts, runs

_BUT_PARTIAL = [column for column in parts.c if column.name != "partial"]


class SqlParts:
    """The parts of the store protocol; `shared.ports.PartStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan_parts(self, run: Run, new: Sequence[Part]) -> Run:
        with self._database.write() as connection:
            present = find_run(connection, run, locked=True)
            planned = plan(present, run, len(new))
            save_run(connection, present, planned)
            connection.execute(delete(parts).where(of_run(parts, run)))
            if new:
                of_plan = {"job": run.job, "key": run.key, "plan": planned.plan}
                connection.execute(insert(parts), [{**of_plan, **part_fields(part)} for part in new])
        return planned

    def list_parts(self, run: Run, *, partials: bool) -> list[Part]:
        statement = _of_plan(select(*(parts.c if partials else _BUT_PARTIAL)), run).order_by(parts.c.part_index)
        with self._database.read() as connection:
            return [part_of(row._asdict()) for row in connection.execute(statement)]

    def get_part(self, run: Run, index: int) -> Part | None:
        with self._database.read() as connection:
            return _find(connection, run, index)

    def finish_part(self, run: Run, part: Part) -> bool:
        with self._database.write() as connection:
            present = _locked(connection, run, part.index)
            if present.done:
                return False
            _save(connection, run, finished_part(present, part))
        return True

    def fail_part(self, run: Run, index: int, error: str) -> Part:
        with self._database.write() as connection:
            present = _locked(connection, run, index)
            if present.done:
                return present
            failed = failed_part(present, error)
            _save(connection, run, failed)
        return failed

    def open_parts(self, run: Run) -> int:
        statement = _of_plan(select(func.count()).select_from(parts), run).where(parts.c.done.is_(False))
        with self._database.read() as connection:
            return int(connection.execute(statement).scalar_one())


def _of_plan(statement: Select[Any], run: Run) -> Select[Any]:
    """Narrow a question to the parts of a plan that is still the run's."""
    return statement.join(runs, and_(of_run(runs, run), runs.c.plan == parts.c.plan)).where(*_is_planned(run))


def _is_planned(run: Run) -> tuple[ColumnElement[bool], ...]:
    return of_run(parts, run), parts.c.plan == run.plan


def _find(connection: Connection, run: Run, index: int, *, locked: bool = False) -> Part | None:
    statement = _of_plan(select(*_BUT_PARTIAL), run).where(parts.c.part_index == index)
    row = connection.execute(statement.with_for_update(of=parts) if locked else statement).first()
    return part_of(row._asdict()) if row else None


def _locked(connection: Connection, run: Run, index: int) -> Part:
    found = _find(connection, run, index, locked=True)
    if found is None:
        raise no_such_part(run, index)
    return found


def _save(connection: Connection, run: Run, part: Part) -> None:
    values: Mapping[str, Any] = part_fields(part)
    connection.execute(update(parts).where(*_is_planned(run), parts.c.part_index == part.index).values(values))
