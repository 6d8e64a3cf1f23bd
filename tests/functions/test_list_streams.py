"""list-results streams a whole query as CSV or JSON Lines, whatever its size, in memory that does not grow with it."""

import csv
import io
import json
import shutil
import threading
import time
from datetime import UTC, datetime, timedelta

import httpx
import psutil
import pytest

from shared.stores import open_results
from tests.contract.factories import NOW, a_result

CSV, LINES = {"Accept": "text/csv"}, {"Accept": "application/x-ndjson"}
# Spreadsheets and parsers trip over each of these.
AWKWARD = [
    '{"a": "quote \\" comma , semicolon ; \\n", "b": [1.10, NaN, -Infinity, 1E+2]}',
    "[\r\n\t1,\n\r 2 ]",
    '"Zoë 🙂 \u2028 \u2029 \x85 \\ud800 =1+1"',
    '""',
    "null",
    " ",
]
MEBIBYTE = 1 << 20


@pytest.fixture
def store(state_dir):
    """Return the store that the function reads."""
    store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
    yield store
    store.close()


@pytest.fixture
def list_results(client):
    """Return a client of list-results."""
    return client("list_results", THREADS="2")


def many(count, **changes):
    """Return results a microsecond apart, seven of them at each."""
    return [
        a_result(
            id=f"{number:026d}".translate(str.maketrans("0123456789", "abcdefghij")),
            created_at=NOW + timedelta(microseconds=number // 7),
            model=f"m{number % 2}",
            labels={"half": str(number % 2), "text": 'a,"b"\r\n'} if number % 3 else {},
            instances=AWKWARD[number % 5],
            request_id=f'r"{number}' if number % 4 else None,
            expires_at=None if number % 5 else datetime(2999, 1, 1, tzinfo=UTC),
            **changes,
        )
        for number in range(count)
    ]


def keep(store, results):
    """Store results in the largest batches."""
    for start in range(0, len(results), 500):
        store.create_results(results[start : start + 500])


def reason(answer):
    """Return the reason of an error, which is JSON whatever was asked for."""
    assert answer.content_type == "application/json"
    (detail,) = answer.json["error"]["details"]
    return detail["reason"]


def pages(client, query):
    """Return what a caller finds who walks the pages."""
    found, token, begun = [], "", False
    while token or not begun:
        page = client.get(f"/?{query}&page_token={token}").json
        found += page["results"]
        token, begun = page["next_page_token"], True
    return found


def rows(data):
    """Read CSV as Python reads it."""
    return list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))


def whole_lines(answer):
    """Yield an answer's lines as they come, with their ends, as csv wants them."""
    kept = ""
    for text in answer.iter_text():
        *lines, kept = (kept + text).split("\n")
        yield from (line + "\n" for line in lines)
    yield kept


def lines_of(running, request_id):
    """Return the log lines of one request, once there is one; a stream's is written after its end was sent."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found = [line for line in running.log_lines() if line.get("request_id") == request_id]
        if found:
            return found
        httpx.get(f"{running.url}/health")
    raise AssertionError(f"no log line of {request_id}")


QUERIES = [
    *("", "order=asc", "model=m1", "model=m0&version=1&order=asc", "label.half=1&model=m1", "model=none"),
    *("since=2026-11-22T12:00:00.000050Z&until=2026-11-22T12:00:00.000100Z", "fields=summary,id", "non_finite=null"),
]


@pytest.mark.parametrize("query", QUERIES)
def test_lines_are_the_results_of_all_pages(list_results, store, query):
    """Same filters, order, fields and numbers: only the pages are gone."""
    keep(store, many(1203))

    answer = list_results.get(f"/?{query}", headers=LINES)

    assert (answer.status_code, answer.content_type) == (200, "application/x-ndjson")
    lines = [json.loads(line) for line in answer.data.decode().splitlines()]
    assert json.dumps(lines) == json.dumps(pages(list_results, query))


@pytest.mark.parametrize("query", QUERIES)
def test_csv_rows_are_the_results_of_all_pages(list_results, store, query):
    """A header names the fields; text stands as it is, anything else as JSON, none as nothing."""
    keep(store, many(1203))

    answer = list_results.get(f"/?{query}", headers=CSV)

    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8; header=present")
    header, *body = rows(answer.data)
    read = [
        {
            name: (json.loads(cell) if name in ("instances", "predictions", "labels", "summary") else cell or None)
            for name, cell in zip(header, row, strict=True)
        }
        for row in body
    ]
    assert json.dumps(read) == json.dumps(pages(list_results, query))


def test_csv_is_written_as_rfc_4180_has_it(list_results, store):
    """CRLF after every row, quotes doubled, UTF-8 without a mark at its beginning."""
    keep(store, [a_result(id="a" * 26, instances='["Zoë, \\"1\\""]', labels={"a": "b"}, created_at=NOW)])

    answer = list_results.get("/?fields=id,instances,request_id,labels,created_at", headers=CSV)

    assert answer.data.decode() == (
        "id,instances,request_id,labels,created_at\r\n"
        'aaaaaaaaaaaaaaaaaaaaaaaaaa,"[""Zoë, \\""1\\""""]",,"{""a"":""b""}",2026-11-22T12:00:00.000000Z\r\n'
    )


