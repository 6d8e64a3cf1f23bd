"""Fixtures every test may use; each test has a state folder and an environment of its own."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import Client

from tests.emulators import firestore as firestore_jar
from tests.emulators import postgresql
from tests.emulators.firestore import FirestoreEmulator, firestore_emulator
from tests.emulators.postgresql import PostgresqlServer, postgresql_server
from tests.emulators.storage import StorageEmulator, storage_emulator
from tests.support import RunningFunction, function_client, running_function

if TYPE_CHECKING:
    from tests.emulators.pubsub import PubsubEmulator

_VARIABLES = (
    *("MODELS_DIR", "DEFAULT_MODEL", "STORE_URL", "THREADS", "MAX_BODY_BYTES", "PAGE_TOKEN_KEY", "PROJECT_ID"),
    *("ENVIRONMENT", "READ_ONLY", "K_SERVICE", "PORT", "PREDICT_URL", "STORE_RESULT_URL", "LIST_RESULTS_URL"),
    *("NIGHTLY_TRANSFORM_URL", "OBJECTS_URL", "LOG_PREDICTIONS", "PREDICTIONS_TOPIC", "FIRESTORE_EMULATOR_HOST"),
    *("MODEL_TIMEOUT_SECONDS", "NIGHTLY_TOPIC", "K_REVISION", "REGION", "CLOUD_SCHEDULER_EMULATOR_HOST"),
    *("PUBSUB_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"),
)


@pytest.fixture(autouse=True)
def state_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point STATE_DIR at a fresh folder and unset every other variable of ours."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "state"
    monkeypatch.setenv("STATE_DIR", str(folder))
    return folder


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Client]:
    """Return a maker of in-process clients: client("predict", THREADS="2")."""

    def make(function: str, source: Path | None = None, **env: str) -> Client:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        return function_client(function, source)

    return make


@pytest.fixture
def serve(tmp_path: Path, state_dir: Path) -> Iterator[Callable[..., RunningFunction]]:
    """Return a starter of real servers: serve("predict", THREADS="2"); they stop with the test."""
    with ExitStack() as stack:

        def start(function: str, source: Path | None = None, **env: str) -> RunningFunction:
            environment: Mapping[str, str] = {"STATE_DIR": str(state_dir), **env}
            log = tmp_path / f"{function}-{len(list(tmp_path.glob('*.log')))}.log"
            return stack.enter_context(running_function(function, environment, log, source))

        yield start


@pytest.fixture(scope="session")
def running_storage() -> Iterator[StorageEmulator]:
    """Run one Cloud Storage for all tests of a worker."""
    with storage_emulator() as emulator:
        yield emulator


@pytest.fixture
def cloud_storage(running_storage: StorageEmulator, monkeypatch: pytest.MonkeyPatch) -> tuple[StorageEmulator, str]:
    """Return Cloud Storage, where Google's clients find it, and the name of an empty bucket."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", running_storage.url)
    return running_storage, running_storage.new_bucket()


@pytest.fixture(scope="session")
def running_pubsub() -> "Iterator[PubsubEmulator]":
    """Run one Pub/Sub for all tests of a worker."""
    # Its client takes most of a second to import.
    from tests.emulators.pubsub import missing, pubsub_emulator

    why = missing()
    if why:
        pytest.skip(f"NOT TESTED: the log of predictions: {why}")
    with pubsub_emulator() as emulator:
        yield emulator


@pytest.fixture
def pubsub(running_pubsub: "PubsubEmulator", monkeypatch: pytest.MonkeyPatch) -> "Iterator[PubsubEmulator]":
    """Lend Pub/Sub, where Google's clients find it; a test may pause or kill it."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", running_pubsub.host)
    yield running_pubsub
    running_pubsub.restore()


@pytest.fixture(scope="session")
def running_firestore() -> Iterator[FirestoreEmulator]:
    """Run one Firestore for all tests of a worker."""
    missing = firestore_jar.missing()
    if missing:
        pytest.skip(f"NOT TESTED: Firestore as the store: {missing}")
    with firestore_emulator() as emulator:
        yield emulator


@pytest.fixture
def firestore(running_firestore: FirestoreEmulator, monkeypatch: pytest.MonkeyPatch) -> FirestoreEmulator:
    """Return Firestore, where Google's clients find it; each of its `new_url()` is an empty database."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", running_firestore.host)
    return running_firestore


@pytest.fixture(scope="session")
def running_postgresql() -> Iterator[PostgresqlServer]:
    """Run one PostgreSQL for all tests of a worker."""
    if reason := postgresql.missing():
        pytest.skip(f"NOT TESTED: PostgreSQL as the store: {reason}")
    with postgresql_server() as server:
        yield server


@pytest.fixture
def postgresql_database(running_postgresql: PostgresqlServer) -> Iterator[str]:
    """Return the name of a fresh database with our tables; `running_postgresql.url(name)` is its STORE_URL."""
    name = running_postgresql.new_database()
    yield name
    running_postgresql.drop(name)


@pytest.fixture
def postgresql_url(running_postgresql: PostgresqlServer, postgresql_database: str) -> str:
    """Return the STORE_URL of a fresh database with our tables."""
    return running_postgresql.url(postgresql_database)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: nothing may be left out in silence."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("CI: skipped tests count as failures", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
