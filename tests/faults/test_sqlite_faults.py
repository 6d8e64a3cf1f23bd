"""What store-result acknowledged on SQLite is there, whatever happens to the function meanwhile."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import psutil
import pytest

from shared.config import ROOT, child_environment
from shared.records import ResultQuery
from shared.stores import open_results, open_store
from tests.contract.factories import NOW
from tests.faults.history import check, run_clients
from tests.faults.statements import CALLS


def kill_worker(running):
    """Kill the process that answers, which the server's master replaces."""
    for worker in psutil.Process(running.process.pid).children():
        os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.timeout(300)
def test_what_was_acknowledged_outlives_the_function(serve, state_dir):
    """Two thousand results from 32 clients, the function killed again and again: each is there once, as it was sent."""
    running = serve("store_result", THREADS="16")

    history = run_clients(running.port, 2000, lambda chance: kill_worker(running))

    store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
    check(history, store)
    store.close()
    assert len(history.acknowledged) == 2000
    assert history.answers[0] > 0


def memory_bytes(running):
    """Return what the processes that answer have in memory."""
    return sum(child.memory_info().rss for child in psutil.Process(running.process.pid).children(recursive=True))


@pytest.mark.timeout(300)
def test_ten_thousand_results_from_two_hundred_sockets_in_little_memory(serve, state_dir):
    """Each is there once under an id of its own; nobody is told worse than to come again."""
    running = serve("store_result", THREADS="16")
    before = memory_bytes(running)
    seen = []

    history = run_clients(running.port, 10_000, lambda chance: seen.append(memory_bytes(running)), clients=200)

    store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
    check(history, store)
    assert store.count_results(ResultQuery()) == len(set(history.acknowledged.values())) == 10_000
    store.close()
    assert history.answers.keys() <= {201, 503}
    assert max(seen) - before < 150_000_000


def test_a_process_killed_between_any_two_statements_leaves_all_of_a_call_or_nothing(tmp_path):
    """From making the tables on: what was acknowledged is whole, nothing is half there, and the same again succeeds."""
    command = [sys.executable, "-m", "tests.faults.statements", str(tmp_path)]
    printed = subprocess.check_output(command, cwd=ROOT, env=child_environment({}), text=True)

    *killed, last = [json.loads(line) for line in printed.splitlines()]

    assert {ended for ended, *_ in killed} == {-signal.SIGKILL}
    for ended, acknowledged, looked, found in [*killed, last]:
        assert looked == 0, (ended, found)
        integrity, states, labels_are_whole, replayed, states_after, count = found
        kept = [number for number, state in enumerate(states) if set(state) == {"whole"}]
        assert integrity == "ok"
        assert labels_are_whole
        assert all(set(state) in ({"whole"}, {"none"}) for state in states)
        assert kept[: len(acknowledged)] == acknowledged
        assert replayed == [[number in kept] * len(results) for number, results in enumerate(CALLS)]
        assert set(states_after) == {"whole"}
        assert count == sum(map(len, CALLS))
    # Some died with nothing kept, some after each call, and some between a commit and telling of it.
    assert {len(acknowledged) for _, acknowledged, *_ in killed} == {0, 1, 2, 3}
    assert [1 for _, told, _, (_, states, *_) in killed if ["whole"] * len(CALLS[len(told)]) == states[len(told)]]
    assert last[:2] == [0, [0, 1, 2, 3]]


_WRITER = """
import sys
from sqlalchemy import Engine, event
from shared.stores import open_store
from tests.contract.factories import a_result
store = open_store(sys.argv[1])
def stop(_):
    print("holding", flush=True)
    sys.stdin.read()
if sys.argv[2] == "stops":
    event.listen(Engine, "commit", stop)
print("open", flush=True)
for number in range(20):
    store.create_results([a_result(id=f"{sys.argv[2]}-{number}")])
    print(number, flush=True)
"""


def test_a_writer_goes_on_after_another_was_killed_in_its_commit(tmp_path):
    """The right to write that the dead one held is free again, and nothing of what it did not commit is there."""
    url = f"sqlite:///{tmp_path}/nightshift.db"
    open_store(url).close()

    def writer(name):
        command = [sys.executable, "-c", _WRITER, url, name]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=ROOT, env=child_environment({}), **pipes)

    with writer("stops") as stopped:
        assert [stopped.stdout.readline() for _ in range(2)] == ["open\n", "holding\n"]
        with writer("goes-on") as other:
            assert other.stdout.readline() == "open\n"
            stopped.send_signal(signal.SIGKILL)
            assert other.stdout.read().split() == [str(number) for number in range(20)]

    assert (stopped.returncode, other.returncode) == (-signal.SIGKILL, 0)
    store = open_store(url)
    found = store.list_results(ResultQuery(), after=None, limit=100, now=NOW)
    store.close()
    assert sorted(result.id for result in found) == sorted(f"goes-on-{number}" for number in range(20))
    with closing(sqlite3.connect(tmp_path / "nightshift.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
