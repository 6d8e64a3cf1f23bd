"""PostgreSQL: the store contract, and what only a server that others share can suffer."""

import itertools
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import event

from shared.errors import ConfigurationError, InvalidRequestError, UnavailableError
from shared.records import Position, ResultQuery
from shared.runs import RunQuery
from shared.stores import open_store
from shared.stores.moments import from_us, to_us
from shared.stores.sql import postgresql
from shared.stores.sql.dead_letters import letters_statement
from shared.stores.sql.queries import Question, count_question, list_question, summaries_statement
from shared.stores.sql.run_lists import run_summaries_statement, runs_statement
from tests.contract.factories import LEASE, NOW, a_letter, a_result, a_run, claim, in_parallel, some_parts
from tests.contract.result_contract import pages
from tests.contract.store_contract import StoreContract
from tests.emulators.postgresql import missing
from tests.emulators.proxy import proxy_to

if reason := missing():
    pytest.skip(f"NOT TESTED: PostgreSQL as the store: {reason}", allow_module_level=True)
# One server for all of these.
pytestmark = pytest.mark.xdist_group("postgresql")


@pytest.fixture
def store(postgresql_url):
    """Return a store in a fresh database."""
    store = open_store(postgresql_url)
    yield store
    store.close()


@pytest.fixture
def opened():
    """Return an opener of stores that are closed after the test."""
    with ExitStack() as stack:

        def open_one(url):
            store = open_store(url)
            stack.callback(store.close)
            return store

        yield open_one


class TestPostgresqlStore(StoreContract):
    """PostgreSQL keeps the contract."""


# --- many at once, held until all of them wait -----------------------------------------------------------------------


def test_claims_that_find_the_same_dead_worker_look_one_after_another(store, running_postgresql, postgresql_database):
    """Each looks at the run only when it is the one to decide."""
    claim(store)

    with ThreadPoolExecutor(3) as pool:
        with running_postgresql.connect(postgresql_database) as blocker, blocker.transaction():
            blocker.execute("SELECT FROM runs FOR UPDATE")
            claims = [pool.submit(claim, store, now=NOW + LEASE) for _ in range(3)]
            _wait_for_waiters(running_postgresql, postgresql_database, 3)
        answers = [claimed.result() for claimed in claims]

    assert sorted(answer.granted for answer in answers) == [False, False, True]
    assert {answer.run.fence for answer in answers} == {2}


def test_claims_of_a_job_count_one_after_another(store, running_postgresql, postgresql_database):
    """Each counts the runs under way only when it is the one to decide, though it is another run that it wants."""
    store.touch_job("nightly", now=NOW)
    runs = [a_run(f"2026-11-{day}") for day in (18, 19, 20)]

    with ThreadPoolExecutor(3) as pool:
        with running_postgresql.connect(postgresql_database) as blocker, blocker.transaction():
            blocker.execute("SELECT FROM job_states FOR UPDATE")
            claims = [pool.submit(claim, store, run, max_active=2) for run in runs]
            _wait_for_waiters(running_postgresql, postgresql_database, 3)
        answers = [claimed.result() for claimed in claims]

    assert sorted(str(answer.refusal) for answer in answers) == ["None", "None", "max-active"]


def test_those_who_finish_a_part_look_one_after_another(store, running_postgresql, postgresql_database):
    """Each looks whether it is done only when it is the one to finish it."""
    run = store.plan_parts(claim(store).run, some_parts())
    done = [replace(some_parts()[0], partial=str(n)) for n in range(3)]

    with ThreadPoolExecutor(3) as pool:
        with running_postgresql.connect(postgresql_database) as blocker, blocker.transaction():
            blocker.execute("SELECT FROM parts FOR UPDATE")
            finishing = [pool.submit(store.finish_part, run, part) for part in done]
            _wait_for_waiters(running_postgresql, postgresql_database, 3)
        kept = [finished.result() for finished in finishing]

    assert sorted(kept) == [False, False, True]
    assert store.list_parts(run, partials=True)[0].partial == str(kept.index(True))


