"""Rounds: hello-world and a function one after the other, again and again, so that a busy moment hits both.

What the machine does beside the measurement changes from second to second. A function is therefore compared with
the hello-world of its own round only, and the median is taken of these ratios.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.config import ROOT

from .load import Load, run_load
from .server import Server, serving
from .subjects import Subject, function_source, hello_world, seed_call

CLIENTS = 16


@dataclass(frozen=True, slots=True)
class Plan:
    """How long everything is measured.

    Attributes:
        rounds: Pairs of hello-world and the function.
        starts: Starts a round, of which the median counts.
        warm_seconds, one_client_seconds, many_clients_seconds: Of each load; the first is not counted.
    """

    rounds: int
    starts: int
    warm_seconds: float
    one_client_seconds: float
    many_clients_seconds: float


NORMAL = Plan(rounds=3, starts=3, warm_seconds=0.4, one_client_seconds=2.0, many_clients_seconds=3.0)
QUICK = Plan(rounds=1, starts=1, warm_seconds=0.1, one_client_seconds=0.4, many_clients_seconds=0.6)


@dataclass(frozen=True, slots=True)
class Sample:
    """One function in one round."""

    first_answer_seconds: float
    memory_bytes: int
    one_client: Load
    many_clients: Load


@dataclass(frozen=True, slots=True)
class Pair:
    """A function and hello-world in the same round."""

    hello: Sample
    subject: Sample


class Bench:
    """Measures functions that share one store, made for this run.

    Args:
        plan: How long.
        progress: Told what is about to be measured.
    """

    def __init__(self, plan: Plan, progress: Callable[[str], None]) -> None:
        self._plan = plan
        self._progress = progress

    def run(self, subjects: Sequence[Subject]) -> dict[str, list[Pair]]:
        """Return each function's pairs, a round each.

        Raises:
            WrongAnswerError: A function answered what it should not.
            MeasurementError: A function could not be started or reached.
        """
        pairs: dict[str, list[Pair]] = {subject.name: [] for subject in subjects}
        with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
            workplace = _Workplace(Path(folder))
            if any(subject.reads_results for subject in subjects):
                self._progress("storing results to list")
                workplace.seed()
            for subject in (hello_world(), *subjects):
                # Once before the rounds: writes byte code and brings the files into memory, for all alike.
                self._progress(f"trying {subject.name}")
                workplace.first_answer_seconds(subject)
            for number in range(self._plan.rounds):
                for subject in subjects:
                    self._progress(f"round {number + 1} of {self._plan.rounds}: {subject.name}")
                    pairs[subject.name].append(self._pair(workplace, subject, hello_first=number % 2 == 0))
        return pairs

    def _pair(self, workplace: "_Workplace", subject: Subject, hello_first: bool) -> Pair:
        hello = hello_world()
        order = [hello, subject] if hello_first else [subject, hello]
        starts: dict[str, list[float]] = {hello.name: [], subject.name: []}
        for each in order * (self._plan.starts - 1):
            starts[each.name].append(workplace.first_answer_seconds(each))
        samples = {each.name: self._sample(workplace, each, starts[each.name]) for each in order}
        return Pair(samples[hello.name], samples[subject.name])

    def _sample(self, workplace: "_Workplace", subject: Subject, starts: list[float]) -> Sample:
        plan = self._plan
        with serving(subject.source, workplace.env, workplace.log_path(subject.name)) as server:
            first = server.first_answer_seconds(subject.next_call())
            _load(server, subject, CLIENTS, plan.warm_seconds)
            one = _load(server, subject, 1, plan.one_client_seconds)
            many = _load(server, subject, CLIENTS, plan.many_clients_seconds)
            return Sample(statistics.median([*starts, first]), server.memory_bytes(), one, many)


class _Workplace:
    """A folder for one run: the store that the functions share, and a log file for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.env = {
            "STATE_DIR": str(folder),
            "STORE_URL": f"sqlite:///{folder}/nightshift.db",
            "MODELS_DIR": str(ROOT / "model"),
        }

    def log_path(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def seed(self) -> None:
        with serving(function_source("store_result"), self.env, self.log_path("store_result")) as server:
            server.first_answer_seconds(seed_call())

    def first_answer_seconds(self, subject: Subject) -> float:
        with serving(subject.source, self.env, self.log_path(subject.name)) as server:
            return server.first_answer_seconds(subject.next_call())


def _load(server: Server, subject: Subject, connections: int, seconds: float) -> Load:
    return run_load(server.address, subject.next_call, connections=connections, seconds=seconds)
