"""`redrive`: messages that were given up on, delivered once more, and out of the dead letters when that has succeeded.

A crash in between delivers a message twice and never loses it; runs take effect once.
"""

import argparse
import contextlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from shared.config import read_settings
from shared.errors import InvalidRequestError, NotFoundError
from shared.jobs import Job, read_jobs

from .asking import asked, console_for
from .local_letters import redrive_file

# As nightly-transform reads a tick's time.
_CLOCKS_DIFFER = timedelta(seconds=5)


def redrive(options: argparse.Namespace) -> int:
    """Deliver every dead letter again; 1 if some stay, for the reasons that are printed."""
    settings, jobs, console, of = read_settings(), read_jobs(), console_for(), asked(options)
    if of and options.file:
        raise InvalidRequestError("expected --env, whose messages Pub/Sub has, or --file, and not both")
    project_id = of.project_id if of else settings.project_id
    said = console_for(stderr=True)

    def say(line: str) -> None:
        said.print(line, soft_wrap=True)

    def prepare(topic: str, data: bytes, publish_time: datetime) -> bytes:
        return with_key(data, publish_time, jobs) if topic == settings.nightly_topic else data

    if project_id and not options.file:
        # Google's clients take most of a second to import.
        from .cloud_letters import redrive_subscription

        began, left = datetime.now(UTC), 0
        redriven = redrive_subscription(project_id, settings.nightly_topic, prepare, began)
        # Where no predictions are logged there is none of theirs.
        with contextlib.suppress(NotFoundError):
            redriven += redrive_subscription(project_id, settings.predictions_topic, prepare, began)
    else:
        urls = {
            settings.nightly_topic: settings.urls["nightly_transform"],
            settings.predictions_topic: settings.urls["store_result"],
        }
        redriven, left = redrive_file(settings.state_dir / "dead_letters.jsonl", urls, prepare, say)
    console.print(f"{redriven} delivered again, {left} left among the dead letters")
    return 1 if left else 0


def with_key(data: bytes, publish_time: datetime, jobs: Mapping[str, Job]) -> bytes:
    """Return a message of the jobs' topic with the interval that it was made for.

    A tick names none: it means the one that had passed when it was published, which is no longer the newest.

    Raises:
        InvalidRequestError: It is a tick, and none had passed then: no interval can be told.
    """
    try:
        value = json.loads(data)
        if not isinstance(value, dict) or value.get("key") is not None:
            return data
        job = jobs[value["job"]]
    except (ValueError, TypeError, LookupError, RecursionError):
        return data  # not a tick: whatever it is, nightly-transform will say so
    try:
        tick = job.last_tick(publish_time + _CLOCKS_DIFFER)
    except OverflowError:
        raise InvalidRequestError(f"no tick is at {publish_time.isoformat()}", reason="NO_TICK") from None
    return json.dumps({**value, "key": job.interval_of_tick(tick).key}).encode()
