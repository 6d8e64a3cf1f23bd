"""Parts of runs in Firestore: documents below the run's, of the plan that the run's own document names."""

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from google.cloud.firestore import WriteBatch

from shared.errors import ServiceError, UnavailableError
from shared.runs import Part, Run
from shared.stores.claims import Decision
from shared.stores.firestore.changes import Change, Found, change_run, reference_of, rounds, writing
from shared.stores.firestore.client import Database, Document
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.run_documents import part_id
from shared.stores.firestore.shapes import FIELDS, Direction, build_query
from shared.stores.outcomes import failed_part, finished_part, no_such_part, plan
from shared.stores.part_fields import part_fields, part_of

_MAX_PARTIAL_BYTES = 900 * 1024
_ORDER: tuple[tuple[str, Direction], ...] = (("plan", "ASCENDING"), ("part_index", "ASCENDING"))
_BUT_PARTIAL = tuple(field for field in FIELDS["parts"] if field != "partial")
_PARTS_AT_ONCE, _PAGE_CHARS = 500, 4_000_000


class FirestoreParts:
    """The parts of the store protocol; `shared.ports.PartStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan_parts(self, run: Run, parts: Sequence[Part]) -> Run:
        reference = reference_of(self._database, run)

        def decide(found: Found, deadline: Deadline) -> Change:
            planned = plan(found.run, run, len(parts))
            before = {part.reference for part in parts_below(self._database, reference, deadline, fields=("plan",))}
            new = {_reference(reference, planned.plan, part.index): part for part in parts}

            def add(batch: WriteBatch) -> None:
                for old in before - set(new):
                    batch.delete(old)
                for part_reference, part in new.items():
                    batch.set(part_reference, {**part_fields(part), "plan": planned.plan, "write_id": ""})

            return Change(Decision(planned, found.job), add=add)

        return change_run(self._database, run, decide).run

    def list_parts(self, run: Run, *, partials: bool) -> list[Part]:
        reference, deadline = reference_of(self._database, run), Deadline()
        if not self._is_planned(run, deadline):
            return []
        fields = FIELDS["parts"] if partials else _BUT_PARTIAL
        found = parts_below(self._database, reference, deadline, fields=fields, plan=run.plan)
        return [part_of(document.fields) for document in found]

    def get_part(self, run: Run, index: int) -> Part | None:
        found = self._find_part(run, index, Deadline())
        return part_of(found.fields) if found else None

    def finish_part(self, run: Run, part: Part) -> bool:
        size_bytes = len((part.partial or "").encode())
        if size_bytes > _MAX_PARTIAL_BYTES:
            raise ServiceError(
                f"part {part.index} of a run: expected at most {_MAX_PARTIAL_BYTES} bytes of JSON, got {size_bytes}",
                reason="PARTIAL_TOO_LARGE",
            )
        return self._change_part(run, part.index, lambda present: finished_part(present, part))[1]

    def fail_part(self, run: Run, index: int, error: str) -> Part:
        return self._change_part(run, index, lambda present: failed_part(present, error))[0]

    def open_parts(self, run: Run) -> int:
        deadline = Deadline()
        if run.plan is None or not self._is_planned(run, deadline):
            return 0
        parts = reference_of(self._database, run).collection("parts")
        # Counted along an index: a counter in the run's document would be written by all of them at once.
        return self._database.count(build_query(parts, {"done": False}, _ORDER, run.plan, run.plan + 1), deadline)

    def _change_part(self, run: Run, index: int, change: Callable[[Part], Part]) -> tuple[Part, bool]:
        """Change a part that is not done, and return it as it is then, and whether this call changed it."""
        write_id, deadline = secrets.token_hex(8), Deadline()
        for _ in rounds():
            found = self._find_part(run, index, deadline)
            if found is None:
                raise no_such_part(run, index)
            present = part_of(found.fields)
            if found.fields["write_id"] == write_id:
                return present, True  # by an earlier round, whose answer was lost
            if present.done:
                return present, False
            changed = change(present)
            fields = {**part_fields(changed), "write_id": write_id}
            if self._database.commit(deadline, writing(found.reference, found, fields)):
                return changed, True
        raise UnavailableError("the part is being changed by others", reason="STORE_BUSY")

    def _find_part(self, run: Run, index: int, deadline: Deadline) -> Document | None:
        """Return a part of a plan that is still the run's, without its partial."""
        if run.plan is None:
            return None
        here = reference_of(self._database, run)
        part = _reference(here, run.plan, index)
        found = {each.reference: each for each in self._database.get([here, part], deadline, field_paths=_BUT_PARTIAL)}
        planned = here in found and found[here].fields.get("plan") == run.plan
        return found.get(part) if planned else None

    def _is_planned(self, run: Run, deadline: Deadline) -> bool:
        found = self._database.get([reference_of(self._database, run)], deadline, field_paths=("plan",))
        return run.plan is not None and bool(found) and found[0].fields.get("plan") == run.plan


def parts_below(
    database: Database, run: Any, deadline: Deadline, *, fields: Sequence[str], plan: int | None = None
) -> list[Document]:
    """Return the parts below a run's document by plan and index, those of one plan or all.

    Args:
        run: The reference of the run's document.
        fields: What to read of each.
        plan: The only plan whose; None: all there ever were.
    """
    until = None if plan is None else plan + 1
    query = build_query(run.collection("parts"), {}, _ORDER, plan, until).select([*{"plan", "part_index", *fields}])
    found: list[Document] = []
    are_more = True
    while are_more:
        last = found[-1].fields if found else None
        rest = query.start_after({"plan": last["plan"], "part_index": last["part_index"]}) if last else query
        page, are_more = database.page(rest, _PARTS_AT_ONCE, deadline, _PAGE_CHARS)
        found += page
    return found


def _reference(run: Any, plan: int | None, index: int) -> Any:
    return run.collection("parts").document(part_id(plan or 0, index))
