"""When a run may be claimed, and what it then is: the rules alone, whatever database keeps it."""

from dataclasses import replace
from datetime import datetime, timedelta

from shared.records import Run


def may_claim(present: Run, wanted: Run, *, now: datetime, force: bool) -> bool:
    """Tell whether the run that is there may be claimed as it is wanted; see `shared.ports.RunStore.claim_run`."""
    if present.state == "running":
        return present.lease_expires_at is not None and present.lease_expires_at <= now
    asked_again = present.state == "failed" and wanted.trigger == "manual"
    return force or present.state == "queued" or present.provisional or asked_again


def claimed(present: Run | None, wanted: Run, *, now: datetime, lease: timedelta) -> Run:
    """Return the run as its new holder has it."""
    # A run that is asked for anew starts its attempts again; one that is retried goes on counting.
    again = present is not None and present.state in ("queued", "running")
    return replace(
        wanted,
        state="running",
        created_at=present.created_at if present else wanted.created_at,
        attempt=present.attempt + 1 if present and again else 1,
        fence=present.fence + 1 if present else 1,
        generation=present.generation if present else None,
        lease_expires_at=now + lease,
        started_at=now,
    )


def storable(error: str) -> str:
    """Return an error's text without the characters that a database may refuse: a failure must not fail to be kept."""
    return error.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