def test_batches_take_their_ids_in_one_order(store, running_postgresql, postgresql_database):
    """Sent the other way round, a batch would have the last id and wait for the first, which waits for the last."""
    batch = [a_result(id=name) for name in ("a", "m", "z")]

    with ThreadPoolExecutor(2) as pool:
        with running_postgresql.connect(postgresql_database) as blocker, blocker.transaction(force_rollback=True):
            blocker.execute(
                "INSERT INTO results (id, created_at_us, model, version, payload_hash, summary, labels, instances,"
                " predictions) VALUES ('m', 0, '', '', '', '', '', '', '')"
            )
            created = [pool.submit(store.create_results, ordered) for ordered in (batch, batch[::-1])]
            _wait_for_waiters(running_postgresql, postgresql_database, 2)
        answers = [each.result() for each in created]

    assert sorted([item.replayed for item in answer] for answer in answers) == [[False] * 3, [True] * 3]


def _wait_for_waiters(server, database, count):
    """Return when so many connections wait for a lock."""
    statement = f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{database}' AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 4
    while server.execute(statement) != [(count,)]:
        assert time.monotonic() < deadline, "they do not wait"


# --- plans ---------------------------------------------------------------------------------------------------------

_ROWS = 30_000
# Nearly every result is of one model, whose first version was replaced after two thirds of them.
_FILL = f"""
INSERT INTO results
SELECT md5(n::text), {to_us(NOW) - _ROWS} + n, CASE WHEN n % 50 = 0 THEN 'rare' ELSE 'm' END,
    CASE WHEN n < {_ROWS * 2 // 3} THEN '1' ELSE '2' END, NULL, 'hash', '{{}}', NULL, '{{}}', '[1]', repeat('x', 100)
FROM generate_series(1, {_ROWS}) n;
INSERT INTO result_labels (result_id, pair, model, version, created_at_us)
SELECT id, CASE WHEN created_at_us % 3 = 0 THEN 'a=b' ELSE 'a=c' END, model, version, created_at_us FROM results;
INSERT INTO runs (job, key, interval_start_us, interval_end_us, time_zone, trigger, params, state, provisional, attempt,
    fence, generation, plan, parts, output, created_at_us)
SELECT 'job' || n % 4, to_char(n, 'FM00000'), 0, 0, 'UTC', 'schedule', '{{}}',
    CASE WHEN n < 3000 THEN 'success' WHEN n % 90 = 0 THEN 'queued' ELSE 'failed' END, false, 1, 1, 1, 1, 1, '{{}}', 0
FROM generate_series(1, 4000) n;
INSERT INTO summaries SELECT job, key, 1, false, 0, '[]' FROM runs;
INSERT INTO parts SELECT job, key, 1, n, 0, 1, NULL, 0, n % 2 = 0, 0, NULL, NULL FROM runs, generate_series(0, 4) n;
INSERT INTO dead_letters SELECT md5(n::text), n / 3, '', '', '', 0 FROM generate_series(1, 4000) n;
ANALYZE;
"""


@pytest.fixture(scope="module")
def crowded(running_postgresql):
    """Return a store with many rows."""
    name = running_postgresql.new_database()
    for statement in filter(str.strip, _FILL.split(";")):
        running_postgresql.execute(statement, name)
    store = open_store(running_postgresql.url(name))
    yield store
    store.close()
    running_postgresql.drop(name)


@pytest.fixture
def plan(crowded):
    """Return a reader of how the database goes about a statement; it runs it too."""

    def read(asked):
        statement = asked.statement.params(asked.values) if isinstance(asked, Question) else asked
        compiled = statement.compile(dialect=crowded._database._reading.dialect, compile_kwargs={"literal_binds": True})
        return _explained(crowded, compiled)

    return read


@pytest.fixture
def generic_plan(crowded):
    """Return a reader of the plan that is kept for a statement once it has come often, whatever is asked with it."""

    def read(question):
        compiled = question.statement.compile(
            dialect=crowded._database._reading.dialect, compile_kwargs={"render_postcompile": True}
        )
        numbers = {name: f"${number}" for number, name in enumerate(compiled.params, start=1)}
        values = ", ".join(f"'{question.values.get(name) or value}'" for name, value in compiled.params.items())
        types = ", ".join(["unknown"] * len(numbers))
        with crowded._database.write() as connection:
            connection.exec_driver_sql("SET LOCAL plan_cache_mode = force_generic_plan")
            connection.exec_driver_sql(f"PREPARE asked ({types}) AS {str(compiled) % numbers}")
            rows = connection.exec_driver_sql(f"{_EXPLAIN} EXECUTE asked ({values})").all()
            connection.exec_driver_sql("DEALLOCATE asked")
        return "\n".join(row[0] for row in rows)

    return read


