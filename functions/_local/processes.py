"""One process a function, each through the real functions-framework, and none left behind."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

import httpx

from shared.config import PORT_OFFSETS, ROOT, child_environment
from shared.errors import ConfigurationError

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0


class FunctionProcess:
    """A function being served; it may be started again after it was stopped.

    Args:
        name: The function.
        port: Where it listens on loopback.
        env: Its environment beyond this process's own.
        on_line: Called with the name and each line it writes.
    """

    def __init__(self, name: str, port: int, env: Mapping[str, str], on_line: Callable[[str, str], None]) -> None:
        self.name = name
        self.port = port
        self.url = f"http://{HOST}:{port}"
        self._env = dict(env)
        self._on_line = on_line
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start it; `wait_until_ready` tells when it answers."""
        command = [sys.executable, "-m", "functions_framework", "--target", self.name]
        command += ["--source", str(ROOT / "functions" / self.name / "main.py"), "--host", HOST]
        # A group of its own: Ctrl-C reaches this process alone, which then stops the functions in order.
        self._process = subprocess.Popen(
            [*command, "--port", str(self.port)],
            env=child_environment(self._env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> bool:
        """Wait until `GET /health` answers; False if the process ended or a minute passed."""
        deadline = time.monotonic() + _START_SECONDS
        while self.running() and time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return True
            except httpx.TransportError:
                time.sleep(0.05)
        return False

    def running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it, gently first, and everything it started."""
        process = self._process
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        # What is left of the group, such as a worker whose request does not end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if self._reader:
            self._reader.join(_STOP_SECONDS)
        if process.stdout:
            process.stdout.close()
        self._process = None

    def _read(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        for line in process.stdout:
            if line.strip():
                self._on_line(self.name, line.rstrip("\n"))


def check_ports(ports: Mapping[str, int]) -> None:
    """Make sure nothing listens on any of the ports.

    Raises:
        ConfigurationError: Names every port that is taken and the function that wants it.
    """
    taken = [f"port {port}, wanted for {name}, is taken" for name, port in ports.items() if _listening(port)]
    if taken:
        raise ConfigurationError(
            [*taken, 'end what listens there, or choose others: --port-base 9000, or make run ARGS="--port-base 9000"']
        )


def free_port_base() -> int:
    """Return a base above which the ports of all functions are free."""
    steps = PORT_OFFSETS.values()
    # From a random place, so that two stacks that start at once do not choose the same.
    for _ in range(1000):
        base = 10_000 + secrets.randbelow(20_000)
        if not any(_listening(base + step) for step in steps):
            return base
    raise ConfigurationError(["no five neighbouring ports are free"])


def _listening(port: int) -> bool:
    with socket.socket() as sock:
        # As gunicorn binds: a port in TIME_WAIT is free, one that is listened on is not.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return True
    return False