@pytest.mark.parametrize("payload", AWKWARD)
def test_payloads_survive_csv_character_for_character(list_results, store, payload):
    """What a parser of CSV finds in the cell is what was stored."""
    keep(store, [a_result(instances=payload, predictions=payload)])

    answer = list_results.get("/?fields=instances,predictions", headers=CSV)

    assert rows(answer.data) == [["instances", "predictions"], [payload, payload]]


@pytest.mark.parametrize("payload", AWKWARD[:5])
def test_a_result_is_one_line_to_every_reader(list_results, store, payload):
    """Line breaks in a payload are space, or are escaped; the values are the same."""
    keep(store, [a_result(instances=payload), a_result()])

    text = list_results.get("/", headers=LINES).data.decode()

    assert len(text.splitlines()) == text.count("\n") == 2
    assert repr(json.loads(text.splitlines()[0])["instances"]) in (repr(json.loads(payload)), "[[1]]")
    assert {repr(json.loads(line)["instances"]) for line in text.splitlines()} == {repr(json.loads(payload)), "[[1]]"}


def test_nothing_found_is_an_empty_stream(list_results):
    """CSV still names its columns."""
    assert list_results.get("/?fields=id,model", headers=CSV).data == b"id,model\r\n"
    assert list_results.get("/", headers=LINES).data == b""


def test_what_has_expired_is_not_streamed(list_results, store):
    """Hidden is hidden."""
    keep(store, [a_result(expires_at=NOW - timedelta(days=9999)), a_result(id="a" * 26)])

    assert list_results.get("/?fields=id", headers=LINES).data == b'{"id":"aaaaaaaaaaaaaaaaaaaaaaaaaa"}\n'


def test_streams_without_payloads_need_no_objects(list_results, store, state_dir):
    """Fields that hold no payload read none."""
    keep(store, [a_result(id="a" * 26, instances=f'"{"x" * MEBIBYTE}"')])
    shutil.rmtree(state_dir / "objects")

    assert list_results.get("/?fields=id", headers=CSV).data == b"id\r\n" + b"a" * 26 + b"\r\n"
    assert reason(list_results.get("/", headers=CSV)) == "PAYLOAD_LOST"


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        *((text, "application/json") for text in ("", " ", "*/*", "application/json", "application/*", "*/*;q=0.1")),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("application/json, text/csv", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.4", "text/csv"),
        ("text/csv;q=0.5, application/json;q=0.500", "application/json"),
        ("text/csv, */*", "text/csv"),
        ("text/*", "text/csv"),
        ("TEXT/CSV", "text/csv"),
        ("text/csv; charset=utf-8; q=1.0", "text/csv"),
        ("text/csv;q=0, application/x-ndjson;q=0.001", "application/x-ndjson"),
        ("application/*;q=0.9, application/json;q=0.1", "application/x-ndjson"),
        ("application/json;q=0, */*", "text/csv"),
        ("nonsense, application/x-ndjson", "application/x-ndjson"),
        ("text/csv;q=nonsense", "text/csv"),
        ("application/x-ndjson\t;\tq=0.2", "application/x-ndjson"),
    ],
)
def test_accept_decides_by_quality(list_results, accept, content_type):
    """The highest quality, then the closest name, then JSON."""
    answer = list_results.get("/", headers={"Accept": accept})

    assert answer.status_code == 200
    assert answer.mimetype == content_type
    assert answer.headers["Vary"] == "Accept"


@pytest.mark.parametrize(
    "accept",
    ["text/html", "text/html;q=0.9, image/*", "nonsense", "*/*;q=0", "application/json;q=0", "*/csv", "x" * 9000],
)
def test_a_type_that_is_not_made_here_is_406(list_results, accept):
    """The refusal names what there is."""
    answer = list_results.get("/", headers={"Accept": accept})

    assert (answer.status_code, reason(answer)) == (406, "NOT_ACCEPTABLE")
    assert "application/json, text/csv, application/x-ndjson" in answer.json["error"]["message"]


