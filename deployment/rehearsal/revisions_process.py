"""One revision's process: started from the unpacked archive, asked until it passes its startup probe, ended."""

import http.client
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .revisions_environment import UnusableError

_STOP_SECONDS = 10.0
_PROBE_PAUSE_SECONDS = 0.1


@dataclass(slots=True)
class Instance:
    """A running process and what it alone uses.

    Attributes:
        process: In a group of its own.
        port: Where it answers.
        log_path: What it says.
        surroundings: Closed once it has ended.
        requests: How many it is answering.
        used: When it last answered, by the monotonic clock.
    """

    process: subprocess.Popen[bytes]
    port: int
    log_path: Path
    surroundings: ExitStack
    requests: int = 0
    used: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        """End the process and everything that it started."""
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.surroundings.close()


def launch(
    contents: Mapping[str, str],
    folder: Path,
    environment: Mapping[str, str],
    port: int,
    log_path: Path,
    surroundings: ExitStack,
) -> Instance:
    """Start a function as its image would.

    Args:
        contents: Of the image: its Python and its target.
        folder: The unpacked archive.
        environment: All of its variables.
        port: Where it is to answer.
        log_path: Takes what it says.
        surroundings: Closed once it has ended.
    """
    log_path.parent.mkdir(exist_ok=True)
    command = [contents["python"], "-m", "functions_framework", "--target", contents["target"], "--source", "main.py"]
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Instance(process, port, log_path, surroundings)


def wait_until_started(instance: Instance, container: Mapping[str, Any], over: Callable[[], bool]) -> None:
    """Wait until a process passes the startup probe of its container.

    Args:
        instance: Just launched.
        container: With its probe.
        over: Says that nobody waits any longer.

    Raises:
        UnusableError: It ended, or did not pass within what the probe allows.
    """
    probe: dict[str, Any] = container["startupProbe"]
    wanted_port = (container.get("ports") or [{}])[0].get("containerPort", 8080)
    probed_port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port", wanted_port)
    seconds = probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3) + probe.get("initialDelaySeconds", 0)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and instance.process.poll() is None and probed_port == wanted_port and not over():
        if _answers(instance.port, probe.get("httpGet", {}).get("path"), probe.get("timeoutSeconds", 1)):
            return
        time.sleep(_PROBE_PAUSE_SECONDS)
    raise UnusableError(
        "The user-provided container failed the configured startup probe checks, or failed to start and listen on the "
        f"port defined by the PORT={wanted_port} environment variable within the allocated timeout. "
        f"Logs for this revision might contain more information: {instance.log_path}"
    )


def _answers(port: int, path: str | None, timeout_seconds: float) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_seconds)
    try:
        connection.connect()
        if path is None:
            return True
        connection.request("GET", path)
        return 200 <= connection.getresponse().status < 400
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
