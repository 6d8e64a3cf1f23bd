"""What store-result acknowledged on a database server is there once, whatever happens to either, or between them."""

import http.client
import os
import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from shared.records import ResultQuery
from shared.stores import open_results, open_store
from tests.emulators.proxy import proxy_to
from tests.faults.history import body_of, check, run_clients


def kill_worker(running):
    """Kill the process that answers, which the server's master replaces."""
    for worker in psutil.Process(running.process.pid).children():
        os.kill(worker.pid, signal.SIGKILL)


def pause(proxy, seconds):
    """Forward nothing for a while."""
    proxy.pause()
    threading.Timer(seconds, proxy.resume).start()


def refuse(proxy, seconds):
    """Let nobody connect for a while."""
    proxy.refuse()
    threading.Timer(seconds, proxy.resume).start()


@pytest.mark.timeout(600)
def test_ten_thousand_results_outlive_everything_on_postgresql(
    serve, running_postgresql, postgresql_database, state_dir
):
    """Answers swallowed after the commit, connections cut, held and refused, the function and the database killed."""
    with proxy_to(("127.0.0.1", running_postgresql.port)) as proxy:
        url = running_postgresql.url(postgresql_database)
        running = serve(
            "store_result", THREADS="16", STORE_URL=url.replace(str(running_postgresql.port), str(proxy.port))
        )

        def restart_database():
            running_postgresql.stop(signal.SIGKILL)
            running_postgresql.start()

        faults = [
            *[lambda: proxy.swallow(lambda piece: b"COMMIT" in piece)] * 6,
            *(proxy.cut, proxy.cut, lambda: pause(proxy, 0.5), lambda: refuse(proxy, 0.3)),
            *(lambda: kill_worker(running), restart_database),
        ]
        history = run_clients(running.port, 10_000, lambda chance: chance.choice(faults)())

        assert proxy.swallowed > 0
    store = open_results(url, f"file://{state_dir}/objects")
    check(history, store)
    store.close()
    assert len(history.acknowledged) == 10_000
    assert history.answers[0] + history.answers[503] > 0


@pytest.mark.timeout(300)
def test_ten_thousand_stores_under_one_key_keep_one_result(serve, postgresql_url):
    """One of them keeps it, and every other is told that it replays, with the same answer."""
    running = serve("store_result", THREADS="16", STORE_URL=postgresql_url)
    headers = {"Content-Type": "application/json", "Idempotency-Key": "the-same"}

    def store(count):
        answers = Counter()
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=30)
        for _ in range(count):
            connection.request("POST", "/", body_of(1), headers)
            answer = connection.getresponse()
            answers[answer.status, answer.headers["Idempotency-Replayed"], answer.read()] += 1
        connection.close()
        return answers

    with ThreadPoolExecutor(32) as pool:
        answers = sum(pool.map(store, [10_000 // 32 + (index < 10_000 % 32) for index in range(32)]), Counter())

    first, replays = sorted(answers.items(), key=lambda found: found[1])
    assert (first[0][:2], first[1]) == ((201, None), 1)
    assert (replays[0][:2], replays[1]) == ((201, "true"), 9999)
    assert first[0][2] == replays[0][2]
    found = open_store(postgresql_url)
    assert found.count_results(ResultQuery()) == 1
    found.close()


@pytest.mark.timeout(300)
def test_two_thousand_results_outlive_everything_on_firestore(serve, firestore, state_dir, monkeypatch):
    """The emulator keeps everything in memory, so it is the one that is not killed."""
    with proxy_to(("127.0.0.1", firestore.port)) as proxy:
        url = firestore.new_url("?shards=2")
        host = f"127.0.0.1:{proxy.port}"
        running = serve("store_result", THREADS="16", STORE_URL=url, FIRESTORE_EMULATOR_HOST=host)
        faults = [
            *[lambda: proxy.swallow(lambda piece: b"instances" in piece)] * 4,
            *(proxy.cut, lambda: pause(proxy, 0.5), lambda: refuse(proxy, 0.3), lambda: kill_worker(running)),
        ]
        history = run_clients(running.port, 2000, lambda chance: chance.choice(faults)(), every=150)

        assert proxy.swallowed > 0
    store = open_results(url, f"file://{state_dir}/objects")
    check(history, store)
    store.close()
    assert len(history.acknowledged) == 2000
    assert history.answers[0] + history.answers[503] > 0
