"""The page in a real Chromium against the running local stack, started once for all of these tests."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from functions._local.console import StackConsole
from functions._local.processes import free_port_base
from functions._local.stack import Stack
from shared.config import PORT_OFFSETS
from tests.support import RunningFunction

# WCAG 2.2 AA, as axe-core names its rules, and what it holds good practice.
_AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests in one worker, since one browser and one stack serve them all, with time for a slow machine."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Run every function, and return where each answers."""
    running = Stack(
        list(PORT_OFFSETS),
        port_base=free_port_base(),
        state_dir=tmp_path_factory.mktemp("browser-stack"),
        models_dir=None,
        console=StackConsole(only_problems=True),
    )
    with running.running():
        yield running.urls


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Run one browser for all tests."""
    if CHROMIUM is None:
        pytest.skip("NOT TESTED: the page: no Chromium is installed (Debian's package chromium)")
    with sync_playwright() as playwright:
        # Everything that it runs is ours; its sandbox does not start for root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A visitor's tab, in which nothing may happen that the page promises not to do.

    Attributes:
        page: Playwright's.
        base: The page's URL.
    """

    def __init__(self, browser: Browser, base: str, **options: Any) -> None:
        self.base = base
        self.complaints: list[str] = []
        self._context = browser.new_context(base_url=base, **{"viewport": {"width": 1280, "height": 900}, **options})
        self.page: Page = self._context.new_page()
        self.page.set_default_timeout(15_000)
        self.page.on("pageerror", lambda error: self.complaints.append(f"uncaught: {error}"))
        self.page.on("console", lambda line: self._hear(line.type, line.text))
        self.page.on("request", lambda request: self._watch(request.url))

    def open(self, path: str) -> Page:
        """Go there, and wait until its view has been drawn."""
        self.page.goto(path)
        self.page.wait_for_selector("html[data-ready=yes]")
        return self.page

    def close(self) -> None:
        """Leave, and hold the page to what it promises: no cookies, no outside requests, no errors."""
        cookies = self._context.cookies()
        self._context.close()
        assert cookies == []
        assert self.complaints == []

    def _hear(self, kind: str, text: str) -> None:
        # A failed request is an answer like any other, of which the browser tells as well.
        if kind == "error" and not text.startswith("Failed to load resource"):
            self.complaints.append(text)

    def _watch(self, url: str) -> None:
        if not url.startswith((self.base, "data:", "blob:")):
            self.complaints.append(f"outside request: {url}")


@pytest.fixture
def visit(chromium: Browser, stack: dict[str, str]) -> Iterator[Visit]:
    """Return a visitor of the running stack."""
    visitor = Visit(chromium, stack["web"])
    yield visitor
    visitor.close()


def violations(page: Page) -> list[str]:
    """Return what axe finds wrong with the page as it is now."""
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": _AXE_TAGS}}).response["violations"]
    return [f"{rule['id']}: {rule['help']}: {[node['target'] for node in rule['nodes']][:3]}" for rule in found]


def store(stack: dict[str, str], **members: Any) -> str:
    """Store a result as another program would, and return its id."""
    body = {"model": "digits", "version": "1", "instances": [[1]], "predictions": [{"digit": 1}], **members}
    answer = httpx.post(stack["store_result"], content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.fixture
def visits(chromium: Browser) -> Iterator[Callable[..., Visit]]:
    """Return a maker of visitors, of any URL and with any options of a browser's context."""
    with ExitStack() as leaving:

        def make(base: str, **options: Any) -> Visit:
            visitor = Visit(chromium, base, **options)
            leaving.callback(visitor.close)
            return visitor

        yield make


@pytest.fixture
def serve_page(stack: dict[str, str], serve: Callable[..., RunningFunction]) -> Callable[..., str]:
    """Return a starter of pages of their own before the running stack: serve_page(PREDICT_URL=...) returns the URL."""

    def start(**env: str) -> str:
        urls = {f"{name.upper()}_URL": url for name, url in stack.items() if name != "web"}
        return serve("web", **{**urls, **env}).url

    return start


Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def misbehaving() -> Iterator[Callable[[Answer], str]]:
    """Return a starter of servers that answer every request as they are told to, and their URL."""
    with ExitStack() as stopping:

        def start(answer: Answer) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.rfile.read(int(self.headers.get("Content-Length", 0)))
                    answer(self)

                do_POST = do_GET  # noqa: N815

                def log_message(self, *_: object) -> None:
                    pass

            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            stopping.callback(thread.join)
            stopping.callback(server.server_close)
            stopping.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def answering(status: int, text: str, content_type: str = "application/json") -> Answer:
    """Return what answers everything alike."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = text.encode()
        handler.send_response(status)
        handler.send_header("Content-Type", content_type)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def fits(page: Page) -> bool:
    """Return whether the document is no wider than its window."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"))
