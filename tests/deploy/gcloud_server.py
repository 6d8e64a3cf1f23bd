"""A gcloud that has already started: one process imports the Cloud SDK, and every call is a fork of it.

Run by the SDK's own launcher in place of lib/gcloud.py (see conftest.py), so that interpreter, path and variables are
the launcher's choice. What is run for a call is the SDK's code from the line that lib/gcloud.py ends with; before it,
everything that importing the SDK took from the environment is taken anew from that of the call. Modules that a call
had to import are imported here after it, so that only the first call of its kind waits for them.

Usage: gcloud_server.py FOLDER. Serves FOLDER/socket until standard input ends.
"""

import contextlib
import gc
import importlib
import io
import marshal
import os
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

_LAUNCHERS = ("CLOUDSDK_ROOT_DIR", "CLOUDSDK_PYTHON_ARGS", "CLOUDSDK_PYTHON_SITEPACKAGES")
_LAUNCHERS_DEFAULTS = ("CLOUDSDK_GSUTIL_PYTHON", "CLOUDSDK_BQ_PYTHON")


class Call(NamedTuple):
    """One call of gcloud; names and values as bytes, the way the system has them."""

    arguments: list[bytes]
    environment: dict[bytes, bytes]
    folder: bytes
    umask: int
    files: list[int]
    learned: Path


class Server:
    """Takes calls, forks for each, and answers with how it ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(folder / "socket"))
        self._socket.listen(64)
        self._woken, waker = socket.socketpair()
        self._waker = waker
        for end in (self._woken, waker):
            end.setblocking(False)
        self._calls: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        for file in (self._socket, self._woken, sys.stdin):
            self._selector.register(file, selectors.EVENT_READ)

    def run(self) -> Call | None:
        """Serve until standard input ends. In a fork: return its call."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno())
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is sys.stdin:
                    return self._stop()
                if key.fileobj is self._socket:
                    call = self._begin(self._socket.accept()[0])
                    if call:
                        return call
                elif key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._answer_the_ended()
                elif key.data in self._calls:
                    self._pass_on(key.data)

    def _begin(self, connection: socket.socket) -> Call | None:
        request = _receive(connection)
        if request is None:
            connection.close()
            return None
        message, files = request
        if threading.active_count() != 1:
            raise RuntimeError(f"cannot fork: importing the SDK left threads: {threading.enumerate()}")
        pid = os.fork()
        if not pid:
            connection.close()
            self._leave()
            return Call(*message, files, self._folder / f"learned-{os.getpid()}")
        for file in files:
            os.close(file)
        self._calls[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def _leave(self) -> None:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._selector.close()
        for end in (self._socket, self._woken, self._waker, *self._calls.values()):
            end.close()

    def _pass_on(self, pid: int) -> None:
        """Pass a signal on; a caller that is gone takes its call with it."""
        numbers = self._calls[pid].recv(16)
        if not numbers:
            self._selector.unregister(self._calls[pid])
        for number in numbers or [signal.SIGKILL]:
            os.kill(pid, number)

    def _answer_the_ended(self) -> None:
        for pid in list(self._calls):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            connection = self._calls.pop(pid)
            with contextlib.suppress(KeyError):  # the caller was gone first
                self._selector.unregister(connection)
            with contextlib.suppress(BrokenPipeError), connection:
                connection.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))
            self._learn(self._folder / f"learned-{pid}")

    def _learn(self, names: Path) -> None:
        if not names.exists():  # it was killed
            return
        for name in names.read_text("utf-8").split():
            # A few names are made by the module that imports them; the next call makes them again.
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        names.unlink()
        gc.collect()
        gc.freeze()

    def _stop(self) -> None:
        for pid in self._calls:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _receive(connection: socket.socket) -> tuple[Any, list[int]] | None:
    """Return what the caller sent and its three files; None if it went before it said all."""
    data, files, _, _ = socket.recv_fds(connection, 65536, 3)
    while len(data) < 4 or len(data) < 4 + struct.unpack("I", data[:4])[0]:
        more = connection.recv(1 << 20)
        if not more:
            return None
        data += more
    return marshal.loads(data[4:]), files


