"""Kills a process before its first statement to SQLite, its second, its third, until one gets through.

Run as `python -m tests.faults.statements FOLDER`, it prints what each of them left behind, a line of JSON each. All are
forked from here, where everything is imported and no database is open, so that a process costs milliseconds.
"""

import hashlib
import itertools
import json
import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event

from shared.ports import ResultStore
from shared.records import Result, ResultQuery
from shared.stores import open_results
from shared.stores.sql import sqlite  # noqa: F401, what a fork need not import again
from tests.contract.factories import NOW, a_result

_LABEL = ("night", "1")


def _numbered(number: int, instances: str = "[[1]]") -> Result:
    payload_hash = hashlib.sha256(str(number).encode()).hexdigest()
    return a_result(id=f"result-{number}", instances=instances, payload_hash=payload_hash, labels=dict([_LABEL]))


# What one process stores, call by call: one result, a batch, one whose payload lies in an object, and one more.
CALLS = (
    [_numbered(0)],
    [_numbered(1), _numbered(2), _numbered(3)],
    [_numbered(4, f'"{"x" * 1_000_000}"'), _numbered(5)],
    [_numbered(6)],
)


def _open(folder: Path) -> ResultStore:
    return open_results(f"sqlite:///{folder}/nightshift.db", f"file://{folder}/objects")


def _store_all(folder: Path, statements: int, acknowledge: Callable[[int], None]) -> None:
    """Store everything, unless the process is killed before its statement of this number.

    Commits count, and so does what comes after them, when nobody has been told yet.
    """
    left = itertools.count(statements - 1, -1)

    def count(*_: Any) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "commit", "checkin"):
        event.listen(Engine, name, count)
    store = _open(folder)
    for number, results in enumerate(CALLS):
        store.create_results(results)
        acknowledge(number)


def _look(folder: Path, tell: Callable[[Any], None]) -> None:
    """Tell what a new process finds in the file, and what comes of storing everything again."""
    store = _open(folder)
    with closing(sqlite3.connect(folder / "nightshift.db")) as connection:
        tell(connection.execute("PRAGMA integrity_check").fetchone()[0])
    tell([[_state(store, result) for result in results] for results in CALLS])
    tell(sorted(_ids(store, ResultQuery(label=_LABEL))) == sorted(_ids(store, ResultQuery())))
    tell([[stored.replayed for stored in store.create_results(results)] for results in CALLS])
    tell([_state(store, result) for results in CALLS for result in results])
    tell(store.count_results(ResultQuery()))
    store.close()


def _state(store: ResultStore, sent: Result) -> str:
    found = store.get_result(sent.id, NOW)
    return "none" if found is None else "whole" if found == sent else "changed"


def _ids(store: ResultStore, query: ResultQuery) -> Sequence[str]:
    return [result.id for result in store.list_results(query, after=None, limit=100, now=NOW, payloads=False)]


def _in_a_process(work: Callable[[Callable[[Any], None]], None]) -> tuple[int, list[Any]]:
    """Return how a forked process ended, and what it told before."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            work(lambda value: os.write(writing, json.dumps(value).encode() + b"\n") and None)
            os._exit(0)
        except BaseException as error:
            sys.stderr.write(f"{error!r}\n")
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        told = [json.loads(line) for line in pipe]
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), told


def main(root: Path) -> None:
    """Print, for each statement, what a process left that was killed before it, and what a new one found."""
    for statement in itertools.count(1):
        folder = root / str(statement)
        ended, acknowledged = _in_a_process(lambda tell: _store_all(folder, statement, tell))  # noqa: B023
        looked, found = _in_a_process(lambda tell: _look(folder, tell))  # noqa: B023
        sys.stdout.write(json.dumps([ended, acknowledged, looked, found]) + "\n")
        sys.stdout.flush()  # what is left in it would be printed by every fork
        if ended != -signal.SIGKILL:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]))
