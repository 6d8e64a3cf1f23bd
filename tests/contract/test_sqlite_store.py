"""SQLite: the store contract, and what only a file on a disk can suffer."""

import itertools
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import child_environment
from shared.errors import ConfigurationError, UnavailableError
from shared.records import Position, ResultQuery
from shared.runs import RunQuery
from shared.stores import open_store
from shared.stores.sql.dead_letters import letters_statement
from shared.stores.sql.queries import Question, count_question, list_question, summaries_statement
from shared.stores.sql.run_lists import run_summaries_statement, runs_statement
from shared.stores.sql.tables import result_labels, results, runs
from tests.contract.factories import NOW, a_result, claim, in_parallel, some_parts
from tests.contract.store_contract import StoreContract

_OTHER_PROCESS = """
import sys
from shared.stores import open_store
from tests.contract.factories import a_result
store = open_store(sys.argv[1])
"""


@pytest.fixture
def path(tmp_path):
    """Return where the database file is to be."""
    return tmp_path / "folder" / "nightshift.db"


@pytest.fixture
def store(path):
    """Return a store in a fresh file."""
    store = open_store(f"sqlite:///{path}")
    yield store
    store.close()


class TestSqliteStore(StoreContract):
    """SQLite keeps the contract."""


def other_process(path, code, **kwargs):
    """Start a process that opens the same file and goes on with `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", _OTHER_PROCESS + code, f"sqlite:///{path}"],
        env=child_environment({}),
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def integrity(path):
    """Return what SQLite's own check says of a file, and how many results it holds."""
    connection = sqlite3.connect(path)
    try:
        check = connection.execute("PRAGMA integrity_check").fetchone()[0]
        return check, connection.execute("SELECT count(*) FROM results").fetchone()[0]
    finally:
        connection.close()


def test_an_acknowledged_result_outlives_a_killed_process(path):
    """What create_results returned for is on the disk, whatever happens to the process next."""
    code = "store.create_results([a_result(id='kept')]); print('stored', flush=True); sys.stdin.read()"
    with other_process(path, code) as process:
        assert process.stdout.readline() == "stored\n"
        process.send_signal(signal.SIGKILL)
    store = open_store(f"sqlite:///{path}")

    found = store.get_result("kept", NOW)

    assert found is not None
    assert integrity(path) == ("ok", 1)
    store.close()


def test_a_batch_cut_by_a_kill_leaves_nothing(path):
    """A process that dies inside the transaction leaves the store as it was."""
    code = """
import os, signal
class Bomb(dict):
    def items(self):
        os.kill(os.getpid(), signal.SIGKILL)
store.create_results([a_result()])
print("stored", flush=True)
store.create_results([a_result() for _ in range(400)] + [a_result(labels=Bomb())])
"""
    with other_process(path, code) as process:
        assert process.stdout.read() == "stored\n"

    assert process.returncode == -signal.SIGKILL
    assert integrity(path) == ("ok", 1)


def test_a_store_opens_again_with_what_it_held(path):
    """Opening an existing file changes nothing in it."""
    result = a_result(labels={"a": "b"})
    first = open_store(f"sqlite:///{path}")
    first.create_results([result])
    run = claim(first).run
    first.close()

    second = open_store(f"sqlite:///{path}")

    assert second.list_results(ResultQuery(label=("a", "b")), after=None, limit=9, now=NOW) == [result]
    assert second.get_run(run.job, run.key) == run
    second.close()


def test_many_openers_of_a_fresh_file_all_succeed(path):
    """Functions that start at the same moment do not fail over who makes the tables."""
    stores = in_parallel(8, lambda _: open_store(f"sqlite:///{path}"))

    for store in stores:
        store.create_results([a_result()])
        store.close()
    assert integrity(path) == ("ok", 8)


