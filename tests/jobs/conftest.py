"""Fixtures of the tests of regular jobs."""

import shutil
import tempfile
from itertools import count
from pathlib import Path

import pytest

from shared.stores import open_store
from tests.jobs.harness.functions import Night, functions
from tests.jobs.harness.samples import TICK
from tests.jobs.harness.scenarios import SCENARIOS, jobs_of, prepared
from tests.jobs.harness.world import Clock, World


@pytest.fixture
def database(request, tmp_path):
    """Return the STORE_URL of an empty database: SQLite, or the one that a test is parametrized with."""
    kind = getattr(request, "param", "sqlite")
    if kind == "postgresql":
        return request.getfixturevalue("postgresql_url")
    if kind == "firestore":
        return request.getfixturevalue("firestore").new_url()
    return f"sqlite:///{tmp_path}/jobs.db"


@pytest.fixture
def world(database):
    """Return a maker of worlds over that database: world(job(), now=TICK, code={...})."""
    stores = []

    def make(*jobs, now=TICK, url=database, **how):
        stores.append(open_store(url))
        return World(stores[-1], jobs, Clock(now), **how)

    yield make
    for store in stores:
        store.close()


@pytest.fixture(scope="module")
def processes():
    """Return where functions come from that are processes of their own: two, since one may stand still."""
    with functions() as first, functions() as second:
        yield first, second


@pytest.fixture
def memory():
    """Return a folder in memory, where there is one: a killed process loses nothing there that it had written."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture
def start_night(memory, processes):
    """Return a starter of nights: each has a SQLite database of its own, with what is there before."""
    numbers = count()

    def make(name):
        template, scenario = memory / f"{name}.db", SCENARIOS[name]
        if not template.exists():
            store = open_store(f"sqlite:///{template}")
            prepared(scenario, World(store, jobs_of(scenario), Clock(TICK), code=scenario.code))
            store.close()
        copy = memory / f"{name}-{next(numbers)}.db"
        shutil.copyfile(template, copy)
        return Night(f"sqlite:///{copy}", name, *processes)

    return make
