"""Runs whole deployments against a rehearsed cloud, and reads back what they printed, asked and left."""

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from shared.config import ROOT

STAGING, PROD = "nightshift-rehearsal-staging", "nightshift-rehearsal-prod"
RUN_SECONDS = 500
_SIGNS = ("+ create", "~ change", "! drift", "- delete")
# Hands every call on to the gcloud that is given, and keeps its words in a file of its own.
_NOTING = """#!/bin/sh
printf '%s\\0' "$@" > {folder}/$$.draft && mv {folder}/$$.draft {folder}/$$
exec {gcloud} "$@"
"""


class Row(NamedTuple):
    """A line of a plan's table."""

    kind: str
    what: str
    before: str
    after: str


class Run(NamedTuple):
    """How a deployment ended.

    Attributes:
        code: Its exit code.
        output: What it printed.
        errors: What it wrote to standard error.
        commands: Every line that it called gcloud with, but for the first word.
        calls: What was asked of the rehearsed cloud, as in calls.jsonl.
    """

    code: int
    output: str
    errors: str
    commands: list[list[str]]
    calls: list[dict[str, Any]]

    @property
    def rows(self) -> list[Row]:
        """The plan's table, each cell in one piece again; a blank where it was broken is gone."""
        return list(_rows(self.output))

    @property
    def gcloud_calls(self) -> int:
        """How many calls it says it made."""
        found = re.search(r"^([0-9]+) gcloud calls, [0-9.]+ s; [0-9]+ requests, [0-9.]+ s", self.output, re.MULTILINE)
        assert found, f"expected the number and time of the calls, got {self.output[-500:]}"
        return int(found[1])

    def deployed(self) -> list[str]:
        """Return the services that got a new revision."""
        return sorted(words[2] for words in self.commands if words[:2] == ["run", "deploy"])

    def built(self) -> list[str]:
        """Return the services whose image was built."""
        deploys = (words for words in self.commands if words[:2] == ["run", "deploy"])
        return sorted(words[2] for words in deploys if any(word.startswith("--source=") for word in words))

    def traffic(self, service: str) -> list[str]:
        """Return what a service's traffic was set to, in order."""
        moves = (words for words in self.commands if words[:4] == ["run", "services", "update-traffic", service])
        flags = (word for words in moves for word in words if word.startswith("--to-revisions="))
        return [flag.partition("=")[2] for flag in flags]

    def expect(self, code: int) -> "Run":
        """Return this run, which is to have ended with that code."""
        said = f"{self.errors[-1500:]}\n{self.output[-1500:]}"
        assert self.code == code, f"expected exit code {code}, got {self.code}: {said}"
        return self


