"""web: the documents and what browsers are told of them, and what passes through to the other functions."""

import contextlib
import gzip
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from shared.config import ROOT

STATIC = ROOT / "functions" / "web" / "static"
SAME = {"Sec-Fetch-Site": "same-origin"}
RESULT = {"model": "m", "version": "1", "instances": [1], "predictions": [2]}
URLS = ("PREDICT_URL", "STORE_RESULT_URL", "LIST_RESULTS_URL", "NIGHTLY_TRANSFORM_URL")
CSP = {
    **{"default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data:"},
    **{"connect-src": "'self'", "base-uri": "'none'", "form-action": "'self'", "frame-ancestors": "'none'"},
    **{"require-trusted-types-for": "'script'", "trusted-types": "'none'"},
}


@pytest.fixture
def upstream():
    """A server in the place of another function that keeps what it was asked, and answers as it is told."""

    class Upstream(ThreadingHTTPServer):
        asked: list
        answer: tuple

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            server.asked.append((self.command, self.path, dict(self.headers), body))
            status, headers, content = server.answer
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **headers}.items():
                if value:
                    self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    server = Upstream(("127.0.0.1", 0), Handler)
    server.asked, server.answer = [], (200, {"Content-Type": "application/json"}, b'{"kept": true}')
    server.daemon_threads = True
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def web(client):
    """A maker of the page's function in this process: web(PREDICT_URL=...); its connections end with the test."""
    made = []

    def make(**env):
        page = client("web", **env)
        made.append(sys.modules["main"]._upstreams)
        return page

    yield make
    for upstreams in made:
        for asked in upstreams().values():
            asked.close()


@pytest.fixture
def page(web, upstream):
    """The page's function, every other function being the stand-in."""
    return web(**dict.fromkeys(URLS, upstream.url))


def reason(answer):
    """The reason of an error."""
    return answer.json["error"]["details"][0]["reason"]


@pytest.mark.parametrize(
    "path", ["/", "/results", f"/results/{'a' * 26}", "/nights", "/nights/nightly/2026-11-22", "/status", "/nowhere"]
)
def test_documents_are_held_to_a_strict_policy(page, path):
    """No inline script or style, no other site, no cookie."""
    answer = page.get(path)

    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy == CSP
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    text = answer.text
    assert re.findall(r"<script(?![^>]*\bsrc=)|\sstyle=|<style|\son[a-z]+=|javascript:", text) == []
    assert set(re.findall(r'(?:src|href)="(https?:[^"]*)"', text)) == set()


def test_what_is_not_there_is_a_404_for_people_and_for_programs(page):
    """A document elsewhere, AIP-193 under /api/."""
    assert page.get("/nowhere").status_code == 404
    assert page.get("/nowhere").content_type.startswith("text/html")
    answer = page.get("/api/nowhere")
    assert (answer.status_code, reason(answer)) == (404, "PATH_NOT_FOUND")
    assert answer.headers["Content-Security-Policy"]


def test_hostile_names_of_an_environment_are_escaped(web):
    """Whatever the environment is called, the document is whole."""
    text = web(ENVIRONMENT='"><script>alert(1)</script>').get("/").text

    assert "<script>alert" not in text
    assert "&lt;script&gt;" in text


def test_assets_are_compressed_and_kept_for_good_under_their_version(page):
    """Under another version, of an earlier deployment, what there is now is answered and not kept."""
    path = re.search(r"/static/[0-9a-f]{12}/page\.css", page.get("/").text)[0]

    answer = page.get(path, headers={"Accept-Encoding": "gzip, br"})
    assert gzip.decompress(answer.data) == (STATIC / "page.css").read_bytes()
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert page.get(path, headers={"Accept-Encoding": "gzip;q=0"}).data == (STATIC / "page.css").read_bytes()
    other = page.get("/static/000000000000/page.css")
    assert (other.status_code, other.headers["Cache-Control"]) == (200, "no-store")
    assert page.get(path.replace("page", "nothing")).status_code == 404
    assert page.get(path.replace("page.css", "..%2fmain.py")).status_code == 404