_EXPLAIN = "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF)"


def _explained(store, statement):
    with store._database.read() as connection:
        return "\n".join(row[0] for row in connection.exec_driver_sql(f"{_EXPLAIN} {statement}"))


def _queries():
    for model, version, label, since, until, order in itertools.product(
        ("m", "rare", None), ("1", "2", None), (None, ("a", "b")), (None, NOW), (None, NOW), ("desc", "asc")
    ):
        if version is None or model:
            table = "labels" if label else "results"
            index = f"{table}_by_" + ("version" if version else "model" if model else "time")
            yield index, ResultQuery(model, version, since, until, label, order)


def _is_one_stretch(index, plan):
    """Whether a plan walks one index, in its order, and everything it meets there is asked for."""
    unwanted = re.search("Sort|Seq Scan|Bitmap|Hash|Merge|Rows Removed", plan)
    walked = re.findall(r"using (\w+) on", plan)
    return not unwanted and walked[0] == index and walked[1:] in ([], ["results_pkey"])


def test_every_list_of_results_walks_the_index_made_for_it(plan):
    """Whatever the statistics say: a version that was replaced long ago is found as quickly as the newest."""
    position = Position(NOW, "a")
    plans = [
        (index, plan(list_question(query, after, 50, NOW, max_payload_bytes=bound)))
        for index, query in _queries()
        for after, bound in ((None, None), (position, None), (position, 9_000_000))
    ]

    assert [shown for index, shown in plans if not _is_one_stretch(index, shown)] == []


def test_a_plan_that_is_kept_walks_the_same_index(generic_plan):
    """After a few times PostgreSQL plans no more and knows no values: it has no other way to go."""
    plans = [
        (index, generic_plan(list_question(query, None, 50, NOW, max_payload_bytes=9_000)))
        for index, query in _queries()
    ]

    assert [shown for index, shown in plans if not _is_one_stretch(index, shown)] == []


def test_every_count_is_taken_from_the_index_made_for_it(plan):
    """No result is read to be counted."""
    plans = [
        (index, plan(count_question(query, estimating=True))) for index, query in _queries() if query.order == "asc"
    ]

    assert [shown for index, shown in plans if not _is_one_stretch(index, shown) or "Only" not in shown] == []


def test_summaries_are_read_along_the_time(plan):
    """A job reads its interval and no more."""
    shown = plan(summaries_statement((to_us(NOW) - 500, ""), to_us(NOW)))

    assert _is_one_stretch("results_by_time", shown)


def test_every_list_of_runs_walks_an_index(plan):
    """Newest first and then by job needs no sort, with every filter and beyond any position."""
    plans = [
        plan(make(RunQuery(job, since, until), after).limit(50))
        for make in (runs_statement, run_summaries_statement)
        for job, since, until, after in itertools.product(
            (None, "job1"), (None, "00100"), (None, "03000"), (None, ("02000", "job1"))
        )
    ]

    assert [shown for shown in plans if re.search("Sort|Seq Scan|Bitmap|Hash|Merge", shown)] == []


def test_every_list_of_runs_in_one_state_walks_the_index_made_for_it(plan):
    """Both ways, and whatever the statistics say: the few that wait are found without those that ended."""
    plans = [
        plan(runs_statement(RunQuery("job2", since, until, state, oldest_first), after).limit(50))
        for state, oldest_first, since, until, after in itertools.product(
            ("queued", "success", "missed"),
            (False, True),
            (None, "00100"),
            (None, "03900"),
            (None, ("03500", "job2"), ("03500", "a"), ("03500", "z")),
        )
    ]

    assert [shown for shown in plans if not _is_one_stretch("runs_by_state", shown)] == []


