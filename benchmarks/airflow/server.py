"""Airflow as `airflow standalone` has it, but for the triggerer, which has nothing to do: SQLite and LocalExecutor.

Everything listens on loopback alone, and nobody else is told anything.
"""

import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]

from benchmarks.children import Ended, run
from benchmarks.errors import MeasurementError
from benchmarks.server import HOST, free_port
from shared.config import child_environment

from .asking import ON_REQUEST, POLL_SECONDS, RUN_SECONDS, Airflow
from .installation import executable

_START_SECONDS, _STOP_SECONDS = 300.0, 30.0


class Installation:
    """A home with a database of its own.

    Args:
        folder: Takes it; an empty folder.

    Raises:
        MeasurementError: The database could not be made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.env = environment(folder, self.port)
        run([executable(), "db", "migrate"], self.env)

    def test(self, day: str) -> Ended:
        """Run the task for a day in one process, without a scheduler."""
        return run([executable(), "dags", "test", ON_REQUEST, day], self.env, RUN_SECONDS)


def environment(folder: Path, port: int) -> Mapping[str, str]:
    """Return its settings: what is not named here is as Airflow has it."""
    return {
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).with_name("dags")),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://{HOST}:{port}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/airflow.db",
        "AIRFLOW__API__HOST": HOST,
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://{HOST}:{port}",
        "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "SCARF_ANALYTICS": "false",
        "DO_NOT_TRACK": "1",
        "NO_PROXY": HOST,
    }


@contextmanager
def running(installed: Installation) -> Iterator[Airflow]:
    """Run API server, scheduler and DAG processor until the block ends.

    Raises:
        MeasurementError: They do not start.
    """
    log_path = installed.folder / "servers.log"
    with ExitStack() as stack:
        log = stack.enter_context(log_path.open("ab"))
        processes = [
            stack.enter_context(_process([*command], installed.env, log))
            for command in (("api-server",), ("dag-processor",), ("scheduler", "--skip-serve-logs"))
        ]
        url = f"http://{HOST}:{installed.port}"
        airflow = Airflow(stack.enter_context(httpx.Client(base_url=url, timeout=60, trust_env=False)))
        deadline = time.monotonic() + _START_SECONDS
        while not airflow.is_ready():
            if any(process.poll() is not None for process in processes) or time.monotonic() > deadline:
                raise MeasurementError(f"Airflow did not start:\n{log_path.read_text('utf-8', 'replace')[-2000:]}")
            time.sleep(POLL_SECONDS)
        yield airflow


@contextmanager
def _process(arguments: list[str], env: Mapping[str, str], log: Any) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen(
        [executable(), *arguments],
        env=child_environment(env),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        started = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        for left in started:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        process.kill()
        process.wait()
