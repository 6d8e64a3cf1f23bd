"""Dead letters in Firestore: one document each, named by its id's hash, since anything may be in an id."""

import hashlib
import secrets
from datetime import datetime

from shared.runs import DeadLetter
from shared.stores.firestore.client import Database
from shared.stores.firestore.deadline import Deadline
from shared.stores.firestore.shapes import LETTER_SHAPES, build_query
from shared.stores.letter_fields import letter_fields, letter_of
from shared.stores.moments import to_us

_LETTERS_AT_ONCE, _PAGE_CHARS = 1000, 4_000_000


class FirestoreDeadLetters:
    """The dead letters of the store protocol; `shared.ports.DeadLetterStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_dead_letter(self, letter: DeadLetter) -> bool:
        write_id, deadline = secrets.token_hex(8), Deadline()
        fields = {**letter_fields(letter), "write_id": write_id}
        name = hashlib.sha256(fields["id"].encode()).hexdigest()
        reference = self._database.collection("dead_letters").document(name)
        if self._database.commit(deadline, lambda batch: batch.create(reference, fields)):
            return True
        found = self._database.get([reference], deadline, field_paths=("write_id",))
        # A create whose answer was lost finds its own.
        return bool(found) and found[0].fields["write_id"] == write_id

    def list_dead_letters(self, *, after: tuple[datetime, str] | None, limit: int) -> list[DeadLetter]:
        deadline = Deadline()
        query = build_query(self._database.collection("dead_letters"), {}, LETTER_SHAPES[0].order)
        place = {"received_at_us": to_us(after[0]), "id": after[1]} if after else None
        found: list[DeadLetter] = []
        are_more = limit > 0
        while are_more and len(found) < limit:
            size = min(limit - len(found), _LETTERS_AT_ONCE)
            rest = query.start_after(place) if place else query
            page, are_more = self._database.page(rest, size, deadline, _PAGE_CHARS)
            found += [letter_of(document.fields) for document in page]
            place = {name: page[-1].fields[name] for name in ("received_at_us", "id")} if page else place
        return found