def test_dead_letters_are_listed_along_an_index(plan):
    """Newest first and then by id needs no sort."""
    plans = [plan(letters_statement(after).limit(50)) for after in (None, (NOW, "a"), (from_us(300), "a"))]

    assert [shown for shown in plans if re.search("Sort|Seq Scan|Bitmap|Hash|Merge", shown)] == []
    assert {re.findall(r"using (\w+) on", shown)[0] for shown in plans} == {"dead_letters_by_time"}


def test_payloads_beyond_the_bound_do_not_leave_the_database(store):
    """A page of large payloads would otherwise come whole, before its first row can be looked at."""
    store.create_results([a_result(instances="1" * 1000, predictions="") for _ in range(50)])
    question = list_question(ResultQuery(), None, 99, NOW, max_payload_bytes=3500)

    with store._database.read() as connection:
        came = [row.instances is not None for row in connection.execute(question.statement, question.values)]

    assert came == [True] * 4 + [False] * 46


def test_a_list_that_counts_characters_sets_the_bound(store):
    """What a page may not hold is not asked for; where characters take more bytes, it is asked again."""
    store.create_results([a_result(instances="🙂" * 100, predictions="") for _ in range(50)])
    bounds = []
    event.listen(
        store._database._reading, "before_cursor_execute", lambda *call: bounds.append(call[3].get("max_bytes"))
    )

    found = store.list_results(ResultQuery(), after=None, limit=50, now=NOW, max_chars=1000)

    assert len(found) == 10
    assert (bounds[0], bounds) == (1000, sorted(bounds, reverse=True))


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"password": "wrong"}, "the user or the password is refused"),
        ({"user": "nobody"}, "is refused"),
        ({"database": "nowhere"}, "the database does not exist"),
        ({"query": "?pool_size=0"}, "pool_size to be a whole number from 1 to 100"),
        ({"query": "?pool_size=many"}, "pool_size to be a whole number from 1 to 100"),
        ({"query": "?colour=blue"}, "an option in its query is none that libpq knows"),
    ],
)
def test_a_url_that_does_not_fit_is_a_configuration_problem(running_postgresql, postgresql_database, change, problem):
    """It names STORE_URL and what is wrong with it, and never the password."""
    arguments = {"database": postgresql_database, "password": "very secret", **change}
    if "user" not in change and "password" not in change:
        del arguments["password"]

    with pytest.raises(ConfigurationError, match="STORE_URL") as raised:
        open_store(running_postgresql.url(**arguments))

    assert problem in str(raised.value)
    assert not {"correct", "wrong@", "secret"} & set(re.split(r"[\W_]", str(raised.value)))


def test_what_is_no_url_is_a_configuration_problem():
    """Nothing of it is shown: the password may be anywhere in it."""
    with pytest.raises(ConfigurationError, match="STORE_URL: expected postgresql") as raised:
        open_store("postgresql+psycopg://u:secret@h:port/x")

    assert "secret" not in str(raised.value)


def test_a_text_with_nul_is_refused_clearly(store):
    """PostgreSQL's text cannot hold it; store-result lets none through."""
    with pytest.raises(InvalidRequestError) as raised:
        store.create_results([a_result(), a_result(labels={"a": "\0"})])

    assert raised.value.reason == "INVALID_TEXT"
    assert store.count_results(ResultQuery()) == 0