def _take_environment(call: Call) -> None:
    """Give this process the variables of the call and what the launcher adds to them, its folder and its umask."""
    launched = dict(os.environ)
    os.environ.clear()
    os.environb.update(call.environment)
    os.environ.pop("PYTHONHOME", None)
    for name in _LAUNCHERS:
        if name in launched:
            os.environ[name] = launched[name]
    for name in _LAUNCHERS_DEFAULTS:
        os.environ[name] = os.environ.get(name) or launched[name]
    encoding = os.environ.get("CLOUDSDK_ENCODING") or os.environ.get("PYTHONIOENCODING") or "UTF-8"
    os.environ["CLOUDSDK_ENCODING"] = os.environ["PYTHONIOENCODING"] = encoding
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    time.tzset()
    os.umask(call.umask)
    os.chdir(call.folder)


def _take_streams(call: Call) -> None:
    """Make standard input, output and error those of the caller, buffered as an interpreter does at its start."""
    for number, file in enumerate(call.files):
        os.dup2(file, number)
        os.close(file)
    encoding, _, errors = os.environ["PYTHONIOENCODING"].partition(":")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = io.TextIOWrapper(
            _binary_stream(number),
            encoding=encoding,
            errors="backslashreplace" if number == 2 else errors or "strict",
            newline=None if number == 0 else "\n",
            line_buffering=number == 2 or os.isatty(number),
            write_through=bool(os.environ.get("PYTHONUNBUFFERED")),
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _binary_stream(number: int) -> Any:
    raw = io.FileIO(number, "r" if number == 0 else "w", closefd=False)
    if number == 0:
        return io.BufferedReader(raw)
    return raw if os.environ.get("PYTHONUNBUFFERED") else io.BufferedWriter(raw)


def _take_settings(imported_for: str) -> None:
    """Take anew what the SDK's modules took from the environment and the streams when they were imported.

    Args:
        imported_for: The folder of settings they were imported with.
    """
    import httplib2
    from googlecloudsdk import gcloud_main
    from googlecloudsdk.core import config, log, properties
    from googlecloudsdk.core.configurations import named_configs
    from googlecloudsdk.core.console import console_attr, console_io

    named_configs.ActivePropertiesFile.Invalidate()
    folder = config.Paths().global_config_dir
    for section in properties.VALUES:
        for setting in section:
            default = vars(setting)["_Property__default"]
            if isinstance(default, str) and default.startswith(imported_for):
                vars(setting)["_Property__default"] = folder + default.removeprefix(imported_for)
    httplib2.CA_CERTS = httplib2.certs.where()
    width = console_attr.ResetConsoleAttr().GetTermSize()[0]
    console_io.TEXTWRAP.width = width if width > 0 else 80
    log.Reset()
    gcloud_main.START_TIME = time.time()


def _run(call: Call, imported_for: str) -> int:
    known = set(sys.modules)
    _take_environment(call)
    _take_streams(call)
    _take_settings(imported_for)
    root = os.environ["CLOUDSDK_ROOT_DIR"]
    sys.argv = [f"{root}/lib/gcloud.py", *map(os.fsdecode, call.arguments)]
    from googlecloudsdk import gcloud_main

    try:
        return gcloud_main.main()
    finally:
        new = [name for name, module in sys.modules.items() if name not in known and _is_of_a_file(name, module)]
        partial = call.learned.with_suffix(".partial")
        partial.write_text("\n".join(new), "utf-8")
        partial.rename(call.learned)


def _is_of_a_file(name: str, module: object) -> bool:
    """Say whether a module is one that another process can import by its name."""
    spec = getattr(module, "__spec__", None)
    return spec is not None and spec.name == name and spec.has_location and not name.startswith("__")


def main() -> None:
    """Import the SDK, then serve."""
    sys.path[0] = f"{os.environ['CLOUDSDK_ROOT_DIR']}/lib"
    gcloud = importlib.import_module("gcloud")
    sys.path = gcloud.reorder_sys_path(sys.path)
    gcloud._fix_google_module()
    from googlecloudsdk import gcloud_main  # noqa: F401 - imported for the forks
    from googlecloudsdk.core import config

    imported_for = config.Paths().global_config_dir
    folder = Path(sys.argv[1])
    server = Server(folder)
    gc.collect()
    gc.freeze()
    sys.stdout.write(f"{sys.executable}\n")
    sys.stdout.flush()
    call = server.run()
    if call:
        sys.exit(_run(call, imported_for))


if __name__ == "__main__":
    main()
