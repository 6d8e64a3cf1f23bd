"""The whole main job in one command: real digits in, predictions stored, the day summarised, and all of it counted."""

import json
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from shared.config import ROOT
from shared.errors import ServiceError, UnavailableError

HELD_OUT = ROOT / "model" / "digits" / "held_out.json"
_CLIENTS = 4


@dataclass(frozen=True, slots=True)
class _Sent:
    """One image that went through: what it shows, what was predicted, and where the result is."""

    digit: int
    predicted: int
    result_id: str


class _Services:
    """The functions, called as any client would."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._urls = urls
        self._http = httpx.Client(timeout=60)

    def call(self, function: str, path: str, body: Any = None, **headers: str) -> Any:
        url = self._urls[function] + path
        try:
            answer = self._http.get(url) if body is None else self._http.post(url, json=body, headers=headers)
        except httpx.TransportError as error:
            raise UnavailableError(
                f"{function} does not answer at {self._urls[function]}: is `make run` running?"
            ) from error
        if not answer.is_success:
            raise ServiceError(f"{function} answered {answer.status_code} to {path}: {answer.text[:300]}")
        return answer.json()

    def summary(self, key: str) -> dict[str, int]:
        """Run the night's job over a day as it is now; return the digits model's predictions by class."""
        run = self.call("nightly_transform", "/jobs/nightly:trigger", {"key": key, "force": True})["run"]
        if run["state"] != "success":
            raise ServiceError(f"the run of {key} is {run['state']}: {run['error']}")
        summaries = self.call("nightly_transform", f"/summaries?job=nightly&since={key}&page_size=1")["summaries"]
        rows = [row for s in summaries if s["key"] == key for row in s["rows"] if row["model"] == "digits"]
        return dict(sum((Counter(row.get("classes", {})) for row in rows), Counter()))


def demonstrate(urls: Mapping[str, str]) -> int:
    """Send the held-out digits through a stack and compare what comes out with what went in.

    Returns:
        0 if nothing was lost and the summary's counts are those of the predictions, else 1.
    """
    console = Console(highlight=False)
    held_out = json.loads(HELD_OUT.read_text("utf-8"))
    services, demo = _Services(urls), secrets.token_hex(6)
    days = {datetime.now(UTC).date().isoformat()}
    before = Counter(services.summary(min(days)))
    sent = list(_send_all(console, services, demo, held_out["images"], held_out["digits"]))
    days.add(datetime.now(UTC).date().isoformat())  # twice the same day, unless midnight passed
    after = sum((Counter(services.summary(day)) for day in sorted(days)), Counter())
    stored = services.call("list_results", f"/?label.demo={demo}&count=true&page_size=1&fields=id")["total_size"]
    return _report(console, sent, stored, Counter(after) - before, sorted(days))


def _send_all(
    console: Console, services: _Services, demo: str, images: list[Any], digits: list[int]
) -> Iterator[_Sent]:
    def send(index: int) -> _Sent:
        answer = services.call("predict", "/v1/models/digits:predict", {"instances": [images[index]]})
        result = {
            "model": "digits",
            "version": "1",
            "instances": [images[index]],
            "predictions": answer["predictions"],
            "labels": {"demo": demo, "shows": str(digits[index])},
        }
        stored = services.call("store_result", "/", result, **{"Idempotency-Key": f"demo-{demo}-{index}"})
        return _Sent(digits[index], answer["predictions"][0]["digit"], stored["id"])

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress, ThreadPoolExecutor(_CLIENTS) as pool:
        task = progress.add_task("predict and store", total=len(images))
        for sent in pool.map(send, range(len(images))):
            progress.advance(task)
            yield sent


def _report(console: Console, sent: list[_Sent], stored: int, summary: Counter[str], days: list[str]) -> int:
    shown, predicted = Counter(s.digit for s in sent), Counter(s.predicted for s in sent)
    console.print(f"The summary of {' and '.join(days)}, provisional while the day is open:")
    table = Table()
    for heading in ("digit", "images sent", "predicted", "in the summary"):
        table.add_column(heading, justify="right")
    for digit in range(10):
        table.add_row(str(digit), str(shown[digit]), str(predicted[digit]), str(summary[str(digit)]))
    table.add_section()
    table.add_row("all", str(len(sent)), str(predicted.total()), str(summary.total()))
    console.print(table)
    right = sum(s.digit == s.predicted for s in sent)
    distinct = len({s.result_id for s in sent})
    lost = len(sent) - stored
    console.print(f"accuracy {right / len(sent):.1%} ({right} of {len(sent)}); {distinct} stored, {lost} lost")
    same = all(predicted[digit] == summary[str(digit)] for digit in range(10)) and summary.total() == len(sent)
    if same and lost == 0 and distinct == len(sent):
        console.print("The summary counts what was predicted, image for image.")
        return 0
    console.print("[bold red]The summary and the predictions differ.[/]")
    return 1
