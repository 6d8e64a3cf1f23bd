"""Migrations: what a database becomes, by the command or by opening it, and what is refused."""

import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from shared.config import ROOT, child_environment
from shared.errors import ConfigurationError
from shared.runs import JobState, RunQuery
from shared.stores import open_store
from shared.stores.__main__ import main
from shared.stores.moments import to_us
from shared.stores.sql import migrate
from shared.stores.sql.revision import COMMAND, NEWEST, REVISIONS
from shared.stores.sql.tables import metadata
from tests.contract.factories import LEASE, NOW, a_result, a_run, claim, in_parallel

pytestmark = pytest.mark.xdist_group("postgresql")

_FOLDER = ROOT / "shared/stores/sql/migrations"
# What each revision's tables can hold that the first had room for.
_RESULT = {
    "id": "kept",
    "created_at_us": 5,
    "model": "digits",
    "version": "1",
    "payload_hash": "hash",
    "summary": '{"count":1}',
    "request_id": "r",
    "labels": '{"a": "b"}',
    "instances": "[[1]]",
    "predictions": "[2]",
}
_RUN = {
    "job": "nightly",
    "key": "2026-11-21",
    "interval_start_us": to_us(NOW) - 86_400_000_000,
    "interval_end_us": to_us(NOW),
    "time_zone": "Etc/UTC",
    "trigger": "schedule",
    "params": '{"a": 1}',
    "state": "running",
    "provisional": False,
    "attempt": 2,
    "fence": 5,
    "lease_expires_at_us": to_us(NOW + LEASE),
    "generation": 4,
    "output": "{}",
    "created_at_us": to_us(NOW),
}
_SUMMARY = {
    "job": "nightly",
    "key": "2026-11-21",
    "generation": 4,
    "provisional": False,
    "created_at_us": 5,
    "rows": '[{"n": 1}]',
}
_LABEL = {"result_id": "kept", "pair": "a=b", "model": "digits", "version": "1", "created_at_us": 5}


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """Return the STORE_URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/x.db"
        return
    server = request.getfixturevalue("running_postgresql")
    name = server.new_database("template0")
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def engine(url):
    """Return an engine of the database's own, without anything of ours."""
    engine = create_engine(url)
    yield engine
    engine.dispose()


def differences(engine):
    """Return what parts a database from the tables as the code knows them, collations and kinds of index included."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return compare_metadata(context, metadata)


def indexes(engine):
    """Return every index and column as the database itself describes them."""
    statement = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
        if engine.dialect.name == "sqlite"
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "UNION ALL SELECT table_name || '.' || column_name, data_type || coalesce(collation_name, '') "
        "|| is_nullable || coalesce(character_maximum_length, 0) "
        "FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1"
    )
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement))]


def run_to(engine, revision):
    """Bring a database to one revision, as the code of that time did."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        migrate.command.upgrade(config, revision)


def insert(engine, table, row):
    """Insert a row as any client may."""
    names = ", ".join(row)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({names}) VALUES (:{', :'.join(row)})"), row)


def test_the_code_knows_every_revision_there_is():
    """The list in the code, which needs no Alembic to be read, is the chain of the files."""
    config = Config()
    config.set_main_option("script_location", str(_FOLDER))

    chain = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]

    assert tuple(reversed(chain)) == REVISIONS


def test_from_nothing_the_tables_are_as_the_code_knows_them(url, engine, tmp_path):
    """One by one the revisions lead to exactly what create_all makes at once."""
    run_to(engine, NEWEST)
    at_once = create_engine(f"sqlite:///{tmp_path}/at-once.db" if "sqlite" in url else url)

    found = differences(engine), indexes(engine)

    with at_once.begin() as connection:
        metadata.drop_all(connection)
        metadata.create_all(connection)
    # PostgreSQL shows the version table of Alembic as well, in both.
    assert found == ([], indexes(at_once))
    at_once.dispose()


def test_a_difference_would_be_noticed(url, engine):
    """The comparison itself works."""
    run_to(engine, NEWEST)
    with engine.begin() as connection:
        connection.execute(text("DROP INDEX results_by_time"))

    assert differences(engine) != []


@pytest.mark.parametrize("revision", REVISIONS)
def test_what_a_database_held_at_any_revision_is_kept(url, engine, revision):
    """Up from each revision there was, rows are found again by the newest code."""
    run_to(engine, revision)
    insert(engine, "results", _RESULT)
    insert(engine, "result_labels", _LABEL)

    assert main(["migrate", "--url", url]) == 0

    store = open_store(url)
    found = store.get_result("kept", NOW)
    store.close()
    assert (found.instances, found.predictions, dict(found.labels), found.payload_object) == (
        *("[[1]]", "[2]"),
        *({"a": "b"}, None),
    )
    assert differences(engine) == []


