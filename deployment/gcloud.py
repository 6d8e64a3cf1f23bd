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

Command = tuple[str, ...]
_CALL_SECONDS = 1800
_PAUSES_SECONDS = (2.0, 5.0, 10.0, 20.0, 30.0)
_SHOWN_CHARS = 500
# Google refuses for a while and then does not: quotas a minute, what is new and not known everywhere, what two change.
_PASSING = re.compile(
    r"\b(429|503|RESOURCE_EXHAUSTED|UNAVAILABLE|ABORTED|rateLimitExceeded)\b"
    r"|concurrent policy changes|try again|[Ss]ervice account \S+ does not exist|may take (a few|several) minutes",
)
_PERMISSION = re.compile(r"\b(403|PERMISSION_DENIED)\b|does not have permission")
_SIGN_IN = re.compile(r"gcloud auth login|invalid_grant|UNAUTHENTICATED|Reauthentication|no active account", re.I)
_QUOTA = re.compile(r"[Qq]uota")


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
        said = self.run((*command, "--format=json"))
        return json.loads(said or "null")

    def text(self, *command: str) -> str:
        """Return what a command prints, which names no project itself."""
        return self._tried(command, None).strip()

    def run(self, command: Command, stdin: str | None = None) -> str:
        """Run a command, again if what it was refused for passes, and return what it prints.

        Args:
            command: Without `gcloud`; one that names no project gets this one.
            stdin: What it reads; never shown.

        Raises:
            GcloudError: It failed.
        """
        return self._tried(self.whole(command), stdin)

    def whole(self, command: Command) -> Command:
        """Return a command as it is run: with its project, and no question asked."""
        named = any(part.startswith("--project=") for part in command)
        return (*command, *(() if named else (f"--project={self.project}",)), "--quiet")

    def _tried(self, command: Command, stdin: str | None) -> str:
        for pause in (*_PAUSES_SECONDS, None):
            code, out, said = self._once(command, stdin)
            if code == 0:
                return out
            if pause is None or not _PASSING.search(said) or _QUOTA.search(said):
                break
            time.sleep(pause)
        raise GcloudError(_explained(command, said), said)

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


def _explained(command: Command, said: str) -> str:
    """Return what failed, what gcloud said of it, and what to do, in one line."""
    words = [part for part in command if not part.startswith("-")][:4]
    start = max(said.rfind("ERROR:"), 0)
    text = " ".join(said[start:].split())[:_SHOWN_CHARS] or "it said nothing"
    return f"gcloud {shown(words)}: {text}{_advice(said)}"


def _advice(said: str) -> str:
    if _SIGN_IN.search(said):
        return " | Sign in first: gcloud auth login"
    if _QUOTA.search(said):
        return (
            " | A quota is used up: ask for more, or wait, and run the same command again; it goes on where it stopped"
        )
    if _PERMISSION.search(said):
        return (
            " | Is PROJECT_ID right, and gcloud signed in as who may do this (gcloud auth list)? README names the "
            "roles; then run the same command again"
        )
    if _PASSING.search(said):
        return " | Google did not answer in time; run the same command again, it goes on where it stopped"
    return ""
