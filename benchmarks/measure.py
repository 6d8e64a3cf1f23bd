"""Rounds: a function and its rival one after the other, again and again, so that a busy moment hits both.

What the machine does beside the measurement changes from second to second. A function is therefore compared with
the hello-world of its own round only, and the median is taken of these ratios.
"""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from shared.config import ROOT

from .calls import Load
from .contests import BATCHING, Contest, beside_hello, in_process, two_ways
from .in_process import call_sample
from .load import run_load
from .models import Models
from .plans import Plan
from .results import Pair, Results, Sample, TwoWays
from .server import Server, serving
from .subjects import Subject, function_source, seed_call


class Bench:
    """Measures functions that share one store, made for this run.

    Args:
        plan: How long.
        progress: Told what is about to be measured.
    """

    def __init__(self, plan: Plan, progress: Callable[[str], None]) -> None:
        self._plan = plan
        self._progress = progress

    def run(self, names: Sequence[str]) -> Results:
        """Measure some of `contests.NAMES`.

        Raises:
            WrongAnswerError: A function answered what it should not.
            MeasurementError: A function could not be started or reached, or a model could not be made.
        """
        with tempfile.TemporaryDirectory(prefix="nightshift-bench-") as folder:
            models = Models(Path(folder), self._progress)
            functions, rivals = beside_hello(names, models), two_ways(names, models)
            called = in_process(names, models)
            results = Results(
                {contest.name: [] for contest in functions},
                {each.name: TwoWays(each.base.name, each.subject.name, each.clients) for each in rivals},
                {name: [] for name in called},
            )
            if BATCHING in names:
                results.batched_models.update({name: models.answer(models.added(name)) for name in ("dense", "cnn")})
            workplace = _Workplace(Path(folder))
            self._prepare(workplace, [*functions, *rivals])
            for number in range(self._plan.rounds):
                label = f"round {number + 1} of {self._plan.rounds}: "
                hello_first = number % 2 == 0
                for contest in functions:
                    self._progress(label + contest.name)
                    results.beside_hello[contest.name].append(self._pair(workplace, contest, hello_first))
                for name, (model, expected) in called.items():
                    self._progress(label + name)
                    results.in_process[name].append(call_sample(model, self._plan.one_client_seconds, expected))
                for contest in rivals:
                    self._progress(label + contest.name)
                    results.two_ways[contest.name].pairs.append(self._pair(workplace, contest, hello_first))
        return results

    def _prepare(self, workplace: "_Workplace", contests: Sequence[Contest]) -> None:
        """Start everything once before the rounds: writes byte code and brings the files into memory, for all alike."""
        subjects = {each.name: each for contest in contests for each in (contest.base, contest.subject)}
        if any(subject.reads_results for subject in subjects.values()):
            self._progress("storing results to list")
            workplace.seed()
        slow = [subject for subject in subjects.values() if subject.starts_slowly]
        for subject in subjects.values():
            if subject not in slow[1:]:  # what takes their time is the same for all of them: TensorFlow
                self._progress(f"trying {subject.name}")
                workplace.first_answer_seconds(subject)

    def _pair(self, workplace: "_Workplace", contest: Contest, base_first: bool) -> Pair:
        base, subject = contest.base, contest.subject
        order = [base, subject] if base_first else [subject, base]
        starts: dict[str, list[float]] = {base.name: [], subject.name: []}
        once = not contest.counts_starts or subject.starts_slowly
        for each in order * (0 if once else self._plan.starts - 1):
            starts[each.name].append(workplace.first_answer_seconds(each))
        samples = {each.name: self._sample(workplace, each, contest.clients, starts[each.name]) for each in order}
        return Pair(samples[base.name], samples[subject.name])

    def _sample(self, workplace: "_Workplace", subject: Subject, clients: int, starts: list[float]) -> Sample:
        plan = self._plan
        with workplace.serving(subject) as server:
            first = server.first_answer_seconds(subject.next_call())
            _load(server, subject, clients, plan.warm_seconds)
            one = _load(server, subject, 1, plan.one_client_seconds)
            many = _load(server, subject, clients, plan.many_clients_seconds)
            return Sample(statistics.median([*starts, first]), server.memory_bytes(), one, many)


class _Workplace:
    """A folder for one run: the store that the functions share, and a log file for each."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._env = {
            "STATE_DIR": str(folder),
            "STORE_URL": f"sqlite:///{folder}/nightshift.db",
            "MODELS_DIR": str(ROOT / "model"),
        }

    def serving(self, subject: Subject) -> AbstractContextManager[Server]:
        return serving(subject.source, {**self._env, **subject.env}, self._folder / f"{subject.source.target}.log")

    def seed(self) -> None:
        store = Subject("store_result", function_source("store_result"), seed_call)
        self.first_answer_seconds(store)

    def first_answer_seconds(self, subject: Subject) -> float:
        with self.serving(subject) as server:
            return server.first_answer_seconds(subject.next_call())


def _load(server: Server, subject: Subject, connections: int, seconds: float) -> Load:
    return run_load(server.address, subject.next_call, connections=connections, seconds=seconds)
