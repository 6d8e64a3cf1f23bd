"""`logs`: what nightly-transform logged of a job's runs, on this machine or in an environment."""

import argparse
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shared.config import read_settings
from shared.errors import ConfigurationError, NotFoundError
from shared.jobs import find_job, read_jobs
from shared.log import readable

from .asking import asked, console_for


def logs(options: argparse.Namespace) -> int:
    """Print the newest lines about a job, or about one of its runs."""
    job = find_job(read_jobs(), options.job)
    key = job.interval(options.key).key if options.key else None
    of = asked(options)
    if of:
        # Read by gcloud, which this machine may be without.
        from .cloud_logs import logged_events

        found = deque(logged_events(of, job.id, key, options.number))
    else:
        found = deque(_events(_local_files(), job.id, key), maxlen=options.number)
    console = console_for()
    for event in found:
        day, attempt = str(event.get("time", ""))[:10], event.get("attempt")
        which = f"{event['key']}#{attempt}" if attempt else str(event.get("key", ""))
        console.print(f"{day} {which:<14} {readable(event)}", soft_wrap=True)
    if not found:
        console.print(f"no lines about {job.id}{f' {key}' if key else ''}")
    return 0


def _local_files() -> list[Path]:
    newest = read_settings().state_dir / "logs" / "nightly_transform.jsonl"
    # The file before this one, which is there once that was full.
    try:
        files = [path for path in (newest.with_name(f"{newest.name}.1"), newest) if path.is_file()]
    except OSError as error:
        raise ConfigurationError([f"STATE_DIR: expected a folder that can be read: {error}"]) from error
    if not files:
        raise NotFoundError(
            f"expected {newest.name} in STATE_DIR/logs, where `make run` writes it; --env asks Cloud Logging instead"
        )
    return files


def _events(files: list[Path], job_id: str, key: str | None) -> Iterator[dict[str, Any]]:
    for path in files:
        with path.open("rb") as lines:
            for line in lines:
                try:
                    event = json.loads(line)
                except ValueError:
                    continue  # the stack was killed in the midst of a line
                if isinstance(event, dict) and event.get("job") == job_id and key in (None, event.get("key")):
                    yield event