@pytest.mark.parametrize(("path", "script"), [("/", "try.js"), ("/nights", "nights.js"), ("/status", "status.js")])
def test_scripts_are_fetched_at_once(page, path, script):
    """Every module that a view needs is named in its document: none has to be found out by another."""
    text = page.get(path).text
    version = re.search(r"/static/([0-9a-f]{12})/", text)[1]
    preloaded = set(re.findall(r'modulepreload" href="/static/[0-9a-f]{12}/([a-z_]+\.js)"', text))

    needed, waiting = set(), {"app.js", script}
    while waiting:
        needed |= waiting
        sources = [page.get(f"/static/{version}/{name}").text for name in waiting]
        waiting = {name for source in sources for name in re.findall(r'from "\./([a-z_]+\.js)"', source)} - needed
    assert preloaded == needed


def test_the_whole_page_is_under_sixty_kilobytes(page):
    """Every script and style and the document, compressed as they are sent."""
    files = sorted(path.name for path in STATIC.iterdir())
    version = re.search(r"/static/([0-9a-f]{12})/", page.get("/").text)[1]

    sent = [len(page.get(f"/static/{version}/{name}", headers={"Accept-Encoding": "gzip"}).data) for name in files]

    assert len(files) > 10
    assert sum(sent) + len(page.get("/").data) < 60_000


PASSAGES = [
    ("GET", "/api/models", "/v1/models"),
    ("GET", "/api/models/digits/versions/1/example", "/v1/models/digits/versions/1/example"),
    ("POST", "/api/models/digits:predict", "/v1/models/digits:predict"),
    ("POST", "/api/models/digits/labels/stable:predict", "/v1/models/digits/labels/stable:predict"),
    ("GET", "/api/results?label.a=b%26c&page_size=3", "/?label.a=b%26c&page_size=3"),
    ("GET", f"/api/results/{'a' * 26}", f"/{'a' * 26}"),
    ("POST", "/api/results", "/"),
    ("GET", "/api/jobs", "/jobs"),
    ("POST", "/api/jobs/nightly:trigger", "/jobs/nightly:trigger"),
    ("POST", "/api/jobs/nightly:pause", "/jobs/nightly:pause"),
    ("POST", "/api/jobs/nightly:resume", "/jobs/nightly:resume"),
    ("GET", "/api/runs?job=nightly", "/runs?job=nightly"),
    ("GET", "/api/runs/reconcile/2026-11-23T03:30", "/runs/reconcile/2026-11-23T03:30"),
    ("POST", "/api/runs/nightly/2026-11-22:rerun", "/runs/nightly/2026-11-22:rerun"),
    ("GET", "/api/summaries?job=drift", "/summaries?job=drift"),
]


@pytest.mark.parametrize(("method", "path", "there"), PASSAGES)
def test_what_is_listed_passes_through(page, upstream, method, path, there):
    """With its query and body, and without what the browser says of itself."""
    body = {"json": {"asked": 1}} if method == "POST" else {}

    answer = page.open(path, method=method, headers={**SAME, "X-Request-Id": "abc", "Cookie": "a=b"}, **body)

    assert (answer.status_code, answer.json) == (200, {"kept": True})
    ((got_method, got_path, headers, got_body),) = upstream.asked
    assert (got_method, got_path) == (method, there)
    assert json.loads(got_body or "{}") == body.get("json", {})
    assert headers["x-request-id"] == "abc"
    assert not {"cookie", "sec-fetch-site", "origin"} & {name.lower() for name in headers}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(("GET", path) for path in ("/api/dead-letters", "/api/openapi.json", "/api/v2", "/api/health", "/api/")),
        *(("GET", path) for path in ("/api/models/../../v2", "/api/models/a/b", "/api/results/../jobs")),
        *(("GET", path) for path in ("/api/runs/../dead-letters", "/api/runs/%2e%2e/health", "/api/runs/./x")),
        ("GET", "/api/models/../example"),
        *(("POST", path) for path in ("/api/batch", "/api/jobs/nightly:backfill", "/api/models/digits:classify")),
        *(("DELETE", path) for path in ("/api/results", "/api/models", "/")),
        ("POST", "/api/jobs"),
        ("PUT", "/api/results"),
    ],
)
def test_what_is_not_listed_goes_nowhere(page, upstream, method, path):
    """Nothing is asked of any function."""
    answer = page.open(path, method=method, headers=SAME, json={})

    assert answer.status_code in (404, 405)
    assert upstream.asked == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://["},
    ],
)
@pytest.mark.parametrize(("method", "path", "_"), [row for row in PASSAGES if row[0] == "POST"])
def test_a_post_from_elsewhere_is_refused(page, upstream, headers, method, path, _):
    """Another site, or nobody who says which."""
    answer = page.open(path, method=method, headers=headers, json={})

    assert (answer.status_code, reason(answer)) == (403, "CROSS_ORIGIN")
    assert upstream.asked == []


