"""The functions around raw clients are fair rivals: they keep the same results and list the same ones."""

import http.client
import json
from contextlib import ExitStack

import pytest

from benchmarks.calls import Call
from benchmarks.databases.filling import main as fill
from benchmarks.server import serving
from benchmarks.storing import raw_source
from benchmarks.subjects import example_result, function_source
from benchmarks.wire import http_request

pytestmark = pytest.mark.xdist_group("postgresql")

ANYTHING = Call(http_request("GET", "/?page_size=1"), lambda answer: answer.status < 600)


class Served:
    """A function in a process of its own, and the JSON it answers."""

    def __init__(self, server):
        self._server = server
        server.first_answer_seconds(ANYTHING)

    def ask(self, method, path, body=None, key=""):
        """Return the status and the body of an answer."""
        connection = http.client.HTTPConnection(*self._server.address, timeout=20)
        try:
            headers = {"Content-Type": "application/json", "Idempotency-Key": key} if body else {}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def results(self, query):
        """Return a page."""
        status, body = self.ask("GET", query)
        assert status == 200
        return body["results"]


@pytest.fixture
def start(tmp_path):
    """Return a starter of functions: start(source, STORE_URL="...")."""
    with ExitStack() as stack:

        def start(source, **env):
            environment = {"STATE_DIR": str(tmp_path / "state"), **env}
            return Served(stack.enter_context(serving(source, environment, tmp_path / "log")))

        yield start


def check_that_it_keeps(function):
    """Store one result twice and a batch of two."""
    body = example_result()
    for _ in range(2):
        assert function.ask("POST", "/", body, "one") == (201, {"id": "one"})
    found = function.ask("POST", "/batch", {"results": [body, body]}, "two")
    assert found == (201, {"results": [{"id": "two:0"}, {"id": "two:1"}]})


def check_that_it_lists(function):
    """All three, newest first, their payloads as values."""
    found = function.results("/?page_size=100")
    assert sorted(result["id"] for result in found) == ["one", "two:0", "two:1"]
    assert found[-1]["id"] == "one"
    assert all(result["instances"] == example_result()["instances"] for result in found)
    assert function.results("/?page_size=100&model=other") == []


def check_that_pages_agree(raw, ours):
    """The same hundred results with the same values, with a filter and without; and a label finds its own."""
    members = ("id", "model", "version", "labels", "instances", "predictions")
    for query in ("/?page_size=100", "/?page_size=100&model=digits"):
        pages = [function.results(query) for function in (raw, ours)]
        raw_page, our_page = ([{name: result[name] for name in members} for result in page] for page in pages)
        assert (len(raw_page), raw_page) == (100, our_page)
    assert ours.ask("GET", "/?label.site=s3&count=true")[1]["total_size"] == 14
    assert ours.results("/?page_size=1")[0]["request_id"] == "bench-999"


def test_raw_sqlite_keeps_and_lists(start, tmp_path):
    """A key used again keeps nothing more."""
    function = start(raw_source("raw_sqlite"), DATABASE=str(tmp_path / "raw.db"))

    check_that_it_keeps(function)
    check_that_it_lists(function)


def test_raw_postgresql_keeps_and_lists(start, running_postgresql):
    """Likewise."""
    name = running_postgresql.new_database("template0")
    function = start(raw_source("raw_postgresql"), DATABASE=running_postgresql.url(name).replace("+psycopg", ""))

    check_that_it_keeps(function)
    check_that_it_lists(function)


def test_raw_firestore_keeps(start, running_firestore):
    """One, and a batch in one commit."""
    env = {"PROJECT": "nightshift-tests", "DATABASE": "raw", "FIRESTORE_EMULATOR_HOST": running_firestore.host}
    function = start(raw_source("raw_firestore"), **env)
    body = example_result()

    assert function.ask("POST", "/", body, "one") == (201, {"id": "one"})
    assert function.ask("POST", "/batch", {"results": [body] * 2}, "two")[0] == 201


def test_sqlite_filled_in_bulk_is_a_store_as_the_functions_know_it(start, tmp_path):
    """list-results finds the results, and the raw client finds the very same ones in the same file."""
    database = tmp_path / "filled.db"
    fill(f"sqlite:///{database}", 1000)

    check_that_pages_agree(
        start(raw_source("raw_sqlite"), DATABASE=str(database)),
        start(function_source("list_results"), STORE_URL=f"sqlite:///{database}"),
    )


def test_postgresql_filled_in_bulk_is_a_store_as_the_functions_know_it(start, postgresql_url):
    """Likewise."""
    fill(postgresql_url, 1000)

    check_that_pages_agree(
        start(raw_source("raw_postgresql"), DATABASE=postgresql_url.replace("+psycopg", "")),
        start(function_source("list_results"), STORE_URL=postgresql_url),
    )