def test_a_user_that_may_not_make_tables_is_enough(running_postgresql, postgresql_database, opened):
    """The rights that open_postgresql names, and no other; results cannot be changed or removed."""
    for statement in (
        "DROP ROLE IF EXISTS functions",
        "CREATE ROLE functions LOGIN PASSWORD 'pw'",
        "GRANT SELECT, INSERT ON results, result_labels, dead_letters TO functions",
        "GRANT SELECT, INSERT, UPDATE ON job_states TO functions",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON runs, parts TO functions",
        "GRANT SELECT, INSERT, DELETE ON summaries TO functions",
        "GRANT SELECT ON alembic_version TO functions",
    ):
        running_postgresql.execute(statement, postgresql_database)
    store = opened(running_postgresql.url(postgresql_database, user="functions", password="pw"))
    result = a_result(labels={"a": "b"})

    store.create_results([result])
    store.finish_run(claim(store).run, [{"n": 1}], now=NOW)
    run = store.plan_parts(claim(store, reprocess="completed").run, some_parts())
    store.finish_part(run, replace(some_parts()[0], partial="1"))
    store.fail_part(run, 1, "no")
    store.finish_run(run, [{"n": 2}], now=NOW)
    store.record_dead_letter(a_letter())
    store.set_paused("nightly", paused=True, now=NOW)

    assert pages(store, ResultQuery(label=("a", "b")), 9) == [result]
    assert store.list_summaries(RunQuery(), after=None, limit=9)[0].rows == ({"n": 2},)
    assert store.prune_runs("nightly", before_key="3", limit=9) == 1
    with store._database.read() as connection, pytest.raises(Exception, match="permission denied"):
        connection.exec_driver_sql("DELETE FROM results")
    running_postgresql.execute("REVOKE ALL ON results FROM functions", postgresql_database)
    with pytest.raises(ConfigurationError, match="the user lacks a right"):
        store.count_results(ResultQuery())
    running_postgresql.execute("DROP OWNED BY functions; DROP ROLE functions", postgresql_database)


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        ("53100", UnavailableError, "STORE_FULL"),
        ("53200", UnavailableError, "STORE_UNAVAILABLE"),
        ("40001", UnavailableError, "STORE_UNAVAILABLE"),
        ("40P01", UnavailableError, "STORE_UNAVAILABLE"),
        ("57014", UnavailableError, "STORE_UNAVAILABLE"),
        ("25006", UnavailableError, "STORE_UNAVAILABLE"),
        ("58030", UnavailableError, "STORE_UNAVAILABLE"),
        ("42P01", ConfigurationError, "MISCONFIGURED"),
        ("XX000", Exception, "STORE_FAILED"),
    ],
)
def test_what_the_server_reports_becomes_our_error(store, running_postgresql, postgresql_database, code, error, reason):
    """Nothing of the batch stays, and the store works on."""
    running_postgresql.execute(
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
        AS $$ BEGIN RAISE 'no' USING ERRCODE = '{code}'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON result_labels EXECUTE FUNCTION fail()""",
        postgresql_database,
    )

    with pytest.raises(error) as raised:
        store.create_results([a_result(), a_result(labels={"a": "b"})])

    assert raised.value.reason == reason
    assert ("Retry-After" in raised.value.headers) == isinstance(raised.value, UnavailableError)
    assert store.count_results(ResultQuery()) == 0


# --- a server that does not answer ---------------------------------------------------------------------------------


def _settings(store):
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "idle_session_timeout")
    with store._database.read() as connection:
        return {name: connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names}


def test_the_server_gives_up_before_we_do(store):
    """The settings that bound a call on the server's side, below our own 8 seconds."""
    assert _settings(store) == {
        "statement_timeout": "7s",
        "lock_timeout": "4s",
        "idle_in_transaction_session_timeout": "10s",
        "idle_session_timeout": "10min",
    }


def test_a_server_that_is_stopped_costs_a_wait_and_then_works(
    store, running_postgresql, postgresql_database, monkeypatch, opened
):
    """It keeps connections open and says nothing: each call ends in time, and the first after it works."""
    monkeypatch.setattr("shared.stores.sql.postgresql._CALL_SECONDS", 2.5)
    kept = a_result()
    store.create_results([kept])
    calls = [
        lambda: store.create_results([a_result()]),
        lambda: store.get_result(kept.id, NOW),
        lambda: claim(store),
        lambda: open_store(running_postgresql.url(postgresql_database)),
    ]

    running_postgresql.pause()
    try:
        started = time.monotonic()
        answers = in_parallel(4, lambda n: _failure(calls[n]))
        took = time.monotonic() - started
    finally:
        running_postgresql.resume()

    assert answers == [("UnavailableError", "STORE_UNAVAILABLE", "1")] * 4
    assert took < 4
    assert store.get_result(kept.id, NOW) == kept
    assert claim(store).granted


def test_what_was_acknowledged_outlives_a_killed_server(running_postgresql, postgresql_database, opened):
    """Killed in the middle of many creates and started again: every result that was answered for is there, and the
    same store goes on."""
    store = opened(running_postgresql.url(postgresql_database))
    acknowledged, errors, enough = [], [], threading.Event()

    def create(_):
        while True:
            result = a_result(labels={"a": "b"})
            try:
                store.create_results([result])
            except UnavailableError as error:
                errors.append(error.reason)
                return
            acknowledged.append(result)
            if len(acknowledged) > 100:
                enough.set()

    killer = threading.Thread(target=lambda: enough.wait(30) and running_postgresql.stop(signal.SIGKILL))
    killer.start()
    in_parallel(8, create)
    killer.join()
    down = _failure(lambda: store.count_results(ResultQuery()))
    running_postgresql.start(fsync="on")
    found = _first_answer(lambda: {result.id: result for result in pages(store, ResultQuery(), 500)})

    assert set(errors) == {"STORE_UNAVAILABLE"}
    assert down == ("UnavailableError", "STORE_UNAVAILABLE", "1")
    assert [result for result in acknowledged if found.get(result.id) != result] == []
    assert len(found) <= len(acknowledged) + len(errors)
    assert store.count_results(ResultQuery(label=("a", "b"))) == len(found)


def test_a_connection_that_was_ended_while_idle_is_noticed(store, running_postgresql, postgresql_database, monkeypatch):
    """The server may end idle ones: the next call takes another and nobody hears of it."""
    monkeypatch.setattr("shared.stores.sql.postgresql._PING_AFTER_SECONDS", 0)
    store.create_results([a_result()])

    ended = running_postgresql.execute(
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{postgresql_database}'"
    )

    assert (len(ended), store.count_results(ResultQuery())) == (1, 1)


def test_a_connection_that_died_in_silence_is_replaced_in_time(
    running_postgresql, postgresql_database, monkeypatch, opened
):
    """A firewall forgets it: nothing comes back on the old connection, a new one works."""
    monkeypatch.setattr("shared.stores.sql.postgresql._PING_AFTER_SECONDS", 0)
    monkeypatch.setattr("shared.stores.sql.postgresql._PING_SECONDS", 0.3)
    backend = None
    store = opened(running_postgresql.url(postgresql_database))
    with store._database.read() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()

    os.kill(backend, signal.SIGSTOP)
    try:
        answer = store.create_results([a_result()])
    finally:
        os.kill(backend, signal.SIGCONT)

    assert not answer[0].replayed


def test_a_server_without_free_connections_is_unavailable(running_postgresql, postgresql_database):
    """Others hold them all: 503, not a wrong configuration; with one given back it opens."""
    url = running_postgresql.url(postgresql_database)
    running_postgresql.execute(f"ALTER DATABASE {postgresql_database} CONNECTION LIMIT 5")
    running_postgresql.execute("CREATE ROLE plain LOGIN PASSWORD 'pw'")
    running_postgresql.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain", postgresql_database)
    plain = running_postgresql.url(postgresql_database, user="plain", password="pw")
    with ExitStack() as stack:
        held = [stack.enter_context(psycopg.connect(url.replace("+psycopg", ""))) for _ in range(5)]

        full = _failure(lambda: open_store(plain))
        held[0].close()
        _first_answer(lambda: open_store(plain)).close()
    running_postgresql.execute("DROP OWNED BY plain", postgresql_database)
    running_postgresql.execute("DROP ROLE plain")

    assert full == ("UnavailableError", "STORE_UNAVAILABLE", "1")


def test_more_callers_than_connections_wait_their_turn(running_postgresql, postgresql_database, opened):
    """One connection serves thirty at once."""
    store = opened(running_postgresql.url(postgresql_database, query="?pool_size=1"))

    in_parallel(30, lambda _: store.create_results([a_result()]))

    connections = running_postgresql.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{postgresql_database}'"
    )
    assert (store.count_results(ResultQuery()), connections) == (30, [(1,)])


