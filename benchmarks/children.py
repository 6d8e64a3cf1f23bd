"""Modules of the benchmarks, or of the project, that are run in a process of their own until they end."""

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.config import ROOT, child_environment

from .errors import MeasurementError

_SHOWN_CHARS = 2000


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that ended well.

    Attributes:
        output: What it wrote to standard output.
        seconds: From its start to its end.
    """

    output: str
    seconds: float


def run(command: Sequence[str], env: Mapping[str, str] | None = None, max_seconds: float | None = None) -> Ended:
    """Run a command.

    Args:
        env: Its environment beyond this process's own.
        max_seconds: It is ended after this long; None: never.

    Raises:
        MeasurementError: It failed, with the end of what it wrote, or took too long.
    """
    began = time.perf_counter()
    try:
        ended = subprocess.run(
            command,
            cwd=ROOT,
            env=child_environment(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=max_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise MeasurementError(f"{command[0]}: did not end within {max_seconds:.0f} s") from error
    except OSError as error:
        raise MeasurementError(f"{command[0]}: {error.strerror}") from error
    seconds = time.perf_counter() - began
    if ended.returncode:
        said = (ended.stdout + ended.stderr).decode("utf-8", "replace")[-_SHOWN_CHARS:]
        raise MeasurementError(f"{' '.join(command)}: status {ended.returncode}:\n{said}")
    return Ended(ended.stdout.decode("utf-8", "replace"), seconds)


def child_json(module: str, *arguments: str) -> Any:
    """Run a module and return the JSON in the last line that it wrote.

    Raises:
        MeasurementError: As `run` does.
    """
    return json.loads(run([sys.executable, "-m", module, *arguments]).output.splitlines()[-1])
