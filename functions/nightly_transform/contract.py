"""What a job's code is: a transform over the interval's results, or a task with its hands free."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

from shared.jobs import Job
from shared.ports import Files, ResultStore, Store
from shared.records import SummaryDocument
from shared.runs import Interval, Row, Run


@runtime_checkable
class Transform(Protocol):
    """Work over the results of an interval, pure: the same rows, byte for byte, however it is cut into slices."""

    def fold(self, documents: Iterator[SummaryDocument]) -> Any:
        """Reduce the documents of one slice to a partial: a JSON value whose sums are exact, such as integers."""
        ...

    def merge(self, interval: Interval, partials: Sequence[Any]) -> list[Row]:
        """Combine partials, in any order, into the rows to keep; rounds here and nowhere else."""
        ...


class Predict(Protocol):
    """Asks the predict function."""

    def __call__(self, instances: Sequence[Any], *, model: str, version: str | None = None) -> list[Any]:
        """Return one prediction an instance, in order.

        Raises:
            InvalidRequestError: It refused them; the message is its own.
            NotFoundError: reason MODEL_NOT_FOUND; it has no such model or version.
            UnavailableError: It did not answer; the same call may succeed, after the Retry-After in its headers.
            ServiceError: It failed, or refuses whoever asks.
        """
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a task works with.

    Attributes:
        run: Its interval, params and attempt.
        job: As jobs.yaml declares it.
        jobs: All of them, by id.
        store: Runs and summaries, and results without the payloads that lie beside it.
        results: Results with their payloads: `PayloadStore(store, open_objects(settings.objects_url))`.
        files: Files under OBJECTS_URL: `open_files(settings.objects_url)` of shared.stores.objects.
        predict: Asks the predict function: `PredictClient(settings.urls["predict"], in_cloud=settings.in_cloud)`.
        wake: Has the queued runs of a job begin, as many as may, and returns how many.
        now: The clock.
        keep_alive: To be called every few seconds of work: renews the lease, and raises `ConflictError` once the run
            is another's.
        seconds_left: How long the delivery that carries the run may still take; what is not done by then raises
            `Unfinished`.
    """

    run: Run
    job: Job
    jobs: Mapping[str, Job]
    store: Store
    results: ResultStore
    files: Files
    predict: Predict
    wake: Callable[[Job], int]
    now: Callable[[], datetime]
    keep_alive: Callable[[], None]
    seconds_left: Callable[[], float]


class Task(Protocol):
    """Any other work. It runs at least once: what it writes must be the same when it is written again."""

    def __call__(self, context: Context) -> list[Row]:
        """Do the work and return the rows to keep.

        Raises:
            Unfinished: There is more to do than the time allows; what was done is kept and need not be done again.
            ServiceError: It cannot be done; one of a 4xx status will not be tried again.
        """
        ...


class Unfinished(Exception):  # noqa: N818  # nothing went wrong
    """A task that goes on in another attempt, which is not counted as one more."""
