"""Starting functions for tests: in this process as functions-framework builds them, or as real servers."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import functions_framework
import httpx
from werkzeug.test import Client

from model.manifest import Manifest, read_manifest
from model.storage.folder import FolderVersion
from shared.config import ROOT, child_environment

START_SECONDS = 60.0


def manifest_of(folder: Path) -> Manifest:
    """Read the model.json of a version in a folder."""
    return read_manifest(FolderVersion(folder).read("model.json"), folder.parent.name, folder.name)


def source_of(function: str) -> Path:
    """Return the file functions-framework is pointed at."""
    return ROOT / "functions" / function / "main.py"


def function_client(function: str, source: Path | None = None) -> Client:
    """Build a function's app in this process, guard included, and return a client for it.

    The framework registers every function's file as the module `main`; an earlier one must not linger.
    """
    for name in [n for n in sys.modules if n == "main" or n.startswith("main.")]:
        del sys.modules[name]
    app = functions_framework.create_app(function, str(source or source_of(function)))
    client: Client = app.test_client()
    return client


def free_port() -> int:
    """Return a port on loopback that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@dataclass
class RunningFunction:
    """A function as a server of its own."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def log_lines(self) -> list[dict[str, Any]]:
        """Return what it has logged so far."""
        lines = self.log_path.read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def running_function(
    function: str, env: Mapping[str, str], log_path: Path, source: Path | None = None, python: str = sys.executable
) -> Iterator[RunningFunction]:
    """Serve a function through the functions-framework command until the block ends."""
    port = free_port()
    command = [python, "-m", "functions_framework", "--source", str(source or source_of(function))]
    command += ["--target", function, "--host", "127.0.0.1", "--port", str(port)]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, env=child_environment(env), stdout=log, stderr=subprocess.STDOUT, cwd="/", start_new_session=True
        )
    running = RunningFunction(function, port, process, log_path)
    try:
        _wait_until_healthy(running)
        yield running
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_healthy(running: RunningFunction) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            raise AssertionError(f"{running.name} ended at once:\n{running.log_path.read_text()}")
        try:
            assert httpx.get(f"{running.url}/health", timeout=5).status_code == 200, "GET /health failed"
            return
        except httpx.TransportError:
            time.sleep(0.02)
    raise AssertionError(f"{running.name} did not answer:\n{running.log_path.read_text()[-2000:]}")
