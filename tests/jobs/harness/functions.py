"""Functions as processes of their own, which a test kills, stops and wakes, and what is delivered to them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from shared.config import ROOT
from shared.stores import open_store
from shared.strict_json import canonical

from .broker import Broker
from .samples import LEASE, TICK
from .scenarios import SCENARIOS, Call, jobs_of
from .world import Clock, check_settled, rows_of, runs_of


class Functions:
    """Where functions come from: a process that forks them, one at a time."""

    def __init__(self, process: "subprocess.Popen[bytes]", lines: Any) -> None:
        self._process = process
        self._lines = lines

    def start(self, url: str, scenario: str) -> int:
        """Start a function over a store and return its process id."""
        pid: int = self.ask(url=url, scenario=scenario)["born"]
        return pid

    def ask(self, **question: Any) -> dict[str, Any]:
        """Say a line and return the next one."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question).encode() + b"\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> dict[str, Any]:
        """Return the next line."""
        line: dict[str, Any] = json.loads(self._lines.readline())
        return line


@contextmanager
def functions() -> Iterator[Functions]:
    """Have functions come from a process that ends with the block."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "tests.jobs.harness.child", str(writing)]
    with (
        os.fdopen(reading, "rb") as lines,
        subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[writing], cwd=ROOT
        ) as process,
    ):
        os.close(writing)
        yield Functions(process, lines)
        assert process.stdin is not None
        process.stdin.close()


class Night:
    """A scenario from its first delivery until nothing is left to deliver.

    Args:
        url: Of the store.
        name: The scenario's.
        source: Where functions come from.
        other: Where the one comes from that takes over from one that was stopped.
    """

    def __init__(self, url: str, name: str, source: Functions, other: Functions) -> None:
        self.url = url
        self.clock = Clock(TICK)
        self.broker = Broker(self.clock)
        self._name, self._source, self._other = name, source, other
        self._scenario = SCENARIOS[name]
        self._asked: list[Call] = []
        for kind, value in self._scenario.calls:
            if kind == "push":
                self.broker.publish(value)
            else:
                self._asked.append((kind, value))
        self._pid: int | None = None

    def run(self, fault: str | None = None, step: int = 0) -> bool:
        """Deliver everything, to a function that fails at its step of that number, and then to others.

        Args:
            fault: `kill`: it is gone. `stop`: it stands still past its lease, until another one has done everything.
            step: Counted over deliveries.

        Returns:
            Whether it came to that.
        """
        failed, first = False, True
        while self._asked or self.broker.pending:
            told = {"fault": fault, "step": step} if fault and not failed and (first or self._scenario.later) else {}
            status, passed = self._call(told)
            failed, first, step = failed or status is None, False, step - passed
            if status is None or status >= 300:
                self.clock.advance(LEASE + timedelta(minutes=1))
        self._end()
        return failed

    def outcome(self) -> bytes:
        """Tick the reconciler until nothing is left to do, and return all that can be seen of the night then."""
        store = open_store(self.url)
        try:
            for hour in range(1, 6):
                self.clock.now = max(self.clock.now, TICK + timedelta(hours=hour))
                self.broker.publish({"job": "reconcile"})
                self.run()
                if not any(run.state in ("queued", "running") for run in runs_of(store)):
                    break
            return self._seen(store)
        finally:
            store.close()

    def _seen(self, store: Any) -> bytes:
        check_settled(store, [job.id for job in jobs_of(self._scenario)], self.clock())
        runs = [run for run in runs_of(store) if run.job != "reconcile"]
        assert all(sum(attempt.outcome == "success" for attempt in run.attempts) == 1 for run in runs)
        states = [[run.job, run.key, run.state, run.provisional, run.deadline_missed_at is not None] for run in runs]
        rows = [[job, key, rows] for (job, key), rows in rows_of(store).items() if job != "reconcile"]
        return canonical([sorted(states), sorted(rows)])

    def _call(self, told: Mapping[str, Any]) -> tuple[int | None, int]:
        """Deliver what is next once; return the status, None where there was no answer, and how many points it passed.

        What is not answered 2xx is delivered again after all else.
        """
        if self._pid is None:
            self._pid = self._source.start(self.url, self._name)
        message = None if self._asked else self.broker.pending.pop(0)
        call = self._asked[0] if message is None else ("push", message.body().decode())
        woken_at = self.clock() + timedelta(hours=2)
        times = {"now": self.clock().isoformat(), "woken_at": woken_at.isoformat()}
        line = self._heard(self._source, self._source.ask(call=call, **times, **told))
        status = line.get("answered")
        if status is None or status >= 300:
            self.broker.pending += [] if message is None else [message]
        elif message is None:
            self._asked.pop(0)
        if line.get("stopped"):
            self._let_another_finish()
        elif status is None:
            assert line == {"ended": -signal.SIGKILL}, line
            self._pid = None
        return status, line.get("passed", 0)

    def _heard(self, source: Functions, line: dict[str, Any]) -> dict[str, Any]:
        """Return the first line that is about no published message; those are the broker's."""
        while "published" in line:
            self.broker.publish(line["published"])
            line = source.hear()
        return line

    def _let_another_finish(self) -> None:
        source, pid, self._pid = self._source, self._pid, None
        assert pid is not None
        self._source = self._other
        self.clock.advance(LEASE + timedelta(minutes=1))
        self.run()
        self._source, self._pid = source, pid
        os.kill(pid, signal.SIGCONT)
        line = self._heard(source, source.hear())
        assert line["answered"] in (200, 409, 503), line

    def _end(self) -> None:
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            assert self._source.hear() == {"ended": -signal.SIGKILL}
            self._pid = None
