"""`test`: one run of one job in this process, as nightly-transform does it, without Pub/Sub and without a server.

The function is built and asked through its own guard, so that what passes here passes there. It finds no project, hence
no topic: slices are worked on in turn, and nobody else is woken.
"""

import argparse
import json
import os
import sys
from datetime import UTC, datetime

from shared.config import ROOT, child_environment, read_settings
from shared.jobs import find_job, read_jobs

from .asking import console_for
from .running import last_ended_key, show_answer

# Empty is as good as not set.
_WITHOUT_PUBSUB = {"PROJECT_ID": "", "PUBSUB_EMULATOR_HOST": ""}


def start_test(options: argparse.Namespace) -> int:
    """Check what is asked for, and do it here, or in a process that knows of no Pub/Sub if this one does."""
    job = find_job(read_jobs(), options.job)
    key = job.interval(options.date).key if options.date else last_ended_key(job, datetime.now(UTC))
    order = json.dumps({"key": key, "params": options.params, "force": True})
    if read_settings().project_id is not None:
        sys.stdout.flush()
        command = [sys.executable, "-m", "scheduler.testing", job.id, order]
        os.execve(sys.executable, command, child_environment(_WITHOUT_PUBSUB))  # noqa: S606  # our own module
    return run_here(job.id, order)


def run_here(job_id: str, order: str) -> int:
    """Run a job in this process and return the exit status: 0 if it succeeded, 1 if it failed or has to wait."""
    # Not for a process that only checks what is asked for.
    import functions_framework

    source = ROOT / "functions" / "nightly_transform" / "main.py"
    app = functions_framework.create_app("nightly_transform", str(source))  # type: ignore[no-untyped-call]
    client = app.test_client()
    answer = client.post(f"/jobs/{job_id}:trigger", data=order, content_type="application/json")
    value = answer.get_json(silent=True)
    if answer.status_code < 300 and isinstance(value, dict):
        # Nobody wakes it here.
        return show_answer(value) or int(value["run"]["state"] == "queued")
    message = value["error"]["message"] if isinstance(value, dict) else answer.get_data(as_text=True)
    console_for(stderr=True).print(f"{answer.status_code}: {message}", soft_wrap=True)
    return 2 if answer.status_code < 500 else 1


if __name__ == "__main__":
    sys.exit(run_here(*sys.argv[1:]))
