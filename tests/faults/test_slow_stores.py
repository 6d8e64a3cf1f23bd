"""A database that stands still or is slow costs 503s in time; health checks and what needs no database go on."""

import http.client
import json
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psutil
import pytest

from shared.config import ROOT
from shared.stores import open_results
from tests.emulators.proxy import proxy_to
from tests.faults.history import History, body_of, check

# What a call of a store may take, and a second for a busy machine.
DEADLINE_SECONDS = 8 + 1
HEALTH_SECONDS = 1.0
WHEN_WELL = {"store_result": 201, "list_results": 200}
PREDICTION = json.dumps({"instances": json.loads((ROOT / "model/digits/held_out.json").read_text())["images"][:1]})


@dataclass(frozen=True)
class Answer:
    """What came back, when it was asked for, and after how long; status 0 if the connection broke."""

    began: float
    seconds: float
    status: int
    body: bytes
    retry_after: str | None


@dataclass(frozen=True)
class Database:
    """A database server of the tests.

    Attributes:
        url: Of a fresh database in it.
        environment: With which a function reaches that database through another port.
    """

    url: str
    port: int
    environment: Callable[[int], dict[str, str]]
    pause: Callable[[], None]
    resume: Callable[[], None]
    kill: Callable[[], None]
    start: Callable[[], None]


@pytest.fixture(params=["firestore", "postgresql"])
def database(request):
    """Lend a database server that may be stopped, with an empty database in it; it goes on in the end."""
    if request.param == "firestore":
        server = request.getfixturevalue("firestore")
        url, kill = server.new_url(), server.kill

        def environment(port):
            return {"STORE_URL": url, "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{port}"}
    else:
        server, url = (request.getfixturevalue(name) for name in ("running_postgresql", "postgresql_url"))
        kill = partial(server.stop, signal.SIGKILL)

        def environment(port):
            return {"STORE_URL": url.replace(str(server.port), str(port))}

    yield Database(url, server.port, environment, server.pause, server.resume, kill, server.start)
    server.resume()


def ask(running, number=None, path="/", body=None, **headers):
    """Store the result of a number, send a body, or read a path."""
    began = time.monotonic()
    if number is not None:
        body, headers = body_of(number), {"Idempotency-Key": f"key-{number}"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=60)
    try:
        connection.request("POST" if body else "GET", path, body, headers)
        answer = connection.getresponse()
        status, text, retry_after = answer.status, answer.read(), answer.headers["Retry-After"]
    except (http.client.HTTPException, OSError):
        status, text, retry_after = 0, b"", None
    finally:
        connection.close()
    return Answer(began, time.monotonic() - began, status, text, retry_after)


def check_health(functions, until):
    """Ask each function for its health until then: it always says ok, at once."""
    while time.monotonic() < until:
        for running in functions:
            answer = ask(running, path="/health")
            assert answer.status == 200
            assert answer.seconds < HEALTH_SECONDS, running.name
        time.sleep(0.1)  # the pace of whoever looks, not a wait for something


def workers(running):
    """Return the processes that answer."""
    return [child.pid for child in psutil.Process(running.process.pid).children()]


@contextmanager
def asked_at(rate, questions):
    """Ask each question so many times a second, answered or not; lend the answers by the question's name."""
    answers = {name: [] for name in questions}
    ended = threading.Event()

    def keep(name, number):
        answers[name].append((number, questions[name](number)))

    def run():
        began = time.monotonic()
        for number in range(1_000_000):
            if ended.wait(max(0.0, began + number / rate - time.monotonic())):
                return
            for name in questions:
                pool.submit(keep, name, number)

    with ThreadPoolExecutor(400) as pool:
        pace = threading.Thread(target=run)
        pace.start()
        try:
            yield answers
        finally:
            ended.set()
            pace.join()


