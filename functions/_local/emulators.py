"""Google's emulators of Pub/Sub and Firestore: found in the Google Cloud CLI's folder, started without its wrapper."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigurationError

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_FIRESTORE_JAR = "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar"
_FIRESTORE_MAIN = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
_PUBSUB_JAR = "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar"
_PACKAGES = {
    "java": "Java: Debian's package default-jre-headless",
    "pubsub": "the Pub/Sub emulator: Google's package google-cloud-cli-pubsub-emulator, or: "
    "gcloud components install pubsub-emulator",
    "firestore": "the Firestore emulator: Google's package google-cloud-cli-firestore-emulator, or: "
    "gcloud components install cloud-firestore-emulator",
}


def pubsub_jar() -> Path | None:
    """Return the Pub/Sub emulator, if there is one."""
    return _jar(_PUBSUB_JAR)


def firestore_jar() -> Path | None:
    """Return the Firestore emulator, if there is one."""
    return _jar(_FIRESTORE_JAR)


def pubsub_command(port: int) -> list[str]:
    """Return what starts the Pub/Sub emulator on a port of loopback."""
    return ["java", "-Xmx512m", "-jar", str(pubsub_jar()), f"--host={HOST}", f"--port={port}"]


def firestore_command(port: int) -> list[str]:
    """Return what starts the Firestore emulator on a port of loopback."""
    command = ["java", "-Xmx512m", "-cp", str(firestore_jar()), _FIRESTORE_MAIN]
    return [*command, "start", f"--host={HOST}", f"--port={port}"]


def check_emulators() -> None:
    """Make sure that both emulators can be started.

    Raises:
        ConfigurationError: Names everything that has to be installed.
    """
    there = {"java": shutil.which("java"), "pubsub": pubsub_jar(), "firestore": firestore_jar()}
    missing = [text for name, text in _PACKAGES.items() if not there[name]]
    if missing:
        raise ConfigurationError(["--emulators: these are to be installed first:", *missing])


@dataclass(frozen=True, slots=True)
class StartedEmulator:
    """An emulator that listens soon."""

    name: str
    port: int
    process: subprocess.Popen[bytes]
    log_path: Path

    def wait_until_listening(self) -> str:
        """Wait until it listens, and return its host and port.

        Raises:
            ConfigurationError: It ended, or a minute passed.
        """
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise ConfigurationError([f"{self.name} did not start; what it said is in {self.log_path}"])
            time.sleep(0.05)
        return f"{HOST}:{self.port}"


@contextmanager
def started_emulator(name: str, command: Callable[[int], list[str]], log_path: Path) -> Iterator[StartedEmulator]:
    """Have an emulator run on a free port while the block runs.

    Args:
        name: For people.
        command: Returns what starts it on a port.
        log_path: Takes what it prints.
    """
    port = free_port()
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("wb") as log:
        # A group of its own: Ctrl-C reaches the stack alone, which ends the functions before what they use.
        process = subprocess.Popen(
            command(port), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True
        )
    try:
        yield StartedEmulator(name, port, process, log_path)
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        return int(sock.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex((HOST, port)) == 0


def _jar(pattern: str) -> Path | None:
    gcloud = shutil.which("gcloud")
    folders = [*([Path(gcloud).resolve().parents[1]] if gcloud else []), Path("/usr/lib/google-cloud-sdk")]
    return next((jar for folder in folders for jar in sorted(folder.glob(pattern))), None)
