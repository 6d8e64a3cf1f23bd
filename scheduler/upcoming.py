"""`next`: when jobs fire next and which intervals that covers, nights included on which clocks are changed."""

import argparse
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from rich.table import Table

from shared.jobs import Job, find_job, read_jobs

from .asking import console_for

_DAY = timedelta(days=1)


def upcoming(options: argparse.Namespace, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> int:
    """Print the next ticks of one job, or of each."""
    jobs = read_jobs()
    chosen = [find_job(jobs, options.job)] if options.job else list(jobs.values())
    table = Table(box=None, pad_edge=False)
    for heading in ("job", "fires (local)", "fires (UTC)", "covers", "from (UTC)", "to (UTC)", "hours", ""):
        table.add_column(heading, no_wrap=True, justify="right" if heading == "hours" else "left")
    for job in chosen:
        tick = options.after or now()
        for _ in range(options.number):
            tick = job.next_tick(tick)
            table.add_row(*_row(job, tick))
    console_for().print(table)
    return 0


def _row(job: Job, tick: datetime) -> list[str]:
    interval, local = job.interval_of_tick(tick), tick.astimezone(ZoneInfo(job.time_zone))
    moments = [f"{moment:%Y-%m-%d %H:%M}" for moment in (tick, interval.start, interval.end)]
    hours = (interval.end - interval.start) / timedelta(hours=1)
    notes = ["paused in jobs.yaml"] if job.paused else []
    if (local - _DAY).utcoffset() != local.utcoffset():
        notes.append("clocks have changed in the day before")
    return [
        job.id,
        f"{local:%Y-%m-%d %H:%M %Z}",
        moments[0],
        interval.key,
        *moments[1:],
        f"{hours:.4g}",
        ", ".join(notes),
    ]