@pytest.mark.parametrize("revision", REVISIONS[:2])
def test_runs_from_before_they_waited_go_on(url, engine, revision):
    """Who is under way keeps the run and takes up room, what ended is ended, and jobs are known since their first."""
    run_to(engine, revision)
    ended = {"state": "success", "lease_expires_at_us": None}
    insert(engine, "runs", _RUN)
    insert(engine, "runs", {**_RUN, **ended, "key": "2026-11-20", "created_at_us": to_us(NOW - LEASE)})
    insert(engine, "runs", {**_RUN, **ended, "job": "drift", "state": "queued", "fence": 1})
    insert(engine, "summaries", _SUMMARY)

    assert main(["migrate", "--url", url]) == 0

    store = open_store(url)
    jobs = [store.touch_job(job, now=NOW + LEASE) for job in ("nightly", "drift")]
    held = store.get_run("nightly", "2026-11-21")
    answers = [claim(store), claim(store, a_run("2026-11-20")), claim(store, a_run("2026-11-19"), max_active=1)]
    waiting = claim(store, a_run(job="drift"))
    summaries = store.list_summaries(RunQuery(job="nightly"), after=None, limit=9)
    done = store.finish_run(held, [{"n": 2}], now=NOW)
    store.close()
    assert jobs == [JobState("nightly", NOW - LEASE, None, {"2026-11-21": NOW + LEASE}), JobState("drift", NOW)]
    assert (held.attempts, held.parts, held.plan, held.code_version) == ((), 0, None, "")
    assert [answer.refusal for answer in answers] == ["running", "ended", "max-active"]
    assert (waiting.granted, waiting.run.attempt, waiting.run.fence) == (True, 3, 2)
    assert [summary.rows for summary in summaries] == [({"n": 1},)]
    assert (done.state, done.generation, done.attempts) == ("success", 5, ())


def test_the_command_says_what_it_did_and_may_run_again(url, capsys):
    """First it makes the tables, then it has nothing to do; status agrees before and after."""
    statuses = [main([command, "--url", url]) for command in ("status", "migrate", "migrate", "status")]

    said = capsys.readouterr().out.splitlines()
    assert statuses == [1, 0, 0, 0]
    assert [re.sub(r"^\S+: ", "", line) for line in said] == [
        f"no tables, newest {NEWEST}",
        f"missing {', '.join(REVISIONS)}: run `{COMMAND}`",
        f"brought from nothing to {NEWEST}",
        f"at {NEWEST} already, nothing to do",
        f"at {NEWEST}, newest {NEWEST}",
    ]
    assert "correct" not in "".join(said)


def test_commands_at_the_same_time_make_the_tables_once(url):
    """A deployment that runs it in several places does no harm."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "shared.stores", "migrate"],
            env=child_environment({"STORE_URL": url}),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]

    said = [process.communicate(timeout=60)[0] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], said
    store = open_store(url)
    store.create_results([a_result()])
    store.close()


def test_migrations_at_the_same_time_wait_for_each_other(running_postgresql):
    """One makes the tables, the others find them made."""
    name = running_postgresql.new_database("template0")

    answers = in_parallel(6, lambda _: main(["migrate", "--url", running_postgresql.url(name)]))

    assert answers == [0] * 6
    assert running_postgresql.execute("SELECT version_num FROM alembic_version", name) == [(NEWEST,)]
    running_postgresql.drop(name)


@pytest.mark.parametrize("revision", [None, *REVISIONS[:-1]])
def test_postgresql_that_is_not_at_the_newest_names_the_command(running_postgresql, revision):
    """A function makes no tables: it should hold no right to."""
    name = running_postgresql.new_database("template0")
    if revision:
        engine = create_engine(running_postgresql.url(name))
        run_to(engine, revision)
        engine.dispose()

    with pytest.raises(ConfigurationError, match=re.escape(COMMAND)) as raised:
        open_store(running_postgresql.url(name))

    assert (revision or "are not there") in str(raised.value)
    running_postgresql.drop(name)


def test_tables_of_a_newer_revision_are_refused_and_left_alone(url, engine, capsys):
    """Old code must not write into what it does not know."""
    main(["migrate", "--url", url])
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(ConfigurationError, match="revision 9999, newer than this code"):
        open_store(url)
    statuses = [main([command, "--url", url]) for command in ("migrate", "status")]

    assert statuses == [2, 2]
    assert "newer than this code" in capsys.readouterr().err


def test_a_migration_that_fails_leaves_what_was(running_postgresql, capsys):
    """A table of somebody else's is in the way: nothing is made beside it."""
    name = running_postgresql.new_database("template0")
    running_postgresql.execute("CREATE TABLE summaries (theirs int)", name)

    status = main(["migrate", "--url", running_postgresql.url(name)])

    tables = running_postgresql.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'", name)
    assert (status, tables) == (2, [("summaries",)])
    assert "a table of this name is there already" in capsys.readouterr().err
    running_postgresql.drop(name)


