"""What a revision's process is started with: an environment of its own requirements, and its variables."""

import hashlib
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from shared.config import ROOT, child_environment

from .account_access import has_role
from .run_names import Place
from .secretmanager import secret_payload
from .wire import ApiError
from .world import World

_INSTALL_SECONDS = 900
_building = threading.Lock()


class UnusableError(Exception):
    """What was deployed cannot be run; the message is Cloud Run's, or Cloud Build's."""


def python_of(requirements: Path, folder: Path) -> Path:
    """Return a Python that has what a requirements.txt names and nothing else, installed on first need.

    Args:
        requirements: The file, as it was uploaded.
        folder: Where environments are kept, each under the digest of its file.

    Raises:
        UnusableError: It cannot be installed.
    """
    text = requirements.read_bytes()
    ready = _ready_made(text)
    if ready:
        return ready
    home = folder / hashlib.sha256(text + sys.version.encode()).hexdigest()[:16]
    python = home / "bin" / "python"
    with _building:
        if not (home / ".ready").exists():
            shutil.rmtree(home, ignore_errors=True)
            _install(requirements, home, python)
            (home / ".ready").touch()
    return python


def variables_of(world: World, place: Place, revision: dict[str, Any]) -> dict[str, str]:
    """Return a revision's variables, its secrets read.

    Raises:
        UnusableError: A secret is not there, or the revision's service account must not read it.
    """
    variables = {}
    for variable in revision["spec"]["containers"][0].get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference:
            account = revision["spec"]["serviceAccountName"]
            variables[variable["name"]] = _secret(world, place, account, reference["name"], reference["key"])
        else:
            variables[variable["name"]] = variable.get("value", "")
    return variables


def _ready_made(requirements: bytes) -> Path | None:
    """Return the environment that the repository's tests have for the very same file, if it is there."""
    for file in sorted((ROOT / "functions").glob("*/requirements.txt")):
        home = ROOT / "build" / "environments" / file.parent.name
        ready = home / ".ready"
        if file.read_bytes() == requirements and ready.exists() and ready.stat().st_mtime >= file.stat().st_mtime:
            return home / "bin" / "python"
    return None


def _install(requirements: Path, home: Path, python: Path) -> None:
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    if uv is None:
        raise UnusableError("the rehearsal needs uv beside its Python, to install what a function declares")
    _run([uv, "venv", "--quiet", "--python", sys.executable, str(home)])
    _run([uv, "pip", "install", "--quiet", "--python", str(python), "--requirement", str(requirements)])
    if not (home / "bin" / "functions-framework").exists():  # the buildpack adds it where it is not declared
        _run([uv, "pip", "install", "--quiet", "--python", str(python), "functions-framework"])


def _run(command: list[str]) -> None:
    # The whole environment: how packages are reached is this machine's business.
    done = subprocess.run(
        command,
        env=child_environment({}),
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise UnusableError(f"failed to install the function's requirements: {done.stderr.strip()[-2000:]}")


def _secret(world: World, place: Place, account: str, name: str, version: str) -> str:
    shown = f"projects/{place.number}/secrets/{name}/versions/{version}"
    full_name = f"//secretmanager.googleapis.com/projects/{place.project}/secrets/{name}"
    if world.find(full_name) is None:
        raise UnusableError(f"Secret {shown} was not found")
    role = "roles/secretmanager.secretAccessor"
    if not has_role(world, full_name, role, f"serviceAccount:{account}"):
        text = f"Permission denied on secret: {shown} for Revision service account {account}."
        raise UnusableError(
            f"{text} The service account used must be granted the 'Secret Manager Secret Accessor' role ({role})"
        )
    try:
        return secret_payload(world, place.project, name, version).decode()
    except ApiError as error:
        raise UnusableError(f"Secret {shown} cannot be used: {error.message}") from error