def test_callers_that_wait_for_a_connection_too_long_are_told(
    running_postgresql, postgresql_database, opened, monkeypatch
):
    """A pool whose connections are all taken is 503 as well."""
    monkeypatch.setattr("shared.stores.sql.postgresql._POOL_SECONDS", 0.1)
    store = opened(running_postgresql.url(postgresql_database, query="?pool_size=1"))

    with store._database.read():
        answer = _failure(lambda: store.count_results(ResultQuery()))

    assert answer == ("UnavailableError", "STORE_UNAVAILABLE", "1")


def test_a_lock_that_somebody_holds_too_long_is_unavailable(
    store, running_postgresql, postgresql_database, monkeypatch, opened
):
    """A claim waits for the row, and not for ever; afterwards it is granted."""
    monkeypatch.setitem(postgresql._SESSION, "lock_timeout", "200")
    impatient = opened(running_postgresql.url(postgresql_database))
    run = claim(store).run
    with running_postgresql.connect(postgresql_database) as blocker, blocker.transaction():
        blocker.execute("SELECT FROM runs FOR UPDATE")
        refused = [_failure(lambda: claim(impatient)), _failure(lambda: impatient.finish_run(run, [], now=NOW))]
        beside = impatient.get_run(run.job, run.key)

    assert refused == [("UnavailableError", "STORE_UNAVAILABLE", "1")] * 2
    assert beside == run
    assert impatient.finish_run(run, [], now=NOW).state == "success"


