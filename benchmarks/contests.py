"""What can be measured, by the names that `--only` takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .in_process import Answered, Model
from .models import Models
from .predicting import (
    cnn_subject,
    dense_subjects,
    digits_subject,
    image_subjects,
    plain_cnn_subject,
    plain_digits_subject,
)
from .subjects import Subject, hello_world, list_results, nightly_transform, store_result

CLIENTS = 16
# Each keeps a request of up to 1.6 MB under way: two suffice to keep the function busy.
IMAGE_CLIENTS = 2
IMAGES, BATCHING = "images", "batching"


@dataclass(frozen=True, slots=True)
class Contest:
    """Two servers that are measured one after the other in each round.

    Attributes:
        name: For `--only`.
        base: What the other is compared with.
        clients: How many ask at once, where not one does.
        counts_starts: Whether their starts are compared, so that one a round is too few.
    """

    name: str
    base: Subject
    subject: Subject
    clients: int = CLIENTS
    counts_starts: bool = True


_BESIDE_HELLO: Mapping[str, Callable[[str, Models], Subject]] = {
    "predict": lambda name, models: digits_subject(name, models.digits),
    "plain-tensorflow": lambda name, models: plain_digits_subject(name, models.digits),
    "predict-tensorflow": lambda name, models: digits_subject(name, models.digits_in_tensorflow, tensorflow=True),
    "predict-cnn": cnn_subject,
    "plain-cnn": plain_cnn_subject,
    "store_result": lambda name, models: store_result(),
    "list_results": lambda name, models: list_results(),
    "nightly_transform": lambda name, models: nightly_transform(),
}
_TWO_WAYS: Mapping[str, Callable[[Models], Contest]] = {
    IMAGES: lambda models: Contest(IMAGES, *image_subjects(models), clients=IMAGE_CLIENTS, counts_starts=False),
    BATCHING: lambda models: Contest(BATCHING, *dense_subjects(models), counts_starts=False),
}
# With what it must answer: TensorFlow what LiteRT does.
_IN_PROCESS: Mapping[str, Callable[[Models], tuple[Model, Answered]]] = {
    "in-process": lambda models: (models.digits, models.answer(models.digits)),
    "in-process-tensorflow": lambda models: (models.digits_in_tensorflow, models.answer(models.digits)),
    "in-process-cnn": lambda models: (models.added("cnn"), models.answer(models.added("cnn"))),
}
NAMES = (
    *("predict", "plain-tensorflow", "predict-tensorflow", "in-process", "in-process-tensorflow"),
    *("predict-cnn", "plain-cnn", "in-process-cnn", IMAGES, BATCHING),
    *("store_result", "list_results", "nightly_transform"),
)


def beside_hello(names: Sequence[str], models: Models) -> list[Contest]:
    """Return the functions among the names, each against hello-world."""
    return [Contest(name, hello_world(), _BESIDE_HELLO[name](name, models)) for name in names if name in _BESIDE_HELLO]


def two_ways(names: Sequence[str], models: Models) -> list[Contest]:
    """Return, of the names, those that compare two ways to get the same answer."""
    return [_TWO_WAYS[name](models) for name in names if name in _TWO_WAYS]


def in_process(names: Sequence[str], models: Models) -> dict[str, tuple[Model, Answered]]:
    """Return, of the names, the models that are called without HTTP, with what each must answer."""
    return {name: _IN_PROCESS[name](models) for name in names if name in _IN_PROCESS}
