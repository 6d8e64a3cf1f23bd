"""Google's emulators of Firestore and Pub/Sub, started from the files of the Google Cloud CLI."""

import http.client
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.errors import MeasurementError
from benchmarks.server import HOST, free_port

PROJECT = "nightshift-bench"
_START_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Emulator:
    """One of them.

    Attributes:
        name: The CLI's name of the component.
        jar: Where its file lies among the CLI's.
        arguments: Java's, once it has the file; the address is added.
    """

    name: str
    jar: str
    arguments: tuple[str, ...]


FIRESTORE = Emulator(
    "cloud-firestore-emulator",
    "platform/cloud-firestore-emulator/cloud-firestore-emulator.jar",
    ("com.google.cloud.datastore.emulator.firestore.CloudFirestore", "start"),
)
PUBSUB = Emulator(
    "pubsub-emulator",
    "platform/pubsub-emulator/lib/cloud-pubsub-emulator-*-all.jar",
    ("com.google.cloud.pubsub.testing.v1.Main",),
)


def missing(emulator: Emulator) -> str | None:
    """Return why there is no such emulator here, or None if there is one."""
    if not shutil.which("java"):
        return "Java is not installed (Debian: apt-get install default-jre-headless)"
    return None if _jar(emulator) else f"{emulator.name} is not installed (gcloud components install {emulator.name})"


@contextmanager
def running(emulator: Emulator, log_path: Path) -> Iterator[str]:
    """Run an emulator until the block ends; yields its host and port.

    Raises:
        MeasurementError: It does not start.
    """
    port = free_port()
    command = ["java", "-Xmx2g", "-cp", str(_jar(emulator)), *emulator.arguments, f"--host={HOST}", f"--port={port}"]
    with log_path.open("ab") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
    try:
        deadline = time.monotonic() + _START_SECONDS
        while request("GET", f"{HOST}:{port}", "/") is None:
            if process.poll() is not None or time.monotonic() > deadline:
                said = log_path.read_text("utf-8", "replace")[-2000:]
                raise MeasurementError(f"{emulator.name} did not start:\n{said}")
            time.sleep(0.05)
        yield f"{HOST}:{port}"
    finally:
        process.kill()
        process.wait()


def new_topic(host: str, name: str) -> None:
    """Make a topic of `PROJECT` in the Pub/Sub emulator.

    Raises:
        MeasurementError: It could not be made.
    """
    status = request("PUT", host, f"/v1/projects/{PROJECT}/topics/{name}", "{}")
    if status != 200:
        raise MeasurementError(f"the Pub/Sub emulator made no topic: status {status}")


def request(method: str, host: str, path: str, body: str | None = None) -> int | None:
    """Send one request and return the answer's status, or None if nobody answers."""
    connection = http.client.HTTPConnection(host, timeout=20)
    try:
        connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


@cache
def _jar(emulator: Emulator) -> Path | None:
    gcloud = shutil.which("gcloud")
    folders = [Path("/usr/lib/google-cloud-sdk"), *([Path(gcloud).resolve().parents[1]] if gcloud else [])]
    return next((jar for folder in folders for jar in sorted(folder.glob(emulator.jar))), None)
