"""`backfill`: a stretch of intervals queued at nightly-transform, and watched until the last one has ended."""

import argparse
import contextlib
import time
from collections import Counter
from datetime import date, timedelta
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from shared.errors import ServiceError
from shared.jobs import Job, find_job, read_jobs

from .asking import ask, ask_pages, asked, console_for, repeated
from .deployed import Deployed

_POLL_SECONDS = 1.0
# nightly-transform may be restarted meanwhile: what is queued stays queued.
_PATIENCE_SECONDS = 60.0
_UNDER_WAY = ("queued", "running")


def backfill(options: argparse.Namespace) -> int:
    """Queue the intervals from one key to another, both included; 1 if any of them failed."""
    job, console = find_job(read_jobs(), options.job), console_for()
    order: dict[str, Any] = {"from": options.from_key, "to": options.to_key, "reprocess": options.reprocess}
    order |= {"dry_run": True} if options.dry_run else {}
    order |= {"max_active": options.max_active} if options.max_active else {}
    order |= {"params": options.params} if options.params else {}
    of = asked(options)
    try:
        runs = ask(of, "POST", f"/jobs/{job.id}:backfill", order)["runs"]
        if options.dry_run:
            console.print(_table(runs))
        queued = [run["key"] for run in runs if run["action"] == "queue"]
        console.print(_told(job, runs, "would be queued" if options.dry_run else "queued"))
        return _watch(of, job, queued, console) if queued and not options.dry_run else 0
    except KeyboardInterrupt:
        # Even before it was answered: the order is with nightly-transform.
        console.print(
            f"\nThe backfill goes on without you: {repeated(options, f'runs --job {job.id}')} shows how far it is, "
            f"and {repeated(options, f'pause {job.id}')} has the rest wait.",
            soft_wrap=True,
        )
        return 130


def _told(job: Job, runs: list[dict[str, Any]], queued: str) -> str:
    left = Counter(run["state"] for run in runs if run["action"] == "skip")
    because = f" ({', '.join(f'{count} {state}' for state, count in sorted(left.items()))})" if left else ""
    return f"{job.id}: {len(runs) - left.total()} {queued}, {left.total()} left as they are{because}"


class _Rate(ProgressColumn):
    """Intervals a minute."""

    def render(self, task: Task) -> Text:
        """Return the rate so far."""
        rate = task.completed / task.elapsed * 60 if task.elapsed else 0.0
        return Text(f"{rate:.1f}/min")


def _watch(of: Deployed | None, job: Job, keys: list[str], console: Console) -> int:
    waiting, ended, began = set(keys), dict[str, dict[str, Any]](), time.monotonic()
    columns = (
        TextColumn(job.id),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[now]}"),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task(job.id, total=len(keys), now="")
        while waiting:
            states = _states(of, job, keys)
            ended |= {key: states[key] for key in waiting if key in states and states[key]["state"] not in _UNDER_WAY}
            waiting -= ended.keys()
            running = sorted(key for key in waiting if key in states and states[key]["state"] == "running")
            progress.update(bar, completed=len(ended), now=", ".join(running[:3]))
            if waiting:
                time.sleep(_POLL_SECONDS)
    seconds = time.monotonic() - began
    count = Counter(run["state"] for run in ended.values())
    documents = sum(run["output"].get("documents") or 0 for run in ended.values())
    rate = f"{len(ended) / seconds * 60:.1f} intervals a minute, {documents / seconds:,.0f} documents a second"
    told = ", ".join(f"{number} {state}" for state, number in sorted(count.items()))
    console.print(f"{job.id}: {told} in {seconds:.1f} s ({rate})", soft_wrap=True)
    failed = [run for _, run in sorted(ended.items()) if run["state"] != "success"]
    for run in failed:
        console_for(stderr=True).print(f"{job.id} {run['key']}: {run['state']}: {run['error']}", soft_wrap=True)
    return 1 if failed else 0


def _states(of: Deployed | None, job: Job, keys: list[str]) -> dict[str, dict[str, Any]]:
    """Return the runs there are, by key; asked again for a while if nobody answers."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    # Days, which every key begins with.
    query = {"job": job.id, "since": keys[0][:10]}
    with contextlib.suppress(OverflowError):
        query["until"] = (date.fromisoformat(keys[-1][:10]) + timedelta(days=1)).isoformat()
    while True:
        try:
            return {run["key"]: run for run in ask_pages(of, "/runs", "runs", query)}
        except ServiceError as error:
            if error.http_status < 500 or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)


def _table(runs: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("key", "now", "would be"):
        table.add_column(heading, no_wrap=True)
    for run in runs:
        table.add_row(run["key"], run["state"] or "-", "queued" if run["action"] == "queue" else "left")
    return table
