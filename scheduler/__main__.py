"""`python -m scheduler`: when jobs run next, and running one now."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from shared.config import read_settings
from shared.errors import ConfigurationError, InvalidRequestError, ServiceError
from shared.jobs import find_job, read_jobs

# A run over a full day of a busy service takes minutes; the function's own limit is an hour.
_TIMEOUT_SECONDS = 3600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 0 done, 1 the run failed, 2 the request was wrong."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
        return status
    except ServiceError as error:
        print(error.message, file=sys.stderr)
        wrong = error.http_status < 500 or isinstance(error, ConfigurationError)
        return 2 if wrong else 1


def _next(options: argparse.Namespace) -> int:
    jobs = read_jobs()
    chosen = [find_job(jobs, options.job)] if options.job else list(jobs.values())
    table = Table(box=None, pad_edge=False)
    for heading in ("job", "fires (UTC)", "covers", "from (UTC)", "to (UTC)"):
        table.add_column(heading, no_wrap=True)
    for job in chosen:
        tick = datetime.now(UTC)
        for _ in range(options.number):
            tick = job.next_tick(tick)
            interval = job.interval_of_tick(tick)
            moments = [f"{moment:%Y-%m-%d %H:%M}" for moment in (tick, interval.start, interval.end)]
            table.add_row(job.id, moments[0], interval.key, *moments[1:])
    Console(highlight=False).print(table)
    return 0


def _trigger(options: argparse.Namespace) -> int:
    job = find_job(read_jobs(), options.job)
    body: dict[str, Any] = {"force": options.force, "params": options.params}
    if options.date:
        body["key"] = job.interval(options.date).key
    answer = _call("POST", f"/jobs/{job.id}:trigger", body)
    run = answer["run"]
    done = "ran now" if answer["ran"] else "had run already (--force runs it again)"
    provisional = ", provisional: the interval is still open" if run["provisional"] else ""
    print(f"{run['job']} {run['key']}: {run['state']}, {done}{provisional}")
    if run["error"]:
        print(run["error"], file=sys.stderr)
    if run["output"]:
        print(", ".join(f"{name} {value}" for name, value in run["output"].items()))
    return 0 if run["state"] == "success" else 1


def _call(method: str, path: str, body: Any) -> Any:
    url = read_settings().urls["nightly_transform"]
    try:
        answer = httpx.request(method, url + path, json=body, timeout=_TIMEOUT_SECONDS)
    except httpx.TransportError as error:
        raise ServiceError(f"nothing answers at {url} ({type(error).__name__}): is `make run` running?") from error
    if answer.is_success:
        return answer.json()
    try:
        message = answer.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.text[:300]
    refusal = InvalidRequestError if answer.status_code < 500 else ServiceError
    raise refusal(f"{path} answered {answer.status_code}: {message}")


def _object(text: str) -> Any:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scheduler", description=__doc__)
    commands = parser.add_subparsers(required=True, title="commands")
    following = commands.add_parser("next", help="when jobs fire next, and which interval each time covers")
    following.add_argument("job", nargs="?", help="which (default: all)")
    following.add_argument("-n", "--number", type=int, default=5, help="how many times (default: 5)")
    following.set_defaults(run=_next)
    trigger = commands.add_parser("trigger", help="run a job now and wait for it")
    trigger.add_argument("job")
    trigger.add_argument("--date", help="the day to cover, such as 2026-11-21 (default: the last that ended)")
    trigger.add_argument("--params", type=_object, default={}, help="a JSON object for the transform")
    trigger.add_argument("--force", action="store_true", help="run again what has succeeded")
    trigger.set_defaults(run=_trigger)
    return parser


if __name__ == "__main__":
    sys.exit(main())
