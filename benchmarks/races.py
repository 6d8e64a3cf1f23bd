"""What is raced: servers that get the same requests, one after the other in each round, and how they compare."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .calls import Call, Load
from .server import Source

# An entrant and a task, by their names.
Lap = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Task:
    """One kind of request.

    Attributes:
        name: In the table.
        clients: How many ask at once.
        unit: What is counted: stores, pages.
        units_a_call: How many of them one answer is worth.
        next_call: Makes the next request.
    """

    name: str
    clients: int
    unit: str
    next_call: Callable[[], Call]
    units_a_call: int = 1


@dataclass(frozen=True, slots=True)
class Entrant:
    """One server.

    Attributes:
        name: In the table.
        env: Its environment beyond what all entrants get.
    """

    name: str
    source: Source
    env: Mapping[str, str]
    tasks: Sequence[Task]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Who is compared with whom, in the tasks that both have.

    Attributes:
        label: The base, in as few words as tell it from the subject.
        max_times: How many times as long as its base the subject is to take at most; None: no aim.
    """

    subject: str
    base: str
    label: str
    max_times: float | None


@dataclass(frozen=True, slots=True)
class Race:
    """Some entrants, and what came of them.

    Attributes:
        name: For `--only`.
        rounds: Each round's loads.
        remarks: What else there is to say, a line each.
    """

    name: str
    entrants: Sequence[Entrant]
    comparisons: Sequence[Comparison]
    rounds: list[Mapping[Lap, Load]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def compared(self, comparison: Comparison) -> list[Task]:
        """Return the tasks that a comparison is about."""
        tasks = {entrant.name: entrant.tasks for entrant in self.entrants}
        held = {task.name for task in tasks[comparison.base]}
        return [task for task in tasks[comparison.subject] if task.name in held]

    def times(self, comparison: Comparison, task: Task) -> list[float]:
        """Return, of each round, how many times as long as its base the subject took.

        One client's median latency; of several clients, the rate.
        """
        pairs = [(each[comparison.subject, task.name], each[comparison.base, task.name]) for each in self.rounds]
        if task.clients == 1:
            return [subject.median_seconds / base.median_seconds for subject, base in pairs]
        return [base.requests_per_second / subject.requests_per_second for subject, base in pairs]

    def loads(self, entrant: str, task: Task) -> list[Load]:
        """Return each round's load."""
        return [each[entrant, task.name] for each in self.rounds]


def numbered(prefix: str, make: Callable[[str], Call]) -> Callable[[], Call]:
    """Return what makes each call with a key of its own."""
    numbers = itertools.count()
    return lambda: make(f"{prefix}-{next(numbers)}")