@pytest.mark.parametrize("headers", [{"Origin": "http://localhost"}, {**SAME, "Origin": "http://127.0.0.1:8080"}])
def test_a_post_of_the_page_itself_passes(page, headers):
    """By its origin where the browser is old; through a proxy that changes the host by the browser's own word."""
    assert page.post("/api/results", headers=headers, json=RESULT).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("path", ["/api/jobs", "/api/status", "/api/results.csv"])
def test_on_a_laptop_only_its_own_names_are_asked_for(page, upstream, path, host):
    """A site whose name was made to lead here would pass for the page itself."""
    answer = page.get(path, headers={**SAME, "Host": host})

    assert (answer.status_code, reason(answer)) == (403, "FOREIGN_HOST")
    assert upstream.asked == []
    assert page.get(path, headers={"Host": "[::1]:8080"}).status_code != 403


def test_headers_that_are_no_ascii_are_left_out(page, upstream):
    """In both directions: neither library could send them."""
    upstream.answer = (200, {"Content-Type": "application/json", "X-Nightshift-Version": "\u00e9"}, b"{}")

    answer = page.get("/api/jobs", headers={"Accept": "\u00e9", "Traceparent": "\u00e9"})

    assert answer.status_code == 200
    assert "X-Nightshift-Version" not in answer.headers
    assert "traceparent" not in {name.lower() for name in upstream.asked[0][2]}


def test_cookies_of_one_visitors_answer_are_not_sent_with_anothers_question(page, upstream):
    """The functions set none; what stands before them may."""
    upstream.answer = (200, {"Content-Type": "application/json", "Set-Cookie": "session=alice"}, b"{}")
    page.get("/api/jobs")
    page.get("/api/jobs")

    assert "cookie" not in {name.lower() for name in upstream.asked[1][2]}


def test_what_a_form_could_send_is_refused(page, upstream):
    """Writes are JSON, which no form of another site can send."""
    answer = page.post("/api/results", headers=SAME, data="a=b", content_type="application/x-www-form-urlencoded")

    assert (answer.status_code, reason(answer)) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert upstream.asked == []


@pytest.mark.parametrize(("method", "path", "_"), PASSAGES)
def test_read_only_leaves_predictions_and_views(web, upstream, method, path, _):
    """READ_ONLY=1 refuses what changes something, and nothing else."""
    page = web(READ_ONLY="1", **dict.fromkeys(URLS, upstream.url))

    answer = page.open(path, method=method, headers=SAME, json={} if method == "POST" else None)

    changes = method == "POST" and not path.endswith(":predict")
    assert answer.status_code == (403 if changes else 200)
    assert bool(upstream.asked) is not changes
    if changes:
        assert reason(answer) == "READ_ONLY"


