"""A process that forks functions: each serves one test until it is told to end, is killed, or ends itself.

Modules are loaded once, here; a child opens its store itself. Lines of JSON come in on standard input and go out on
the descriptor that the command line names; one question is open at a time.
"""

import json
import os
import signal
import sys
import tempfile
from datetime import datetime
from typing import Any

from shared.stores import open_store

from .points import WatchedStore, watched_publish
from .samples import TICK, job
from .scenarios import SCENARIOS, jobs_of
from .world import Clock, World

_out = int(sys.argv[1])


def _say(**line: Any) -> None:
    os.write(_out, json.dumps(line).encode() + b"\n")


def _hear() -> dict[str, Any] | None:
    line = b""
    while not line.endswith(b"\n"):
        more = os.read(0, 65536)
        if not more:
            return None
        line += more
    value: dict[str, Any] = json.loads(line)
    return value


class _Function:
    """Counts the points it passes, and at one of them dies, or stops until it is woken."""

    def __init__(self, url: str, scenario: str) -> None:
        chosen = SCENARIOS[scenario]
        self.clock = Clock(TICK)
        self.order: dict[str, Any] = {}
        self.passed = 0
        store = WatchedStore(open_store(url), self.point)
        publish = watched_publish(lambda message: _say(published=dict(message)), self.point)
        self.world = World(store, jobs_of(chosen), self.clock, code=chosen.code, publish=publish)

    def point(self, name: str) -> None:
        self.passed += 1
        if self.passed != self.order.get("step"):
            return
        if self.order["fault"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGSTOP)
        self.clock.now = datetime.fromisoformat(self.order["woken_at"])

    def serve(self) -> None:
        while order := _hear():
            self.order, self.passed = order, 0
            self.clock.now = datetime.fromisoformat(order["now"])
            kind, value = order["call"]
            answer = self.world.push(value.encode()) if kind == "push" else self.world.backfill("nightly", **value)
            _say(answered=answer.status, value=answer.value, passed=self.passed)


def _warm_up() -> None:
    """Load what is loaded on first use; a child that did it by itself would take ten times as long."""
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{folder}/warm.db")
        World(store, [job(slices=2)], Clock(TICK)).trigger("nightly")
        store.close()


def main() -> None:
    """Fork a function for each line that says which."""
    _warm_up()
    while order := _hear():
        pid = os.fork()
        if pid == 0:
            _Function(order["url"], order["scenario"]).serve()
            os._exit(0)
        _say(born=pid)
        while True:
            _, status = os.waitpid(pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                break
            _say(stopped=True)
        _say(ended=os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main()
