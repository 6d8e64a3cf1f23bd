"""A real PostgreSQL of the tests' own: Debian's binaries on a free port, as a user that is not root."""

import contextlib
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psutil
import psycopg

from tests.support import free_port

PASSWORD = "correct horse"
_START_SECONDS = 60.0
_TEMPLATE = "migrated"
# Losing everything with the machine is fine here; what a killed process had written stays in the system's memory.
_SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "64MB", "max_connections": "60"}


def missing() -> str | None:
    """Return why there is no PostgreSQL here, or None if there is one."""
    return None if _bin_folder() else "PostgreSQL is not installed (Debian: apt-get install postgresql)"


class PostgresqlServer:
    """A server that was set up in a folder.

    Attributes:
        port: On 127.0.0.1.
        socket_folder: Where its unix socket is.
    """

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.socket_folder = folder
        self._data = folder / "data"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = itertools.count(1)
        self._has_template = False
        self._version = _version()
        password = folder / "password"
        password.write_text(PASSWORD)
        _give_away(folder, password)
        command = [_tool("initdb"), "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--username=owner"]
        command += ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password}", f"--pgdata={self._data}"]
        if self._version >= 15:
            # A language's order, so that what is to be in the order of bytes shows that it is.
            command += ["--locale-provider=icu", "--icu-locale=en-US"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_other_user())

    def start(self, **settings: str) -> None:
        """Start it and wait until it answers."""
        places = {"port": str(self.port), "listen_addresses": "127.0.0.1"}
        places["unix_socket_directories"] = str(self.socket_folder)
        options = [f"-c{name}={value}" for name, value in {**_SETTINGS, **places, **settings}.items()]
        with self._log.open("ab") as log:
            command = [_tool("postgres"), "-D", str(self._data), *options]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, **_other_user())
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT in good order, SIGKILL all its processes at once."""
        if self._process is None:
            return
        self.resume()
        processes = self._processes()
        for process in processes if how is signal.SIGKILL else processes[:1]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(how)
        psutil.wait_procs(processes, timeout=20)
        self._process.wait(20)
        self._process = None

    def pause(self) -> None:
        """Let it answer nothing more, with every connection kept open."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        """Let it go on."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def url(self, database: str, *, user: str = "owner", password: str = PASSWORD, query: str = "") -> str:
        """Return the STORE_URL of a database, by TCP."""
        quoted = password.replace(" ", "%20")
        return f"postgresql+psycopg://{user}:{quoted}@127.0.0.1:{self.port}/{database}{query}"

    def new_database(self, template: str = _TEMPLATE) -> str:
        """Return the name of a fresh database, with the tables as the migrations make them unless told."""
        if template == _TEMPLATE and not self._has_template:
            self._make_template()
        name = f"test_{next(self._numbers)}"
        # Copied as files, a small database is there four times sooner than through the log; PostgreSQL 14 always does.
        strategy = "STRATEGY file_copy" if self._version >= 15 else ""
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template} {strategy}")
        return name

    def drop(self, database: str) -> None:
        """Remove a database and whoever is connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the owner of everything, committed at once, and return its rows."""
        with self.connect(database) as connection:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def connect(self, database: str) -> "psycopg.Connection[tuple[Any, ...]]":
        """Return a connection of the owner's, in autocommit."""
        place = {"host": str(self.socket_folder), "port": str(self.port), "user": "owner"}
        return psycopg.connect(dbname=database, autocommit=True, **place)  # type: ignore[arg-type]

    def _make_template(self) -> None:
        from shared.stores.__main__ import main

        self.execute(f"CREATE DATABASE {_TEMPLATE} TEMPLATE template0")
        with contextlib.redirect_stdout(None):
            assert main(["migrate", "--url", self.url(_TEMPLATE)]) == 0
        self._has_template = True

    def _answers(self) -> bool:
        try:
            return self.execute("SELECT 1") == [(1,)]
        except psycopg.OperationalError:
            return False

    def _processes(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


@contextmanager
def postgresql_server(**settings: str) -> Iterator[PostgresqlServer]:
    """Run a server until the block ends."""
    # A socket's path may have 107 characters: pytest's own folders are too deep, and closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        server = PostgresqlServer(folder)
        server.start(**settings)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


@cache
def _bin_folder() -> Path | None:
    found = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if (path / "initdb").exists()]
    if found:
        return max(found, key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    told = shutil.which("pg_config")
    folder = Path(subprocess.check_output([told, "--bindir"], text=True).strip()) if told else Path("/nonexistent")
    return folder if (folder / "initdb").exists() else None


def _version() -> int:
    text = subprocess.check_output([_tool("postgres"), "--version"], text=True)
    return int(re.findall(r"\d+", text)[0])


def _tool(name: str) -> str:
    return str((_bin_folder() or Path()) / name)


def _other_user() -> dict[str, Any]:
    """Return how a process is started that must not be root's."""
    if os.getuid():
        return {"cwd": "/"}
    user = _unprivileged()
    return {"cwd": "/", "user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _give_away(*paths: Path) -> None:
    if not os.getuid():
        for path in paths:
            os.chown(path, _unprivileged().pw_uid, _unprivileged().pw_gid)


def _unprivileged() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")