@pytest.mark.timeout(120)
def test_a_database_that_stands_still_costs_503_in_time_and_is_used_again_at_once(database, serve, state_dir):
    """Twelve seconds: longer than any call lasts, so that some begin and end within; a longer stop is more of that."""
    environment = database.environment(database.port)
    store_result, list_results = (serve(name, THREADS="16", **environment) for name in WHEN_WELL)
    functions = (store_result, list_results)
    before = [workers(running) for running in functions]
    # The first call of a process loads the client of the database.
    assert [ask(store_result, 1_000_000).status, ask(list_results).status] == [201, 200]
    questions = {
        "store_result": lambda number: ask(store_result, number),
        "list_results": lambda _: ask(list_results, path="/?page_size=3"),
    }

    with asked_at(20, questions) as answers:
        check_health(functions, time.monotonic() + 1)
        database.pause()
        paused = time.monotonic()
        check_health(functions, paused + 12)
        database.resume()
        resumed = time.monotonic()
        check_health(functions, resumed + 6)

    for name, found in answers.items():
        everything = [answer for _, answer in found]
        failed = [answer for answer in everything if answer.status != WHEN_WELL[name]]
        assert {answer.status for answer in failed} == {503}
        assert None not in {answer.retry_after for answer in failed}
        assert max(answer.seconds for answer in everything) < DEADLINE_SECONDS
        assert not [a for a in everything if a.status != 503 and paused < a.began < resumed - DEADLINE_SECONDS]
        assert [a for a in everything if a.status != 503 and a.began < paused]
        assert max(answer.began + answer.seconds for answer in failed) < resumed + 5
        assert [a for a in everything if a.status != 503 and a.began > resumed + 5]
    assert [workers(running) for running in functions] == before
    history = History()
    for number, answer in [*answers["store_result"], (1_000_000, ask(store_result, 1_000_000))]:
        if answer.status == 201:
            history.acknowledged[f"key-{number}"] = json.loads(answer.body)["id"]
        else:
            history.unknown.add(f"key-{number}")
    store = open_results(database.url, f"file://{state_dir}/objects")
    check(history, store)
    store.close()


def threads_of(running):
    """Return how many threads the processes that answer have."""
    return sum(psutil.Process(pid).num_threads() for pid in workers(running))


def test_a_database_that_is_gone_costs_503_at_once_and_no_threads(database, serve):
    """Killed, it refuses connections, which nobody waits for; started again, it is used again."""
    environment = database.environment(database.port)
    store_result, list_results = (serve(name, THREADS="4", **environment) for name in WHEN_WELL)
    questions = (partial(ask, store_result, 1), partial(ask, list_results))

    def ask_all(times):
        with ThreadPoolExecutor(4) as pool:
            asked = [[pool.submit(question) for question in questions] for _ in range(times)]
            return [[answer.result() for answer in pair] for pair in asked]

    assert [answer.status for answer in (*ask_all(1)[0], *ask_all(10)[-1])] == [201, 200] * 2
    threads = [threads_of(running) for running in (store_result, list_results)]
    database.kill()
    try:
        ask_all(1)  # what was under way finds its connections broken
        gone = [answer for pair in ask_all(10) for answer in pair]
    finally:
        database.start()
    started = time.monotonic()
    while [answer.status for answer in ask_all(1)[0]] != [201, 200]:
        assert time.monotonic() < started + 5

    assert {(answer.status, answer.retry_after) for answer in gone} == {(503, "1")}
    # Half a second for a busy machine.
    assert max(answer.seconds for answer in gone) < 1.5
    ask_all(10)
    # gRPC keeps one or two more for its own ends.
    now = [threads_of(running) for running in (store_result, list_results)]
    assert all(after <= before + 2 for before, after in zip(threads, now, strict=True))


def pages(list_results, before_each):
    """Return the time and id of everything that is listed, page by page."""
    found, token = [], None
    while token != "":
        before_each()
        answer = ask(list_results, path=f"/?page_size=20&fields=id,created_at&page_token={token or ''}")
        page = json.loads(answer.body)
        found += [(result["created_at"], result["id"]) for result in page["results"]]
        token = page["next_page_token"]
    return found


