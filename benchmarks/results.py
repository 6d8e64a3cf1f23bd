"""What a run measured: a pair or a sample for each round, by the names that `--only` takes."""

from dataclasses import dataclass, field

from .calls import Load
from .in_process import Answered, ProcessSample
from .races import Race
from .regular_jobs import JobResults
from .streaming import Streamed


@dataclass(frozen=True, slots=True)
class Sample:
    """One function in one round."""

    first_answer_seconds: float
    memory_bytes: int
    one_client: Load
    many_clients: Load


@dataclass(frozen=True, slots=True)
class Pair:
    """A function and what it is compared with, in the same round."""

    base: Sample
    subject: Sample


@dataclass(frozen=True, slots=True)
class TwoWays:
    """Two ways to get the same answer, in each round.

    Attributes:
        base, subject: What they are.
        clients: How many ask at once, where not one does.
    """

    base: str
    subject: str
    clients: int
    pairs: list[Pair] = field(default_factory=list)


@dataclass(slots=True)
class Results:
    """Everything.

    Attributes:
        beside_hello: Functions, each with hello-world.
        two_ways: See there.
        in_process: Models called without HTTP.
        batched_models: What `model add` found out of the models that show when predict batches.
        races: See there.
        streams: All results as one answer.
        jobs: Regular jobs.
    """

    beside_hello: dict[str, list[Pair]] = field(default_factory=dict)
    two_ways: dict[str, TwoWays] = field(default_factory=dict)
    in_process: dict[str, list[ProcessSample]] = field(default_factory=dict)
    batched_models: dict[str, Answered] = field(default_factory=dict)
    races: list[Race] = field(default_factory=list)
    streams: list[Streamed] = field(default_factory=list)
    jobs: JobResults = field(default_factory=JobResults)