def test_an_answer_keeps_its_status_and_what_the_page_needs_to_know(page, upstream):
    """Errors too; headers of no concern stay away."""
    headers = {
        "Content-Type": "application/json",
        "Retry-After": "7",
        "X-Nightshift-Start": "cold",
        "Set-Cookie": "a=b",
    }
    upstream.answer = (503, headers, b'{"error": {"code": 503}}')

    answer = page.get("/api/jobs")

    assert (answer.status_code, answer.json) == (503, {"error": {"code": 503}})
    assert (answer.headers["Retry-After"], answer.headers["X-Nightshift-Start"]) == ("7", "cold")
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, {"Content-Type": "text/html"}, b"<h1>hello</h1>"), "UPSTREAM_NONSENSE"),
        ((302, {"Content-Type": "text/html", "Location": "https://evil.example/"}, b""), "UPSTREAM_NONSENSE"),
        ((403, {"Content-Type": "text/html"}, b"<h1>Forbidden</h1>"), "UPSTREAM_REFUSED"),
        ((200, {"Content-Type": "application/json", "Content-Length": "99"}, b'{"cut": '), "UPSTREAM_NONSENSE"),
        ((200, {}, b"{}"), "UPSTREAM_NONSENSE"),
        ((520, {"Content-Type": "application/json"}, b"{}"), "UPSTREAM_NONSENSE"),
    ],
)
def test_nonsense_is_a_502_and_none_of_it_is_passed_on(page, upstream, answer, expected):
    """What is not the function's own never reaches the page."""
    upstream.answer = answer
    if "Content-Length" in answer[1]:
        upstream.RequestHandlerClass.protocol_version = "HTTP/1.0"

    got = page.get("/api/jobs")

    assert (got.status_code, reason(got)) == (502, expected)
    assert b"hello" not in got.data


def test_a_function_that_is_down_is_a_503(web):
    """Named, with Retry-After."""
    answer = web(PREDICT_URL="http://127.0.0.1:9").get("/api/models")

    assert (answer.status_code, reason(answer)) == (503, "UPSTREAM_UNREACHABLE")
    assert "predict" in answer.json["error"]["message"]
    assert answer.headers["Retry-After"] == "1"


def test_a_function_that_hangs_leaves_threads_for_the_others(serve):
    """Half of the threads wait for it at most; one more is refused, and the page and the rest answer."""
    let_go = threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        def do_GET(self):
            arrived.release()
            let_go.wait(60)

        def log_message(self, *_):
            pass

    arrived = threading.Semaphore(0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hanging)
    server.daemon_threads = True
    accepting = threading.Thread(target=server.serve_forever)
    accepting.start()
    page = serve("web", THREADS="4", PREDICT_URL=f"http://127.0.0.1:{server.server_port}")
    waiting = [threading.Thread(target=lambda: httpx.get(f"{page.url}/api/models", timeout=90)) for _ in range(2)]
    for thread in waiting:
        thread.start()
        assert arrived.acquire(timeout=20)

    refused = httpx.get(f"{page.url}/api/models", timeout=20)
    document = httpx.get(page.url, timeout=20)

    let_go.set()
    server.shutdown()
    server.server_close()
    for thread in [*waiting, accepting]:
        thread.join()
    assert refused.status_code == 503
    assert refused.json()["error"]["details"][0]["reason"] == "UPSTREAM_BUSY"
    assert document.status_code == 200


@pytest.mark.parametrize("status", [200, 520])
def test_answers_that_break_off_or_make_no_sense_give_their_places_back(web, upstream, status):
    """More of them than there are places, and the next question is answered."""
    page = web(THREADS="2", **dict.fromkeys(URLS, upstream.url))
    chunked = {"Content-Type": "application/json", "Transfer-Encoding": "chunked", "Content-Length": ""}
    upstream.answer = (status, chunked, b'5\r\n{"a":\r\nnonsense\r\n')
    for _ in range(4):
        with contextlib.suppress(Exception):
            page.get("/api/jobs", buffered=True)

    upstream.answer = (200, {"Content-Type": "application/json"}, b"{}")
    assert page.get("/api/jobs").status_code == 200


