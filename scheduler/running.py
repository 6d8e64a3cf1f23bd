"""Single runs: one asked for now, those there are, and jobs that are to wait."""

import argparse
from datetime import datetime, timedelta
from typing import Any

from rich.table import Table

from shared.jobs import Job, find_job, read_jobs

from .asking import ask, ask_pages, asked, console_for, repeated

_SHOWN_ERROR_CHARS = 100


def trigger(options: argparse.Namespace) -> int:
    """Run a job now and wait for it; 0 if it succeeded, or waits for its turn."""
    job = find_job(read_jobs(), options.job)
    body: dict[str, Any] = {"force": options.force, "params": options.params}
    if options.date:
        body["key"] = job.interval(options.date).key
    return show_answer(ask(asked(options), "POST", f"/jobs/{job.id}:trigger", body), repeated(options, "runs"))


def rerun(options: argparse.Namespace) -> int:
    """Run one interval again, whatever came of it."""
    job = find_job(read_jobs(), options.job)
    body = {"params": options.params} if options.params else {}
    path = f"/runs/{job.id}/{job.interval(options.key).key}:rerun"
    return show_answer(ask(asked(options), "POST", path, body), repeated(options, "runs"))


def pause(options: argparse.Namespace) -> int:
    """Have a job wait."""
    return _set_paused(options, "pause", "paused: its ticks, backfills and catch-ups wait")


def resume(options: argparse.Namespace) -> int:
    """Let a job go on."""
    return _set_paused(options, "resume", "resumed")


def runs(options: argparse.Namespace) -> int:
    """List runs, the newest interval first."""
    query = {name: getattr(options, name) for name in ("job", "since", "until", "state") if getattr(options, name)}
    if options.job:
        find_job(read_jobs(), options.job)
    table = Table(box=None, pad_edge=False)
    for heading in ("job", "key", "state", "attempt", "trigger", "started (UTC)", "took", "documents", "rows", ""):
        right = heading in ("attempt", "took", "documents", "rows")
        table.add_column(heading, no_wrap=bool(heading), justify="right" if right else "left")
    found = 0
    for run in ask_pages(asked(options), "/runs", "runs", query):
        if found == options.number:
            break
        found += 1
        table.add_row(*_row(run))
    console = console_for()
    if found:
        console.print(table)
    else:
        console.print("no runs")
    return 0


def show_answer(answer: dict[str, Any], see: str = "python -m scheduler runs") -> int:
    """Print what became of a run, and return the exit status.

    Args:
        answer: nightly-transform's.
        see: The command that lists its runs.
    """
    run, console = answer["run"], console_for()
    name, state = f"{run['job']} {run['key']}", run["state"]
    if state == "queued":
        console.print(f"{name}: queued, it begins when its turn comes ({see} --job {run['job']})")
        return 0
    if state == "running":
        console.print(f"{name}: running in {run.get('slices') or 1} slices (see {see})")
        return 0
    done = "ran now" if answer["ran"] else "had run already (--force runs it again)"
    provisional = ", provisional: the interval is still open" if run["provisional"] else ""
    console.print(f"{name}: {state}, {done}{provisional}", soft_wrap=True)
    if run["error"]:
        console_for(stderr=True).print(run["error"], soft_wrap=True)
    if run["output"]:
        console.print(", ".join(f"{key} {value}" for key, value in run["output"].items()), soft_wrap=True)
    return 0 if state == "success" else 1


def last_ended_key(job: Job, now: datetime) -> str:
    """Return the key of the last interval that has ended."""
    return job.interval_of_tick(job.last_tick(now)).key


def _set_paused(options: argparse.Namespace, verb: str, done: str) -> int:
    job = find_job(read_jobs(), options.job)
    ask(asked(options), "POST", f"/jobs/{job.id}:{verb}")
    console_for().print(f"{job.id}: {done}")
    return 0


def _row(run: dict[str, Any]) -> list[str]:
    state = run["state"] + (" (provisional)" if run["provisional"] else "")
    if run.get("deadline_missed_at"):
        state += ", late"
    output, error = run["output"], (run["error"] or "").split("\n")[0]
    counts = [str(output.get(name, "")) for name in ("documents", "rows")]
    started = (run["started_at"] or "")[:19].replace("T", " ")
    attempt = str(run["attempt"] or "")
    return [run["job"], run["key"], state, attempt, run["trigger"], started, _took(run), *counts, _short(error)]


def _took(run: dict[str, Any]) -> str:
    if not run["started_at"] or not run["ended_at"]:
        return ""
    took = datetime.fromisoformat(run["ended_at"]) - datetime.fromisoformat(run["started_at"])
    return f"{took / timedelta(seconds=1):.1f} s"


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_ERROR_CHARS else text[:_SHOWN_ERROR_CHARS] + "..."