def test_a_write_whose_answer_was_lost_is_recognised_when_it_comes_again(
    running_postgresql, postgresql_database, opened
):
    """The commit was done, the word of it never came: 503, and the same call again is a replay of one result."""
    with proxy_to(("127.0.0.1", running_postgresql.port)) as proxy:
        url = running_postgresql.url(postgresql_database)
        store = opened(url.replace(f":{running_postgresql.port}/", f":{proxy.port}/"))
        batch = [a_result(labels={"a": "b"}) for _ in range(3)]

        proxy.swallow(lambda piece: b"COMMIT" in piece)
        lost = _failure(lambda: store.create_results(batch))
        again = store.create_results(batch)

    assert (lost, proxy.swallowed) == (("UnavailableError", "STORE_UNAVAILABLE", "1"), 1)
    assert [(item.result, item.replayed) for item in again] == [(result, True) for result in batch]


def test_a_slow_network_ends_in_time(running_postgresql, postgresql_database, opened, monkeypatch):
    """Answers that take longer than a call may are given up, and the connection with them."""
    with proxy_to(("127.0.0.1", running_postgresql.port)) as proxy:
        url = running_postgresql.url(postgresql_database)
        store = opened(url.replace(f":{running_postgresql.port}/", f":{proxy.port}/"))
        monkeypatch.setattr("shared.stores.sql.postgresql._CALL_SECONDS", 0.5)

        proxy.delay(1.0)
        started = time.monotonic()
        slow = _failure(lambda: store.create_results([a_result()]))
        took = time.monotonic() - started
        proxy.resume()
        monkeypatch.undo()

        assert slow == ("UnavailableError", "STORE_UNAVAILABLE", "1")
        assert took < 1.5
        assert _first_answer(lambda: store.create_results([a_result()]))


@pytest.mark.parametrize("form", ["//owner:any@/{}?host={}&port={}", "//owner@/{}?host={}&port={}"])
def test_a_unix_socket_is_reached_by_url(running_postgresql, postgresql_database, opened, form):
    """This is how Cloud Run offers Cloud SQL: host=/cloudsql/PROJECT:REGION:INSTANCE."""
    place = (postgresql_database, running_postgresql.socket_folder, running_postgresql.port)
    store = opened("postgresql+psycopg:" + form.format(*place))

    store.create_results([a_result()])

    assert store.count_results(ResultQuery()) == 1
    with store._database.read() as connection:
        assert connection.exec_driver_sql("SELECT inet_server_addr()").scalar() is None


def test_nobody_listening_is_unavailable_at_once(running_postgresql):
    """Refused, or without a socket: the database may just be starting."""
    started = time.monotonic()
    answers = [
        _failure(lambda url=url: open_store(url))
        for url in ("postgresql+psycopg://u:p@127.0.0.1:1/x", "postgresql+psycopg://u:p@/x?host=/nowhere")
    ]

    assert answers == [("UnavailableError", "STORE_UNAVAILABLE", "1")] * 2
    assert time.monotonic() - started < 2


def _failure(call):
    """Return what a call fails with."""
    try:
        return call()
    except (UnavailableError, ConfigurationError) as error:
        return type(error).__name__, error.reason, error.headers.get("Retry-After")


def _first_answer(call, seconds=10):
    """Return the first answer other than 503, as a client gets it that tries again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return call()
        except UnavailableError:
            if time.monotonic() > deadline:
                raise