def test_a_database_that_is_not_in_utf8_is_refused(running_postgresql, capsys):
    """Half of all letters could not be kept."""
    running_postgresql.execute("CREATE DATABASE latin ENCODING latin1 LOCALE 'C' TEMPLATE template0")

    status = main(["migrate", "--url", running_postgresql.url("latin")])

    assert (status, "expected a database in UTF8, got LATIN1" in capsys.readouterr().err) == (2, True)
    running_postgresql.drop("latin")


def test_a_file_from_before_there_were_revisions_is_brought_up_when_opened(tmp_path):
    """Its tables are those of the first, without a stamp; what it held is there, and it opens again."""
    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    run_to(engine, REVISIONS[0])
    insert(engine, "results", _RESULT)
    insert(engine, "result_labels", _LABEL)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))

    for _ in range(2):
        store = open_store(f"sqlite:///{path}")
        assert store.get_result("kept", NOW).labels == {"a": "b"}
        assert store.create_results([a_result()])[0].replayed is False
        store.close()

    assert differences(engine) == []
    engine.dispose()


def test_many_openers_of_an_old_file_bring_it_up_once(tmp_path):
    """Functions that start together on a laptop all find it ready."""
    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    run_to(engine, REVISIONS[0])
    engine.dispose()

    stores = in_parallel(6, lambda _: open_store(f"sqlite:///{path}"))

    for store in stores:
        claim(store)
        store.close()


_OPEN_WITHOUT_ALEMBIC = """
import sys
sys.modules["alembic"] = None
from shared.runs import JobState, RunQuery
from shared.stores import open_store
from shared.errors import ConfigurationError
try:
    open_store(sys.argv[1]).close()
    print("opened")
except ConfigurationError as error:
    print(error.problems)
"""


def _opened_without_alembic(path: Path) -> str:
    command = [sys.executable, "-c", _OPEN_WITHOUT_ALEMBIC, f"sqlite:///{path}"]
    return subprocess.check_output(command, env=child_environment({}), cwd=ROOT, text=True).strip()


def test_a_fresh_or_new_file_needs_no_alembic(tmp_path):
    """Its import takes longer than all the rest, and staged functions carry none."""
    assert [_opened_without_alembic(tmp_path / "x.db") for _ in range(2)] == ["opened"] * 2


def test_an_old_file_without_alembic_names_the_command(tmp_path):
    """What cannot be done here is said, with what can."""
    path = tmp_path / "old.db"
    engine = create_engine(f"sqlite:///{path}")
    run_to(engine, REVISIONS[0])
    engine.dispose()

    said = _opened_without_alembic(path)

    assert COMMAND in said
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (REVISIONS[0],)
    connection.close()


def test_firestore_has_nothing_to_migrate(capsys):
    """The command may stand in a script that does not know which store it is."""
    assert [main([command, "--url", "firestore://p/d"]) for command in ("migrate", "status")] == [0, 0]
    assert "firestore.indexes.json" in capsys.readouterr().out


@pytest.mark.parametrize("url", ["mysql://u:secret@h/x", "sqlite://", "sqlite:///:memory:"])
def test_a_url_without_tables_is_refused(url, capsys):
    """Nothing of it is shown."""
    assert main(["migrate", "--url", url]) == 2
    assert "secret" not in capsys.readouterr().err


def test_the_next_revision_can_be_drawn_up(engine, tmp_path):
    """Alembic's own command compares the tables in the code with a database; here there is nothing to change."""
    run_to(engine, NEWEST)
    config = Config()
    config.set_main_option("script_location", str(shutil.copytree(_FOLDER, tmp_path / "migrations")))

    with engine.begin() as connection:
        config.attributes["connection"] = connection
        made = migrate.command.revision(config, "Nothing", autogenerate=True, rev_id="9999")

    written = Path(made.path).read_text()
    compile(written, made.path, "exec")
    assert written.startswith('"""Nothing."""')
    assert "op." not in written
    assert f'down_revision = "{NEWEST}"' in written.replace("'", '"')
