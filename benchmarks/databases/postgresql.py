"""A PostgreSQL of the run's own, with its settings as they come: what it says is kept is on the disk (fsync on)."""

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.errors import MeasurementError
from benchmarks.server import HOST, free_port
from shared.config import ROOT, child_environment

_START_SECONDS, _STOP_SECONDS = 60.0, 20.0
_OWNER = "owner"


def missing() -> str | None:
    """Return why there is no PostgreSQL here, or None if there is one."""
    return None if _bin_folder() else "PostgreSQL is not installed (Debian: apt-get install postgresql)"


class Postgresql:
    """A server that runs.

    Args:
        port: On 127.0.0.1, where everybody is let in as the owner.
    """

    def __init__(self, port: int) -> None:
        self._port = port

    def new_database(self, name: str, *, tables: bool) -> str:
        """Make a database and return its URL, as libpq takes it; with our tables, if those are asked for.

        Raises:
            MeasurementError: It could not be made.
        """
        _run([_tool("createdb"), *self._place(), "--template=template0", "--encoding=UTF8", name])
        url = f"postgresql://{_OWNER}@{HOST}:{self._port}/{name}"
        if tables:
            _run([sys.executable, "-m", "shared.stores", "migrate", "--url", store_url(url)])
        return url

    def answers(self) -> bool:
        """Tell whether it takes connections."""
        return subprocess.run([_tool("pg_isready"), "--quiet", *self._place()], check=False).returncode == 0

    def _place(self) -> list[str]:
        return [f"--host={HOST}", f"--port={self._port}", f"--username={_OWNER}"]


def store_url(url: str) -> str:
    """Return a database's URL as STORE_URL has it."""
    return url.replace("postgresql:", "postgresql+psycopg:", 1)


@contextmanager
def postgresql() -> Iterator[Postgresql]:
    """Run a server until the block ends; everything in it goes with it.

    Raises:
        MeasurementError: It does not start.
    """
    folder = Path(tempfile.mkdtemp(prefix="bench-pg-"))  # the path of a socket may have 107 characters
    try:
        if not os.getuid():
            os.chown(folder, _user().pw_uid, _user().pw_gid)
        command = [_tool("initdb"), "--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust"]
        _run([*command, f"--username={_OWNER}", f"--pgdata={folder / 'data'}"], **_as_other_user())
        port = free_port()
        command = [_tool("postgres"), "-D", str(folder / "data"), "-p", str(port), "-k", str(folder), "-h", HOST]
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, **_as_other_user())
        try:
            yield _started(Postgresql(port), process, folder / "log")
        finally:
            process.send_signal(signal.SIGINT)  # the quick way in good order; SIGTERM waits for every client
            with suppress(subprocess.TimeoutExpired):
                process.wait(_STOP_SECONDS)
            process.kill()
            process.wait()
    finally:
        shutil.rmtree(folder)


def _started(server: Postgresql, process: "subprocess.Popen[bytes]", log: Path) -> Postgresql:
    deadline = time.monotonic() + _START_SECONDS
    while not server.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise MeasurementError(f"PostgreSQL did not start:\n{log.read_text('utf-8', 'replace')[-2000:]}")
        time.sleep(0.05)
    return server


def _run(command: list[str], **options: Any) -> None:
    options = {"cwd": ROOT, **options}
    finished = subprocess.run(
        command, env=child_environment({}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options
    )
    if finished.returncode:
        raise MeasurementError(f"{command[0]} failed:\n{finished.stdout.decode('utf-8', 'replace')[-2000:]}")


@cache
def _bin_folder() -> Path | None:
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).parent if on_path else None


def _tool(name: str) -> str:
    return str((_bin_folder() or Path()) / name)


def _as_other_user() -> dict[str, Any]:
    """Return how a process is started that PostgreSQL would refuse to root."""
    if os.getuid():
        return {"cwd": "/"}
    return {"cwd": "/", "user": _user().pw_uid, "group": _user().pw_gid, "extra_groups": []}


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
