"""Fixtures every test may use; each test has a state folder and an environment of its own."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from werkzeug.test import Client

from tests.emulators.storage import StorageEmulator, storage_emulator
from tests.support import RunningFunction, function_client, running_function

_VARIABLES = (
    *("MODELS_DIR", "DEFAULT_MODEL", "STORE_URL", "THREADS", "MAX_BODY_BYTES", "PAGE_TOKEN_KEY", "PROJECT_ID"),
    *("ENVIRONMENT", "K_SERVICE", "PORT", "PREDICT_URL", "STORE_RESULT_URL", "LIST_RESULTS_URL"),
    "NIGHTLY_TRANSFORM_URL",
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


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In CI a skipped test is a failure: nothing may be left out in silence."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("CI") and reporter and reporter.stats.get("skipped"):
        reporter.write_line("CI: skipped tests count as failures", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
