"""Google's Firestore emulator of the tests' own, started without its wrapper, so that it can be paused and killed."""

import http.client
import itertools
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from functions._local.emulators import firestore_command, firestore_jar
from tests.support import free_port

PROJECT = "nightshift-tests"
_START_SECONDS = 60.0


def missing() -> str | None:
    """Return why there is no emulator here, or None if there is one."""
    if not shutil.which("java"):
        return "the Firestore emulator needs Java (Debian: apt-get install default-jre-headless)"
    return (
        None
        if firestore_jar()
        else "the Firestore emulator is not installed (gcloud components install cloud-firestore-emulator)"
    )


class FirestoreEmulator:
    """An emulator: everything in memory, so that it is empty after a restart.

    Attributes:
        port: On 127.0.0.1, the same for as long as this lives.
    """

    def __init__(self, folder: Path, rules: Path | None = None) -> None:
        self.port = free_port()
        self._log = folder / "firestore.log"
        self._rules = rules
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)

    @property
    def host(self) -> str:
        """For FIRESTORE_EMULATOR_HOST."""
        return f"127.0.0.1:{self.port}"

    def new_url(self, query: str = "") -> str:
        """Return the STORE_URL of an empty database: the emulator has every one that is asked for."""
        return f"firestore://{PROJECT}/test-{next(self._numbers):04}{query}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = firestore_command(self.port)
        if self._rules:
            command.append(f"--rules={self._rules}")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the Firestore emulator did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        # Takes most of a second to import.
        from functions._local.emulated import warm_up

        warm_up(self.host, PROJECT)

    def pause(self) -> None:
        """Let it answer nothing more, with every connection kept open."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._send(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; its port refuses connections then."""
        self._send(signal.SIGKILL)
        if self._process:
            self._process.wait(20)
            self._process = None

    def request(
        self, method: str, path: str, body: str | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Send a request of the REST interface, as a browser or a phone would, and return its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _answers(self) -> bool:
        try:
            return self.request("GET", "/")[0] == 200
        except OSError:
            return False

    def _send(self, what: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(what)


@contextmanager
def firestore_emulator(rules: Path | None = None) -> Iterator[FirestoreEmulator]:
    """Run an emulator until the block ends.

    Args:
        rules: The security rules that it keeps for whoever is no server of ours.
    """
    with tempfile.TemporaryDirectory(prefix="firestore-") as folder:
        emulator = FirestoreEmulator(Path(folder), rules)
        try:
            emulator.start()
            yield emulator
        finally:
            emulator.kill()