class Rehearsed:
    """A rehearsed cloud in a folder, and what is deployed to it.

    Args:
        folder: Holds the cloud, and the environments' files.
        repository: Whose code is run and deployed.
        gcloud: The folder of the gcloud to use.
    """

    def __init__(self, folder: Path, repository: Path, gcloud: Path) -> None:
        self.folder, self.repository, self._gcloud = folder, repository, gcloud
        self.cloud, self.environments = folder / "cloud", folder / "environments"
        self.cloud.mkdir(parents=True, exist_ok=True)
        if not self.environments.exists():
            shutil.copytree(ROOT / "environments", self.environments)

    def copy(self, folder: Path, repository: Path | None = None) -> "Rehearsed":
        """Return the same cloud once more, in a folder of its own; what was installed for it is lent."""
        installed = self.cloud / "environments"
        shutil.copytree(self.folder, folder, symlinks=True, ignore=_all_of(installed))
        for home in installed.iterdir():
            (folder / "cloud" / "environments" / home.name).symlink_to(home)
        return Rehearsed(folder, repository or self.repository, self._gcloud)

    def set(self, environment: str, **values: str) -> None:
        """Change values in an environment's file."""
        path = self.environments / f"{environment}.env"
        text = path.read_text("utf-8")
        for key, value in values.items():
            text, count = re.subn(rf"^{key}=.*$", lambda _, k=key, v=value: f"{k}={v}", text, flags=re.MULTILINE)
            assert count == 1, f"{path.name} has no {key}"
        path.write_text(text, "utf-8")

    def run(self, *arguments: str, stdin: str = "", failures: list[dict[str, Any]] | None = None) -> Run:
        """Run `python -m deployment` with these arguments against the rehearsed cloud until it ends.

        Args:
            arguments: Such as staging, --yes.
            stdin: What is typed.
            failures: Planted for this run alone, as control_plane.py has them.
        """
        (self.cloud / "failures.json").write_text(json.dumps(failures or []), "utf-8")
        with self.running(*arguments) as process:
            output, errors = process.communicate(stdin, timeout=RUN_SECONDS)
        return self._ended(process.returncode, output, errors)

    @contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Run the same, and let the block have a hand in it."""
        notes = self.folder / "commands"
        shutil.rmtree(notes, ignore_errors=True)
        notes.mkdir()
        (self.cloud / "calls.jsonl").unlink(missing_ok=True)
        command = [sys.executable, "-m", "deployment.rehearsal", str(self.cloud)]
        command += ["--environments", str(self.environments), "--", *arguments]
        pipe = subprocess.PIPE
        with subprocess.Popen(
            command, cwd=self.repository, env=self._variables(), stdin=pipe, stdout=pipe, stderr=pipe, text=True
        ) as process:
            try:
                yield process
            finally:
                process.terminate()

    def ended(self, process: "subprocess.Popen[str]") -> Run:
        """Return what a run did that is being ended."""
        output, errors = process.communicate(timeout=RUN_SECONDS)
        return self._ended(process.returncode, output, errors)

    @property
    def state(self) -> dict[str, dict[str, Any]]:
        """What the rehearsed cloud holds: resources and policies, by full name."""
        return dict(json.loads((self.cloud / "state.json").read_text("utf-8")))

    def keep(self, state: Mapping[str, Any]) -> None:
        """Put another state in its place, as if somebody had changed it by hand."""
        (self.cloud / "state.json").write_text(json.dumps(state), "utf-8")

    def service(self, name: str, project: str = STAGING) -> dict[str, Any]:
        """Return a Cloud Run service as the rehearsed cloud has it."""
        place = f"//run.googleapis.com/projects/{project}/locations/europe-west1/services/{name}"
        return dict(self.state["resources"][place])

    def traffic(self, name: str, project: str = STAGING) -> dict[str, int]:
        """Return a service's traffic in percent, by revision."""
        targets = self.service(name, project)["status"]["traffic"]
        return {target["revisionName"]: target["percent"] for target in targets if target.get("percent")}

    def _ended(self, code: int, output: str, errors: str) -> Run:
        notes = sorted((self.folder / "commands").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        commands = [path.read_text("utf-8").split("\0")[:-1] for path in notes if not path.suffix]
        path = self.cloud / "calls.jsonl"
        calls = [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []
        return Run(code, output, errors, commands, calls)

    def _variables(self) -> dict[str, str]:
        first = self.folder / "bin"
        first.mkdir(exist_ok=True)
        noting = first / "gcloud"
        noting.write_text(_NOTING.format(folder=self.folder / "commands", gcloud=self._gcloud / "gcloud"), "utf-8")
        noting.chmod(0o755)
        return {**os.environ, "PATH": f"{first}:{os.environ['PATH']}", "PYTHONDONTWRITEBYTECODE": "1"}


def _all_of(folder: Path) -> Callable[[str, list[str]], list[str]]:
    return lambda path, names: names if Path(path) == folder else []


def copy_repository(destination: Path) -> Path:
    """Copy what is in the repository, changed or not, and lend it the environments that functions are run in."""
    listed = subprocess.run(
        ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (destination / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, destination / name)
    (destination / "build").mkdir()
    (destination / "build" / "environments").symlink_to(ROOT / "build" / "environments")
    return destination


def replace_in(file: Path, old: str, new: str) -> None:
    """Replace a text that a file has exactly once."""
    text = file.read_text("utf-8")
    assert text.count(old) == 1, f"expected {old!r} once in {file.name}, found {text.count(old)}"
    file.write_text(text.replace(old, new), "utf-8")


def make_impatient(repository: Path) -> None:
    """Have a copy of the repository try again at once what is tried again, and only twice."""
    for name in ("calling", "gcloud", "rest"):
        file = repository / "deployment" / f"{name}.py"
        text, count = re.subn(
            r"^_PAUSES_SECONDS = .*$", "_PAUSES_SECONDS = (0, 0)", file.read_text("utf-8"), flags=re.MULTILINE
        )
        assert count == 1, f"{file.name} has no pauses"
        file.write_text(text, "utf-8")


def _rows(output: str) -> Iterator[Row]:
    lines = output.splitlines()
    heading = next((number for number, line in enumerate(lines) if line.split() == ["what", "is", "becomes"]), None)
    if heading is None:
        return
    starts = [0, *(lines[heading].index(f" {word}") + 1 for word in ("what", "is ", "becomes")), None]
    cells: list[str] = []
    for line in lines[heading + 1 :]:
        sign = line.startswith(_SIGNS)
        if not sign and line[:8].strip():
            break
        parts = [line[start:end].strip() for start, end in itertools.pairwise(starts)]
        if sign and cells:
            yield Row(*cells)
        # Broken where a cell ends, mostly within a word.
        cells = parts if sign else [f"{old}{new}" for old, new in zip(cells, parts, strict=True)]
    if cells:
        yield Row(*cells)
