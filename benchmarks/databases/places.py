"""The databases of one run: each is made when it is first asked for, and gone when the run ends."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path

from benchmarks.errors import MeasurementError
from shared.config import ROOT, child_environment

from .emulators import FIRESTORE, PUBSUB, running
from .postgresql import Postgresql, postgresql, store_url
from .rows import USUAL_TIMES, Times


class Places:
    """Makes databases.

    Args:
        folder: Takes files and logs; an empty folder.
        progress: Told what is being made.
        stack: Ends the servers.
    """

    def __init__(self, folder: Path, progress: Callable[[str], None], stack: ExitStack) -> None:
        self.folder = folder
        self._progress = progress
        self._stack = stack
        self._filled: dict[tuple[str, int, Times], str] = {}

    @cached_property
    def postgresql(self) -> Postgresql:
        """A PostgreSQL server."""
        self._progress("starting PostgreSQL")
        return self._stack.enter_context(postgresql())

    @cached_property
    def firestore_host(self) -> str:
        """Host and port of a Firestore emulator."""
        self._progress("starting the Firestore emulator")
        return self._stack.enter_context(running(FIRESTORE, self.folder / "firestore.log"))

    @cached_property
    def pubsub_host(self) -> str:
        """Host and port of a Pub/Sub emulator."""
        self._progress("starting the Pub/Sub emulator")
        return self._stack.enter_context(running(PUBSUB, self.folder / "pubsub.log"))

    def filled_sqlite(self, count: int, times: Times = USUAL_TIMES) -> Path:
        """Return the file of a store that holds so many results."""
        place = ("sqlite", count, times)
        if place not in self._filled:
            path = self.folder / f"filled-{len(self._filled)}.db"
            self._fill(f"sqlite:///{path}", count, times)
            self._filled[place] = str(path)
        return Path(self._filled[place])

    def filled_postgresql(self, count: int, times: Times = USUAL_TIMES) -> str:
        """Return the URL of a store that holds so many results, as libpq takes it."""
        place = ("postgresql", count, times)
        if place not in self._filled:
            url = self.postgresql.new_database(f"filled_{len(self._filled)}", tables=True)
            self._fill(store_url(url), count, times)
            self._filled[place] = url
        return self._filled[place]

    def _fill(self, url: str, count: int, times: Times) -> None:
        self._progress(f"writing {count:,} results to {url.partition(':')[0]}")
        command = [sys.executable, "-m", "benchmarks.databases.filling", url, str(count)]
        command += [times.first.isoformat(), str(times.apart_us)]
        finished = subprocess.run(
            command,
            cwd=ROOT,
            env=child_environment({}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if finished.returncode:
            said = finished.stdout.decode("utf-8", "replace")[-2000:]
            raise MeasurementError(f"the results could not be written:\n{said}")
