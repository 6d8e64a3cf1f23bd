"""What store-result acknowledged on SQLite is there, whatever happens to the function meanwhile."""

import os
import signal

import psutil
import pytest

from shared.stores import open_results
from tests.faults.history import check, run_clients


def kill_worker(running):
    """Kill the process that answers, which the server's master replaces."""
    for worker in psutil.Process(running.process.pid).children():
        os.kill(worker.pid, signal.SIGKILL)


@pytest.mark.timeout(300)
def test_what_was_acknowledged_outlives_the_function(serve, state_dir):
    """Two thousand results from 32 clients, the function killed again and again: each is there once, as it was sent."""
    running = serve("store_result", THREADS="16")

    history = run_clients(running.port, 2000, lambda chance: kill_worker(running))

    store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
    check(history, store)
    store.close()
    assert len(history.acknowledged) == 2000
    assert history.answers[0] > 0
