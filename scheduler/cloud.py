"""`plan` and `apply`: Cloud Scheduler brought to jobs.yaml."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table

from shared.config import read_settings
from shared.errors import ConfigurationError
from shared.jobs import read_jobs

from .asking import asked, console_for, repeated
from .cloud_client import CloudScheduler
from .cloud_jobs import Change, plan_changes, wanted_job


def plan(options: argparse.Namespace) -> int:
    """Print what `apply` would do."""
    console = console_for()
    with _planned(options) as (_, changes):
        _show(console, changes)
    if changes:
        console.print(f"{_count(changes)} to make: {repeated(options, 'apply')}")
    return 0


def apply(options: argparse.Namespace) -> int:
    """Make every change, and print each once it is made; what is made stays if a later one fails."""
    console = console_for()
    with _planned(options) as (cloud, changes):
        _show(console, changes)
        for change in changes:
            cloud.apply(change)
            console.print(f"{change.kind} {change.job.id}: done")
    return 0


@contextmanager
def _planned(options: argparse.Namespace) -> Iterator[tuple[CloudScheduler, list[Change]]]:
    settings, of = read_settings(), asked(options)
    project_id, region = (of.project_id, of.region) if of else (settings.project_id, settings.region)
    if not project_id:
        raise ConfigurationError(["PROJECT_ID: expected the Google Cloud project whose Cloud Scheduler is meant"])
    topic = f"projects/{project_id}/topics/{settings.nightly_topic}"
    wanted = [wanted_job(job, topic) for job in read_jobs().values()]
    cloud = CloudScheduler(project_id, region, settings.scheduler_emulator_host)
    try:
        yield cloud, plan_changes(wanted, cloud.list_jobs())
    finally:
        cloud.close()


def _show(console: Console, changes: list[Change]) -> None:
    if not changes:
        console.print("nothing to do: Cloud Scheduler is as jobs.yaml says")
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("change", "job", "what", "from", "to"):
        table.add_column(heading, no_wrap=heading in ("change", "job", "what"), overflow="fold")
    for change in changes:
        if change.kind == "create":
            table.add_row(change.kind, change.job.id, "schedule", "", f"{change.job.schedule} {change.job.time_zone}")
        for field, (before, after) in change.differences.items():
            table.add_row(change.kind, change.job.id, field, before, after)
        if change.kind in ("pause", "resume", "delete"):
            table.add_row(change.kind, change.job.id, "", "", "")
    console.print(table)


def _count(changes: list[Change]) -> str:
    return f"{len(changes)} change{'' if len(changes) == 1 else 's'}"