def test_readers_that_take_their_time_leave_results_to_others(serve):
    """Downloads hold half of a function's places at most: one more is refused, and a page of results is answered."""
    let_go, pieces = threading.Event(), b"400\r\n" + b"x" * 1024 + b"\r\n"

    class Endless(BaseHTTPRequestHandler):
        def do_GET(self):
            csv = self.headers["Accept"] == "text/csv"
            self.send_response(200)
            self.send_header("Content-Type", "text/csv" if csv else "application/json")
            self.send_header(*(("Transfer-Encoding", "chunked") if csv else ("Content-Length", "2")))
            self.end_headers()
            self.wfile.write(pieces if csv else b"{}")
            if csv:
                let_go.wait(60)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.daemon_threads = True
    accepting = threading.Thread(target=server.serve_forever)
    accepting.start()
    page = serve("web", THREADS="8", LIST_RESULTS_URL=f"http://127.0.0.1:{server.server_port}")
    with contextlib.ExitStack() as reading:
        for _ in range(2):
            answer = reading.enter_context(httpx.stream("GET", f"{page.url}/api/results.csv", timeout=20))
            next(answer.iter_raw())
        refused = httpx.get(f"{page.url}/api/results.csv", timeout=20)
        listed = httpx.get(f"{page.url}/api/results", timeout=20)
        let_go.set()
    server.shutdown()
    server.server_close()
    accepting.join()

    assert (refused.status_code, listed.status_code) == (503, 200)


def test_a_long_answer_is_passed_on_as_it_comes(page, upstream):
    """Twenty megabytes, unchanged."""
    content = b'{"rows":"' + b"x" * 20_000_000 + b'"}'
    upstream.answer = (200, {"Content-Type": "application/json"}, content)

    assert page.get("/api/results").data == content


def test_results_are_downloaded_as_a_file(page, upstream):
    """As list-results writes CSV; what is no CSV is nonsense."""
    upstream.answer = (200, {"Content-Type": "text/csv; charset=utf-8"}, b"id\r\na\r\n")
    answer = page.get("/api/results.csv?model=m")

    assert answer.data == b"id\r\na\r\n"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="results.csv"'
    assert answer.content_type == "text/csv; charset=utf-8"
    assert upstream.asked[0][1] == "/?model=m"
    assert upstream.asked[0][2]["accept"] == "text/csv"
    upstream.answer = (200, {"Content-Type": "application/json"}, b"{}")
    assert page.get("/api/results.csv").status_code == 502


def test_status_asks_every_function_and_tells_of_each(web, serve):
    """One that is down is told with why, and stops nobody."""
    page = web(PREDICT_URL=serve("predict").url, STORE_RESULT_URL="http://127.0.0.1:9", K_REVISION="web-7")

    told = {function["name"]: function for function in page.get("/api/status").json["functions"]}

    assert list(told) == ["web", "predict", "store_result", "list_results", "nightly_transform"]
    assert (told["web"]["ok"], told["web"]["revision"]) == (True, "web-7")
    assert (told["predict"]["ok"], told["predict"]["environment"]) == (True, "local")
    assert told["store_result"]["ok"] is False
    assert "cannot be reached" in told["store_result"]["problem"]
    assert told["predict"]["log"].endswith("logs/predict.jsonl")


@pytest.mark.parametrize("body", [b"[]", b"{}", b"7", b'{"status": "well"}', b"\xff"])
def test_a_health_that_is_none_is_told(page, upstream, body):
    """Whatever a function answers, the status page goes on."""
    upstream.answer = (200, {"Content-Type": "application/json"}, body)

    told = page.get("/api/status").json["functions"]

    assert [function["ok"] for function in told] == [True, False, False, False, False]
    assert all(function["problem"] for function in told[1:])


@pytest.mark.parametrize(("name", "text"), [("READ_ONLY", "yes"), ("PREDICT_URL", "predict")])
def test_what_is_set_wrongly_stops_the_start(web, name, text):
    """Every problem is told with the variable's name."""
    with pytest.raises(Exception, match=name):
        web(**{name: text})
