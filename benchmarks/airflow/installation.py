"""Airflow's own environment, under build/: made once, and again when what is pinned changes."""

import hashlib
import shutil
import sys
from functools import cache
from pathlib import Path

from benchmarks.children import run
from benchmarks.errors import MeasurementError
from shared.config import ROOT

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_ENVIRONMENT = ROOT / "build" / "airflow"
_MAX_SECONDS = 900.0


@cache
def missing() -> str | None:
    """Return why there is no Airflow here, or None if there is one; it is installed, if that was not done yet."""
    try:
        _install()
    except MeasurementError as error:
        return f"Apache Airflow could not be installed: {error}"
    return None


def executable() -> str:
    """Return the command."""
    return str(_ENVIRONMENT / "bin" / "airflow")


def version() -> str:
    """Return which Airflow is pinned."""
    return pinned_version(_REQUIREMENTS.read_text("utf-8"))


def pinned_version(requirements: str) -> str:
    """Return the version of Airflow among locked requirements."""
    line = next(line for line in requirements.splitlines() if line.startswith("apache-airflow=="))
    return line.split()[0].removeprefix("apache-airflow==")


def _install() -> None:
    made_of = hashlib.sha256(_REQUIREMENTS.read_bytes() + sys.version.encode()).hexdigest()
    mark = _ENVIRONMENT / ".made-of"
    if mark.exists() and mark.read_text("utf-8") == made_of:
        return
    beside = Path(sys.executable).with_name("uv")
    uv = str(beside) if beside.exists() else shutil.which("uv")
    if uv is None:
        raise MeasurementError("uv is not there (make bench sets it up)")
    shutil.rmtree(_ENVIRONMENT, ignore_errors=True)
    run([uv, "venv", "--quiet", "--python", sys.executable, str(_ENVIRONMENT)])
    python = str(_ENVIRONMENT / "bin" / "python")
    command = [uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", str(_REQUIREMENTS)]
    run(command, max_seconds=_MAX_SECONDS)
    mark.write_text(made_of, "utf-8")
