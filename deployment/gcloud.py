"""The door to Google Cloud's command line: each call names its project, is counted and timed, and fails in one line."""

import json
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.config import child_environment
from shared.errors import ConfigurationError, ServiceError

from .refusals import PASSING, QUOTA, SETTLING, explained

Command = tuple[str, ...]
_CALL_SECONDS = 1800
_PAUSES_SECONDS = (2.0, 5.0, 10.0, 20.0, 30.0)


class GcloudError(ServiceError):
    """gcloud ended with an error.

    Attributes:
        said: What it wrote, whole.
    """

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


@dataclass(slots=True)
class Calls:
    """How often something was called, and how long it took in all."""

    number: int = 0
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, seconds: float) -> None:
        """Note one call."""
        with self._lock:
            self.number += 1
            self.seconds += seconds


class Gcloud:
    """gcloud in one project.

    Attributes:
        project: Every command names it; never the one that gcloud happens to be set to.
        calls: What was called so far.
    """

    def __init__(self, project: str) -> None:
        self.project = project
        self.calls = Calls()

    def read(self, *command: str) -> Any:
        """Return what a command prints as JSON.

        Raises:
            GcloudError: It failed.
        """
        said = self._tried(self.whole((*command, "--format=json")), None, PASSING)
        return json.loads(said or "null")

    def text(self, *command: str) -> str:
        """Return what a command prints, which names no project itself."""
        return self._tried(command, None, PASSING).strip()

    def run(self, command: Command, stdin: str | None = None) -> str:
        """Run a command, again if what it was refused for passes, and return what it prints.

        Args:
            command: Without `gcloud`; one that names no project gets this one.
            stdin: What it reads; never shown.

        Raises:
            GcloudError: It failed.
        """
        return self._tried(self.whole(command), stdin, PASSING, SETTLING)

    def whole(self, command: Command) -> Command:
        """Return a command as it is run: with its project, and no question asked."""
        named = any(part.startswith("--project=") for part in command)
        return (*command, *(() if named else (f"--project={self.project}",)), "--quiet")

    def _tried(self, command: Command, stdin: str | None, *passing: re.Pattern[str]) -> str:
        for pause in (*_PAUSES_SECONDS, None):
            code, out, said = self._once(command, stdin)
            if code == 0:
                return out
            if pause is None or QUOTA.search(said) or not any(each.search(said) for each in passing):
                break
            time.sleep(pause)
        words = [part for part in command if not part.startswith("-")][:4]
        raise GcloudError(explained(shown(words), said), said)

    def _once(self, command: Command, stdin: str | None) -> tuple[int, str, str]:
        began = time.monotonic()
        try:
            done = subprocess.run(  # noqa: S603 - no shell; every part was checked when the files were read
                ["gcloud", *command],  # noqa: S607 - wherever the operator has it
                input=stdin or "",
                capture_output=True,
                check=False,
                encoding="utf-8",
                errors="replace",
                env=child_environment({"CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}),
                timeout=_CALL_SECONDS,
            )
        except FileNotFoundError:
            raise ConfigurationError(
                ["gcloud: expected Google Cloud's command line on PATH: https://cloud.google.com/sdk/docs/install"]
            ) from None
        except subprocess.TimeoutExpired:
            raise GcloudError(f"gcloud {shown(command[:3])} did not end within {_CALL_SECONDS} s") from None
        finally:
            self.calls.add(time.monotonic() - began)
        return done.returncode, done.stdout, done.stderr


def shown(command: Sequence[str]) -> str:
    """Return a command as it would be typed."""
    return shlex.join(command)
