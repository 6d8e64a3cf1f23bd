"""The whole stack as one thing: start, keep running, stop."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scheduler.clock import LocalScheduler
from scheduler.delivery import Subscription
from shared.config import PORT_OFFSETS
from shared.errors import ConfigurationError
from shared.jobs import read_jobs

from .console import StackConsole
from .processes import HOST, FunctionProcess, check_ports
from .reload import Reloader


class Stack:
    """Some or all functions on neighbouring ports over one state folder.

    Args:
        functions: Which to serve.
        port_base: The page's port; each function's is a fixed step above.
        state_dir: Everything that is written.
        models_dir: Where predict finds its models, a folder or gs://bucket/prefix; None: the repository's.
        console: Where lines go.
    """

    def __init__(
        self,
        functions: Sequence[str],
        *,
        port_base: int,
        state_dir: Path,
        models_dir: Path | str | None,
        console: StackConsole,
    ) -> None:
        ports = {name: port_base + PORT_OFFSETS[name] for name in functions}
        check_ports(ports)
        self._console = console
        env = {"STATE_DIR": str(state_dir), "PYTHONUNBUFFERED": "1"}
        env |= {f"{name.upper()}_URL": f"http://{HOST}:{port_base + step}" for name, step in PORT_OFFSETS.items()}
        if models_dir:
            env["MODELS_DIR"] = str(models_dir)
        self._processes = {name: FunctionProcess(name, port, env, console.log_line) for name, port in ports.items()}
        self._restarting = threading.Lock()
        self._subscription = Subscription(
            f"http://{HOST}:{port_base + PORT_OFFSETS['nightly_transform']}/",
            state_dir / "dead_letters.jsonl",
            say=lambda line: console.say_as("scheduler", line),
        )

    @property
    def urls(self) -> dict[str, str]:
        """Where each function answers."""
        return {name: process.url for name, process in self._processes.items()}

    @contextmanager
    def running(self) -> Iterator["Stack"]:
        """Serve while the block runs; every process has ended when it is left.

        Raises:
            ConfigurationError: A function did not start; its own words were printed.
        """
        with ExitStack() as cleanup:
            # Closed last: a delivery under way ends when its function does.
            cleanup.callback(self._subscription.close)
            for process in self._processes.values():
                cleanup.callback(process.stop)
                process.start()
            failed = [name for name, process in self._processes.items() if not process.wait_until_ready()]
            if failed:
                raise ConfigurationError([f"{name} did not start; see its lines above" for name in failed])
            yield self

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Restart functions as their code changes, while the block runs."""
        reloader = Reloader(self._processes, self._restart)
        reloader.start()
        try:
            yield
        finally:
            reloader.stop()

    @contextmanager
    def scheduling(self) -> Iterator[None]:
        """Fire the jobs on time, while the block runs."""
        scheduler = LocalScheduler(read_jobs().values(), self._subscription, now=lambda: datetime.now(UTC))
        scheduler.start()
        try:
            yield
        finally:
            scheduler.stop()

    def _restart(self, name: str, changed: Path) -> None:
        with self._restarting:
            started = time.monotonic()
            self._processes[name].stop()
            self._processes[name].start()
            if self._processes[name].wait_until_ready():
                seconds = time.monotonic() - started
                self._console.say(f"{name}: {changed} changed, restarted in {seconds:.1f} s", "bold")
            else:
                self._console.say(f"{name}: {changed} changed, and it no longer starts", "bold red")