@pytest.mark.parametrize("accept", [CSV, LINES])
@pytest.mark.parametrize("query", ["page_size=5", "page_token=", "page_token=x", "count=true", "count=false"])
def test_a_stream_has_no_pages(list_results, accept, query):
    """What only makes sense for pages is refused, not ignored."""
    answer = list_results.get(f"/?{query}", headers=accept)

    assert (answer.status_code, reason(answer)) == (400, "STREAM_HAS_NO_PAGES")
    assert accept["Accept"] in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [("version=1", "VERSION_WITHOUT_MODEL"), ("fields=x", "UNKNOWN_FIELD"), ("limit=1", "UNKNOWN_PARAMETER")],
)
def test_a_parameter_that_is_wrong_is_refused_before_a_stream_begins(list_results, query, expected):
    """Errors are JSON with their own status."""
    answer = list_results.get(f"/?{query}", headers=CSV)

    assert (answer.status_code, reason(answer)) == (400, expected)


def test_a_stream_has_no_head(list_results):
    """HEAD is refused as on every path."""
    assert list_results.head("/", headers=CSV).status_code == 405


def test_oldest_first_a_stream_ends_at_what_was_newest_when_it_began(list_results, store):
    """Results that keep arriving do not keep it going for ever."""
    keep(store, many(1100))

    answer = list_results.get("/?order=asc&fields=id", headers=LINES)
    lines = []
    for line in answer.response:
        lines += line.splitlines()
        store.create_results([a_result(created_at=NOW + timedelta(hours=1, microseconds=len(lines)))])

    assert len(lines) == 1100


def test_a_stream_that_breaks_off_is_seen_to_be_incomplete(serve, store, state_dir):
    """A payload that is lost on the third page: no clean end, and the log says why."""
    keep(store, [*many(1200), a_result(created_at=NOW - timedelta(hours=1), instances=f'"{"x" * MEBIBYTE}"')])
    shutil.rmtree(state_dir / "objects")
    running = serve("list_results", THREADS="2")

    with httpx.stream("GET", running.url, headers={**CSV, "X-Request-Id": "broken"}) as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.TransportError):
            answer.read()

    (line,) = lines_of(running, "broken")
    assert (line["severity"], line["outcome"], line["results"]) == ("ERROR", "PAYLOAD_LOST", 1000)


def test_thirty_thousand_results_stream_in_flat_memory_while_more_arrive(serve, store):
    """Each one comes once, however many; the process that serves them stays as large as it was."""
    results = many(30_000, predictions=f'"{"x" * 1000}"')
    keep(store, results)
    running = serve("list_results", THREADS="2")
    worker = psutil.Process(running.process.pid).children()[0]
    httpx.get(running.url, params={"page_size": "500"})
    ended = threading.Event()

    def write():
        number = 0
        while not ended.is_set():
            number += 1
            store.create_results([a_result(created_at=NOW + timedelta(microseconds=number * 997 % 5000))])

    writer = threading.Thread(target=write)
    found, rss_bytes = [], [worker.memory_info().rss]
    with httpx.stream("GET", f"{running.url}/?order=asc", headers={**CSV, "X-Request-Id": "flat"}) as answer:
        writer.start()
        try:
            for row in csv.DictReader(whole_lines(answer), strict=True):
                found.append(row["id"])
                if len(found) in (5_000, 29_900):
                    rss_bytes.append(worker.memory_info().rss)
        finally:
            ended.set()
            writer.join()

    assert len(found) == len(set(found))
    assert {result.id for result in results} <= set(found)
    assert rss_bytes[2] - rss_bytes[1] < 5 * MEBIBYTE
    assert rss_bytes[1] - rss_bytes[0] < 20 * MEBIBYTE
    (line,) = lines_of(running, "flat")
    assert (line["outcome"], line["results"]) == ("OK", len(found))


def test_a_slow_reader_is_not_buffered_for(serve, store):
    """What a reader has not taken yet stays in the database."""
    keep(store, [a_result(instances=f'"{"x" * 500_000}"') for _ in range(100)])
    running = serve("list_results", THREADS="2")
    worker = psutil.Process(running.process.pid).children()[0]
    httpx.get(running.url, params={"page_size": "4"})
    before_bytes = worker.memory_info().rss

    with httpx.stream("GET", running.url, headers=LINES) as answer:
        lines = answer.iter_lines()
        next(lines)
        with httpx.Client(base_url=running.url) as other:
            for _ in range(200):  # time for the server to run ahead, if it did
                other.get("/health")
        grown_bytes = worker.memory_info().rss - before_bytes
        assert sum(1 for _ in lines) == 99

    assert grown_bytes < 20 * MEBIBYTE
