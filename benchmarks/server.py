"""One function under functions-framework: how soon it answers, what memory it takes, and its end."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from shared.config import child_environment

from .answers import AnswerReader
from .calls import Call
from .errors import MeasurementError
from .lane import Address

HOST = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 10.0
# Between attempts to connect; the wait costs the starting process next to nothing.
_POLL_SECONDS = 0.001
_LOG_TAIL_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Source:
    """What functions-framework is pointed at."""

    path: Path
    target: str


class Server:
    """A function in processes of its own.

    Args:
        source: The function.
        env: Its environment beyond this process's own.
        log_path: The file that takes its output, appended to.
        port: Where it answers; None: anywhere.
    """

    def __init__(self, source: Source, env: Mapping[str, str], log_path: Path, port: int | None = None) -> None:
        self.address: Address = (HOST, port or free_port())
        self._log_path = log_path
        command = [sys.executable, "-m", "functions_framework", "--source", str(source.path)]
        command += ["--target", source.target, "--host", HOST, "--port", str(self.address[1])]
        environment = child_environment(env)
        with log_path.open("ab") as log:
            self._started = time.perf_counter()
            self._process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                # A file takes a log line at what a write costs and wakes no reader, which would share the processors.
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd="/",
                start_new_session=True,
            )

    def first_answer_seconds(self, call: Call) -> float:
        """Return the time from the start of the process to the first right answer.

        Raises:
            WrongAnswerError: The first answer is not the right one.
            MeasurementError: The process ended, or there was no answer within a minute.
        """
        while time.perf_counter() - self._started < _START_SECONDS:
            if self._process.poll() is not None:
                raise MeasurementError(f"the function ended before it answered:\n{self.log_tail()}")
            if self._ask(call):
                return time.perf_counter() - self._started
            time.sleep(_POLL_SECONDS)
        raise MeasurementError(f"no answer within {_START_SECONDS:.0f} s of the start:\n{self.log_tail()}")

    def memory_bytes(self) -> int:
        """Return the memory of master and workers."""
        return tree_memory_bytes(self._process.pid)

    def log_tail(self) -> str:
        """Return the end of what it wrote."""
        return self._log_path.read_text("utf-8", "replace")[-_LOG_TAIL_CHARS:]

    def stop(self) -> None:
        """End it, gently first, and everything it started."""
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _ask(self, call: Call) -> bool:
        """Send the request once; tell whether it was answered, and rightly."""
        with suppress(ConnectionError), socket.create_connection(self.address, _START_SECONDS) as connection:
            connection.sendall(call.request)
            reader = AnswerReader()
            while piece := connection.recv(1 << 16):
                answer = reader.feed(piece)
                if answer:
                    call.check(answer)
                    return True
        return False


def tree_memory_bytes(pid: int) -> int:
    """Return the proportional set size of a process and its children; where the system knows none, the unique size."""
    root = psutil.Process(pid)
    infos = [process.memory_full_info() for process in (root, *root.children(recursive=True))]
    return sum(getattr(info, "pss", info.uss) for info in infos)


@contextmanager
def serving(source: Source, env: Mapping[str, str], log_path: Path, port: int | None = None) -> Iterator[Server]:
    """Serve a function until the block ends."""
    server = Server(source, env, log_path, port)
    try:
        yield server
    finally:
        server.stop()


def free_port() -> int:
    """Return a port that nobody listens on just now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])