def test_a_file_that_another_process_is_just_making_is_waited_for(path):
    """The change to a write-ahead log does not wait by itself for a writer to end; opening does."""
    path.parent.mkdir()
    maker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, maker.execute, ["COMMIT"])
    release.start()

    store = open_store(f"sqlite:///{path}")

    release.join()
    maker.close()
    store.create_results([a_result()])
    store.close()
    assert integrity(path) == ("ok", 1)


@pytest.mark.parametrize("name", ["a?b.db", "a#b%41.db", "a b;c.db", "ü.db"])
def test_any_file_name_is_taken_as_it_is(tmp_path, name):
    """The path is a path, not a part of a URL with a meaning of its own."""
    open_store(f"sqlite:///{tmp_path}/{name}").close()

    assert [found.name for found in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///", "sqlite:///:memory:", "mysql:///x", "/tmp/x.db"])
def test_a_url_that_names_no_store_is_refused(url):
    """A database that would be lost or different for every connection is no store."""
    with pytest.raises(ConfigurationError, match="STORE_URL: expected sqlite:///path"):
        open_store(url)


@pytest.mark.parametrize(
    "content", [b"this is not a database, but it is long enough to be read as the header of one" * 20, b"short"]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(path, content):
    """Somebody's file is never written over."""
    path.parent.mkdir()
    path.write_bytes(content)

    with pytest.raises(ConfigurationError, match="not a database"):
        open_store(f"sqlite:///{path}")

    assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_database_is_refused_and_left_alone(path):
    """A file whose pages are torn is for a person to look at."""
    store = open_store(f"sqlite:///{path}")
    store.create_results([a_result() for _ in range(50)])
    store.close()
    with path.open("r+b") as file:
        file.seek(16)
        file.write(b"\xff" * 3000)
    torn = path.read_bytes()

    with pytest.raises(ConfigurationError, match="STORE_URL: the SQLite file cannot be used"):
        open_store(f"sqlite:///{path}")

    assert path.read_bytes() == torn


def test_a_path_below_a_file_is_refused(tmp_path):
    """A folder that cannot be made is named as the store's problem, not as a crash."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigurationError, match="STORE_URL: the SQLite file cannot be used"):
        open_store(f"sqlite:///{tmp_path}/file/x.db")


def test_a_folder_that_may_not_be_written_is_refused():
    """Reading is not enough: a store that cannot keep anything refuses to start."""
    # pytest's own folders are closed to the user that root turns into below.
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        code = f"""
import os, sys
sys.dont_write_bytecode = True
from shared.stores.sql import sqlite
if os.getuid() == 0:
    os.setgid(65534); os.setuid(65534)
from shared.errors import ConfigurationError
try:
    sqlite.open_sqlite(sqlite.Path({name!r}) / "x.db")
except ConfigurationError as error:
    print(error.problems)
"""
        answer = subprocess.run(
            [sys.executable, "-c", code], env=child_environment({}), capture_output=True, text=True, check=True
        )

    assert answer.stdout == "['STORE_URL: the SQLite file cannot be used: unable to open database file']\n"


def test_a_locked_store_is_unavailable_and_then_works(store, path, monkeypatch):
    """Another process that holds the write lock costs a wait and a 503; readers do not wait at all."""
    store.close()
    monkeypatch.setattr("shared.stores.sql.sqlite._BUSY_TIMEOUT_MS", 150)
    impatient = open_store(f"sqlite:///{path}")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")

    with pytest.raises(UnavailableError) as raised:
        impatient.create_results([a_result()])
    reader = open_store(f"sqlite:///{path}")
    seen = reader.count_results(ResultQuery())
    blocker.execute("COMMIT")
    blocker.close()
    impatient.create_results([a_result()])

    assert (raised.value.reason, raised.value.headers) == ("STORE_UNAVAILABLE", {"Retry-After": "1"})
    assert (seen, reader.count_results(ResultQuery())) == (0, 1)
    impatient.close()
    reader.close()


def test_writers_of_one_process_take_turns_and_wait_for_so_long(store, monkeypatch):
    """Whoever waits too long for a turn is told, and has not kept the next one from it."""
    monkeypatch.setattr("shared.stores.sql.sqlite._TURN_SECONDS", 0.05)
    with store._database.write(), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(store.create_results, [a_result()])
        error = waiting.exception(timeout=20)

    (stored,) = store.create_results([a_result()])

    assert isinstance(error, UnavailableError)
    assert (error.reason, error.headers) == ("STORE_UNAVAILABLE", {"Retry-After": "1"})
    assert not stored.replayed
    assert store.count_results(ResultQuery()) == 1


def test_a_fresh_file_that_is_locked_is_unavailable(path, monkeypatch):
    """A store that another process is just making is not misconfigured."""
    monkeypatch.setattr("shared.stores.sql.sqlite._BUSY_TIMEOUT_MS", 50)
    path.parent.mkdir()
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("PRAGMA journal_mode = WAL").close()
    blocker.execute("BEGIN IMMEDIATE")

    with pytest.raises(UnavailableError) as raised:
        open_store(f"sqlite:///{path}")

    assert raised.value.reason == "STORE_UNAVAILABLE"
    blocker.close()


def test_a_wait_for_the_lock_ends_when_it_is_given_back(store, path):
    """A short lock is waited for, not reported."""
    blocker = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    blocker.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, blocker.execute, ["COMMIT"])
    release.start()

    (stored,) = store.create_results([a_result()])

    release.join()
    blocker.close()
    assert not stored.replayed


def test_a_full_disk_keeps_no_half_of_anything(path):
    """Without room a create says STORE_FULL, nothing of it stays, and with room again the same call works."""
    code = """
import resource
from shared.errors import UnavailableError
batch = [a_result(instances="[" + "1," * 20_000 + "1]") for _ in range(40)]
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
try:
    store.create_results(batch)
except UnavailableError as error:
    print(error.reason, error.headers["Retry-After"])
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
from shared.records import ResultQuery
print(store.count_results(ResultQuery()), len(store.create_results(batch)), store.count_results(ResultQuery()))
store.close()
"""
    with other_process(path, code) as process:
        assert process.stdout.read().splitlines() == ["STORE_FULL 60", "0 40 40"]

    assert integrity(path) == ("ok", 40)


def test_a_disk_too_full_for_the_tables_is_unavailable(path):
    """Making the file is no configuration problem when there is no room for it."""
    path.parent.mkdir()
    code = """
import resource, sys
from shared.stores import open_store
from shared.errors import UnavailableError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
try:
    open_store(sys.argv[1])
except UnavailableError as error:
    print(error.reason)
"""
    answer = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{path}"],
        env=child_environment({}),
        capture_output=True,
        text=True,
        check=True,
    )

    assert answer.stdout == "STORE_FULL\n"


def test_every_commit_reaches_the_disk(store):
    """The settings durability rests on: a write-ahead log that is synced at each commit."""
    with store._database.read() as connection:
        read = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")}

    assert read == {"journal_mode": "wal", "synchronous": 2}


def _plan(store, asked):
    statement = asked.statement.params(asked.values) if isinstance(asked, Question) else asked
    text = str(statement.compile(dialect=store._database._reading.dialect, compile_kwargs={"literal_binds": True}))
    with store._database.read() as connection:
        return [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]


def _result_statements():
    position = Position(NOW, "a")
    for model, version, label, since, until, order in itertools.product(
        (None, "m"), (None, "1"), (None, ("a", "b")), (None, NOW), (None, NOW), ("desc", "asc")
    ):
        if version is None or model:
            query = ResultQuery(model, version, since, until, label, order)
            table = "labels" if label else "results"
            index = f"{table}_by_" + ("version" if version else "model" if model else "time")
            yield index, list_question(query, None, 50, NOW)
            yield index, list_question(query, position, 50, NOW)
    yield "results_by_time", summaries_statement((0, ""), 1)


def test_every_list_of_results_walks_the_index_made_for_it(store):
    """Each shape of query is one range of one index, already in order: nothing is scanned or sorted."""
    with store._database.write() as connection:
        # Of indexes that seem as good SQLite takes the oldest: here one that knows no version.
        for index in {*results.indexes, *result_labels.indexes}:
            if str(index.name).endswith("_by_version"):
                index.drop(connection)
                index.create(connection)

    plans = [(index, _plan(store, statement)) for index, statement in _result_statements()]

    assert [plan for index, plan in plans if f"INDEX {index}" not in plan[0]] == []
    assert [plan for _, plan in plans if "TEMP B-TREE" in " ".join(plan)] == []
    assert {plan[0].split(" ")[0] for index, plan in plans if not index.endswith("_time")} == {"SEARCH"}


def test_counting_never_reads_a_result(store):
    """Counts come from an index alone."""
    shapes = itertools.product((None, "m"), (None, NOW), (None, ("a", "b")))
    plans = [_plan(store, count_question(ResultQuery(m, None, since, None, label))) for m, since, label in shapes]

    assert [plan for plan in plans if len(plan) != 1 or "COVERING INDEX" not in plan[0]] == []


def test_every_list_of_runs_walks_an_index(store):
    """Newest first and then by job needs no sort, with every filter and beyond any position."""
    plans = [
        _plan(store, make(RunQuery(job, since, until), after).limit(50))
        for make in (runs_statement, run_summaries_statement)
        for job, since, until, after in itertools.product((None, "j"), (None, "1"), (None, "2"), (None, ("1", "j")))
    ]

    assert [plan for plan in plans if "INDEX" not in plan[0] or "TEMP B-TREE" in " ".join(plan)] == []


def test_every_list_of_runs_in_one_state_walks_the_index_made_for_it(store):
    """Both ways: the few that wait are found without those that ended."""
    with store._database.write() as connection:
        # Of indexes that seem as good SQLite takes the oldest: here the one that knows no state.
        (by_state,) = [index for index in runs.indexes if index.name == "runs_by_state"]
        by_state.drop(connection)
        by_state.create(connection)
    plans = [
        _plan(store, runs_statement(RunQuery("j", since, until, "queued", oldest_first), after).limit(50))
        for oldest_first, since, until, after in itertools.product(
            (False, True), (None, "1"), (None, "2"), (None, ("1", "j"), ("1", "a"), ("1", "z"))
        )
    ]

    assert [plan for plan in plans if len(plan) != 1 or "SEARCH runs USING INDEX runs_by_state" not in plan[0]] == []


def test_dead_letters_are_listed_along_an_index(store):
    """Newest first and then by id needs no sort."""
    plans = [_plan(store, letters_statement(after).limit(50)) for after in (None, (NOW, "a"))]

    assert [plan for plan in plans if len(plan) != 1 or "INDEX dead_letters_by_time" not in plan[0]] == []


def test_what_a_run_wrote_is_gone_with_it(store):
    """Rows that nobody sees would fill the database all the same."""
    for count in (3, 2):
        run = store.plan_parts(claim(store, reprocess="completed").run, some_parts(count))
        store.finish_run(run, [{}], now=NOW)
    tables = ("runs", "summaries", "parts")

    def sizes():
        with store._database.read() as connection:
            return [connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar() for name in tables]

    before = sizes()
    store.prune_runs("nightly", before_key="3", limit=9)

    assert (before, sizes()) == ([1, 2, 2], [0, 0, 0])


def test_two_processes_storing_one_id_keep_one_row(store, path):
    """The lock is the file's, not the process's."""
    result = a_result(id="shared-id", payload_hash="h")
    code = "print(store.create_results([a_result(id='shared-id', payload_hash='h')])[0].replayed)"
    with other_process(path, code) as process:
        (mine,) = store.create_results([replace(result)])
        theirs = process.stdout.read().strip() == "True"

    assert {mine.replayed, theirs} == {True, False}
    assert store.count_results(ResultQuery()) == 1
