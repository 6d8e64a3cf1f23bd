"""`logs --env`: what a deployed nightly-transform logged of a job's runs, from Cloud Logging."""

from collections.abc import Iterator
from typing import Any

from shared.errors import ServiceError

from .deployed import Deployed

_DAYS = 30


def logged_events(deployed: Deployed, job_id: str, key: str | None, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the newest events about a job, or about one of its runs, the oldest of them first.

    Raises:
        ServiceError: Cloud Logging did not answer, or not in JSON.
    """
    wanted = ['resource.type="cloud_run_revision"', 'resource.labels.service_name="nightly-transform"']
    wanted += [f'jsonPayload.job="{job_id}"', *([f'jsonPayload.key="{key}"'] if key else [])]
    about = (f"--limit={limit}", f"--freshness={_DAYS}d", "--order=desc")
    try:
        entries = deployed.gcloud.read("logging", "read", " AND ".join(wanted), *about) or []
        for entry in reversed(entries):
            # Cloud Logging keeps these two beside what was logged.
            yield {"time": entry["timestamp"], "severity": entry.get("severity", "INFO"), **entry["jsonPayload"]}
    except (ValueError, LookupError, TypeError) as error:
        raise ServiceError(f"gcloud logging read answered something else than log entries: {error!r}") from error
