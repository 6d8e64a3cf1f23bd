"""Dead letters in SQL: one row each."""

from datetime import datetime
from typing import Any

from sqlalchemy import Select, or_, select

from shared.runs import DeadLetter
from shared.stores.letter_fields import letter_fields, letter_of
from shared.stores.moments import to_us
from shared.stores.sql.engine import Database
from shared.stores.sql.run_rows import insert_if_absent
from shared.stores.sql.tables import dead_letters


class SqlDeadLetters:
    """The dead letters of the store protocol; `shared.ports.DeadLetterStore` says what each method does."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record_dead_letter(self, letter: DeadLetter) -> bool:
        with self._database.write() as connection:
            return insert_if_absent(connection, dead_letters, letter_fields(letter))

    def list_dead_letters(self, *, after: tuple[datetime, str] | None, limit: int) -> list[DeadLetter]:
        with self._database.read() as connection:
            rows = connection.execute(letters_statement(after).limit(limit))
            return [letter_of(row._asdict()) for row in rows]


def letters_statement(after: tuple[datetime, str] | None) -> Select[Any]:
    """Return the statement that lists dead letters, newest first and then by id: one range of one index."""
    own = dead_letters.c
    statement = select(dead_letters)
    if after:
        received_at_us = to_us(after[0])
        statement = statement.where(
            own.received_at_us <= received_at_us, or_(own.received_at_us < received_at_us, own.id > after[1])
        )
    return statement.order_by(own.received_at_us.desc(), own.id)
