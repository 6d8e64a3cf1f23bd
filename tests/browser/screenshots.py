"""`make screenshots`: each view in both themes, out of a stack with two weeks of nights; and how long views take."""

import argparse
import hashlib
import json
import random
import statistics
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from functions._local.console import StackConsole
from functions._local.processes import free_port_base
from functions._local.stack import Stack
from shared.config import PORT_OFFSETS, ROOT
from shared.records import Result
from shared.stores import open_results
from tests.browser.conftest import CHROMIUM

DAYS, ROUNDS = 14, 5
# On this day other digits came than usual, and this night nobody worked.
_ODD_DAY, _NO_NIGHT = 3, 8
_HELD_OUT = ROOT / "model" / "digits" / "held_out.json"


def main() -> None:
    """Run the stack, fill it, and go through the views."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshots")
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "docs", help="where the pictures go")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    local = ROOT / ".local"
    local.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="screenshots-", dir=local) as scratch:
        stack = Stack(
            list(PORT_OFFSETS),
            port_base=free_port_base(),
            state_dir=Path(scratch),
            models_dir=None,
            console=StackConsole(only_problems=True),
        )
        with stack.running(), sync_playwright() as playwright:
            found = _fill(stack.urls, Path(scratch))
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            paths = {
                **{"try": "/", "results": "/results", "result": f"/results/{found['result']}"},
                **{"nights": "/nights", "run": f"/nights/nightly/{found['night']}", "status": "/status"},
            }
            for scheme in ("light", "dark"):
                for view, path in paths.items():
                    _picture(browser, stack.urls["web"] + path, folder / f"{view}-{scheme}.png", scheme)
            _measure(browser, stack.urls["web"], paths)
            browser.close()


def _fill(urls: dict[str, str], state_dir: Path) -> dict[str, str]:
    """Store results as of the last days, and run each night over them."""
    held_out = json.loads(_HELD_OUT.read_text())
    instances = [{"image": image} for image in held_out["images"]]
    answer = httpx.post(f"{urls['predict']}/v1/models/digits:predict", json={"instances": instances}, timeout=60)
    pairs = list(zip(instances, answer.raise_for_status().json()["predictions"], strict=True))
    chance, today = random.Random(7), datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
    results = []
    for age in range(DAYS, 0, -1):
        day_pairs = [pair for pair in pairs if age != _ODD_DAY or pair[1]["digit"] in (1, 4, 7, 9)]
        for number in range(chance.randrange(400, 600)):
            moment = today - timedelta(days=age) + timedelta(seconds=chance.randrange(86_400))
            results.append(_result(f"{age}-{number}", moment, *chance.choice(day_pairs)))
    for start in range(0, len(results), 500):
        store.create_results(results[start : start + 500])
    for age in range(DAYS, 0, -1):
        if age != _NO_NIGHT:
            for job in ("nightly", "drift", "export"):
                _run(urls, job, str((today - timedelta(days=age)).date()))
    _run(urls, "drift", str((today - timedelta(days=_NO_NIGHT)).date()), force=True)
    _run(urls, "reconcile")
    newest = max(results, key=lambda result: result.created_at)
    return {"result": newest.id, "night": str((today - timedelta(days=1)).date())}


def _run(urls: dict[str, str], job: str, key: str | None = None, **order: bool) -> None:
    body = {**order, **({"key": key} if key else {})}
    httpx.post(f"{urls['nightly_transform']}/jobs/{job}:trigger", json=body, timeout=60)


def _result(name: str, moment: datetime, instance: dict[str, object], prediction: dict[str, object]) -> Result:
    scores = prediction["probabilities"]
    summary = {"count": 1, "classes": [str(prediction["digit"])], "scores": [max(scores)]}
    identity = hashlib.sha256(name.encode())
    letters = "".join("abcdefghijklmnopqrstuvwxyz234567"[byte % 32] for byte in identity.digest()[:26])
    return Result(
        id=letters,
        created_at=moment,
        model="digits",
        version="1",
        instances=json.dumps([instance]),
        predictions=json.dumps([prediction]),
        summary=json.dumps(summary),
        payload_hash=identity.hexdigest(),
        labels={"source": "tablet" if moment.hour % 2 else "scanner"},
    )


def _picture(browser: Browser, url: str, file: Path, scheme: str) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
    page = _opened(context.new_page(), url)
    if file.name.startswith("try"):
        with page.expect_response("**:predict"):
            page.get_by_role("button", name="Sample 5").click()
        page.wait_for_selector(".winner")
    page.screenshot(path=file, full_page=file.name.startswith("nights"))
    context.close()


def _measure(browser: Browser, url: str, paths: dict[str, str]) -> None:
    """Print how long each view takes until it can be used, with nothing kept from before, and what it is sent."""
    print(f"{'view':<8} {'usable after':>12} {'sent':>8}   median of {ROUNDS}")
    for view, path in paths.items():
        seconds, sent = [], 0
        for _ in range(ROUNDS):
            context = browser.new_context()
            page = _opened(context.new_page(), url + path)
            seconds.append(page.evaluate("performance.getEntriesByName('ready')[0].startTime / 1000"))
            sent = page.evaluate(
                "[...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')]"
                ".reduce((sum, one) => sum + one.transferSize, 0)"
            )
            context.close()
        print(f"{view:<8} {statistics.median(seconds):>10.2f} s {sent / 1000:>5.1f} kB")


def _opened(page: Page, url: str) -> Page:
    page.goto(url)
    page.wait_for_selector("html[data-ready=yes]")
    return page


if __name__ == "__main__":
    main()