def test_pages_are_whole_while_ten_write(database, serve):
    """Of what was stored before the first page nothing is missing, and nothing is there twice or out of order."""
    environment = database.environment(database.port)
    store_result, list_results = (serve(name, THREADS="16", **environment) for name in WHEN_WELL)
    stored, ended = [json.loads(ask(store_result, number).body)["id"] for number in range(50)], threading.Event()
    # Two writes a writer for each page that is read: the list grows under its reader, and not faster than it can read.
    allowed = threading.Semaphore(0)

    def write(first):
        for number in range(first, first + 1_000_000, 10):
            allowed.acquire()
            if ended.is_set():
                return
            answer = ask(store_result, number)
            assert answer.status == 201
            stored.append(json.loads(answer.body)["id"])

    with ThreadPoolExecutor(10) as pool:
        writers = [pool.submit(write, first) for first in range(50, 60)]
        try:
            for _ in range(3):
                before = stored.copy()
                found = pages(list_results, lambda: allowed.release(20))
                assert found == sorted(set(found), reverse=True)
                assert set(before) <= {result_id for _, result_id in found}
                assert len(stored) > len(before)
        finally:
            ended.set()
            allowed.release(10)
        for writer in writers:
            writer.result()


@contextmanager
def asked_by(clients, questions):
    """Let so many clients ask each question again and again; lend the answers by the question's name."""
    answers = {name: [] for name in questions}
    ended = threading.Event()
    numbers = iter(range(1_000_000))

    def run(name):
        while not ended.is_set():
            answer = questions[name](next(numbers))
            answers[name].append(answer)
            if answer.status == 503:
                ended.wait(0.5)  # a client that comes back sooner than it was told to

    with ThreadPoolExecutor(clients * len(questions)) as pool:
        running = [pool.submit(run, name) for name in questions for _ in range(clients)]
        try:
            yield answers
        finally:
            ended.set()
    for client in running:
        client.result()


@pytest.mark.timeout(120)
def test_a_slow_database_leaves_threads_for_what_does_not_need_it(database, serve):
    """Two seconds more each way, then a hundred bytes a second, with more clients than threads: 12 or 24 on four."""
    with proxy_to(("127.0.0.1", database.port)) as proxy:
        environment = database.environment(proxy.port)
        store_result, list_results, predict = functions = [
            serve(name, THREADS="4", **environment) for name in (*WHEN_WELL, "predict")
        ]
        assert [ask(store_result, 1_000_000).status, ask(list_results).status] == [201, 200]
        questions = {
            "store_result": lambda number: ask(store_result, number),
            "list_results": lambda _: ask(list_results),
            "list_results, streamed": lambda _: ask(list_results, Accept="application/x-ndjson"),
        }

        with asked_by(12, questions) as answers:
            proxy.delay(2)
            check_health(functions, time.monotonic() + 5)
            proxy.trickle(100)
            check_health(functions, time.monotonic() + 10)
            predicted = ask(predict, path="/v1/models/digits:predict", body=PREDICTION)
            proxy.resume()
            resumed = time.monotonic()
        while {ask(store_result, 1_000_000).status, ask(list_results).status} != {201, 200}:
            assert time.monotonic() < resumed + 5

    assert (predicted.status, predicted.seconds < HEALTH_SECONDS) == (200, True)
    for name, found in answers.items():
        # A stream may break off between two pages.
        fits = {WHEN_WELL[name.split(",")[0]], 503} | ({0} if "streamed" in name else set())
        assert {answer.status for answer in found} <= fits
        refused = [answer for answer in found if answer.status == 503]
        assert None not in {answer.retry_after for answer in refused}
        assert max(answer.seconds for answer in found) < DEADLINE_SECONDS
        reasons = {json.loads(answer.body)["error"]["details"][0]["reason"] for answer in refused}
        assert "STORE_BUSY" in reasons
