"""The whole stack as one thing: start, keep running, stop."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scheduler.clock import LocalScheduler
from scheduler.delivery import Faults
from shared.config import PORT_OFFSETS, read_settings
from shared.errors import ConfigurationError
from shared.jobs import read_jobs

from .console import StackConsole
from .log_files import LogFiles
from .processes import HOST, FunctionProcess, check_ports
from .pushes import Delivery, push_targets
from .reload import Reloader


class Stack:
    """Some or all functions on neighbouring ports over one state folder.

    Args:
        functions: Which to serve.
        port_base: The page's port; each function's is a fixed step above.
        state_dir: Everything that is written.
        models_dir: Where predict finds its models, a folder or gs://bucket/prefix; None: the repository's.
        console: Where lines go.
        emulators: Deliver through Google's Pub/Sub emulator and store in its Firestore emulator, both started here.
        faults: What the delivery in this process does wrong on purpose.
    """

    def __init__(
        self,
        functions: Sequence[str],
        *,
        port_base: int,
        state_dir: Path,
        models_dir: Path | str | None,
        console: StackConsole,
        emulators: bool = False,
        faults: Faults | None = None,
    ) -> None:
        self._ports = {name: port_base + PORT_OFFSETS[name] for name in functions}
        check_ports(self._ports)
        self._console = console
        self._state_dir = state_dir
        self._emulators = emulators
        self._faults = faults or Faults()
        self._all_urls = {name: f"http://{HOST}:{port_base + step}" for name, step in PORT_OFFSETS.items()}
        self._env = {"STATE_DIR": str(state_dir), "PYTHONUNBUFFERED": "1"}
        self._env |= {f"{name.upper()}_URL": url for name, url in self._all_urls.items()}
        if models_dir:
            self._env["MODELS_DIR"] = str(models_dir)
        self._settings = read_settings()
        self._processes: dict[str, FunctionProcess] = {}
        self._restarting = threading.Lock()
        self._logs = LogFiles(state_dir / "logs")
        self._logs_are_kept = True

    @property
    def urls(self) -> dict[str, str]:
        """Where each function answers."""
        return {name: self._all_urls[name] for name in self._ports}

    @contextmanager
    def running(self) -> Iterator["Stack"]:
        """Serve while the block runs; every process has ended when it is left.

        Raises:
            ConfigurationError: A function did not start; its own words were printed.
        """
        with ExitStack() as cleanup:
            cleanup.callback(self._logs.close)
            # Left last: a push under way ends when its function does, and functions that end may publish still.
            self._delivery = cleanup.enter_context(self._open_delivery())
            env = {**self._env, **self._delivery.env}
            for name, port in self._ports.items():
                process = self._processes[name] = FunctionProcess(name, port, env, self._take_line)
                cleanup.callback(process.stop)
                process.start()
            failed = [name for name, process in self._processes.items() if not process.wait_until_ready()]
            if failed:
                raise ConfigurationError([f"{name} did not start; see its lines above" for name in failed])
            cleanup.enter_context(self._delivery.delivering(self._ports))
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
    def scheduling(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Iterator[None]:
        """Fire the jobs on time, while the block runs.

        Args:
            now: The clock; each tick is published as at the time that it shows.
        """
        topic, say = self._settings.nightly_topic, self._say_as("scheduler")
        scheduler = LocalScheduler(
            read_jobs().values(), lambda data, moment: self._delivery.publish(topic, data, moment), now, say
        )
        scheduler.start()
        try:
            yield
        finally:
            scheduler.stop()

    @property
    def delivery_env(self) -> Mapping[str, str]:
        """What the functions were told of Pub/Sub and the store, and a client of one's own needs too."""
        return self._delivery.env

    def _open_delivery(self) -> AbstractContextManager[Delivery]:
        targets = push_targets(self._settings, self._all_urls)
        # Google's clients take most of a second to import, which a wrong option should not wait for.
        if self._emulators:
            from .emulated import emulated_delivery

            return emulated_delivery(self._settings, targets, self._state_dir)
        from .embedded import embedded_delivery

        return embedded_delivery(self._settings, targets, self._state_dir, self._say_as("pubsub"), self._faults)

    def _take_line(self, function: str, line: str) -> None:
        try:
            self._logs.write(function, line)
        except OSError as error:
            # Read on: a function whose lines nobody takes hangs.
            if self._logs_are_kept:
                self._logs_are_kept = False
                self._console.say(f"log lines are printed, and not kept while that fails: {error}", "bold red")
        self._console.log_line(function, line)

    def _say_as(self, source: str) -> Callable[[str], None]:
        return lambda line: self._console.say_as(source, line)

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
