"""What every answer of a model has, whatever the dialect: its version named, and what a log line should say."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from model.registry import ModelVersion
from shared.errors import ServiceError
from shared.log import note

from .tensors import Tensor


def version_headers(found: ModelVersion) -> dict[str, str]:
    """Return the headers by which every answer names the version that gave it."""
    return headers_of(found.name, str(found.version))


def headers_of(model: str, version: str) -> dict[str, str]:
    """Return the same headers where only the names are known, as a log line has them."""
    return {"X-Nightshift-Model": model, "X-Nightshift-Version": version}


@contextmanager
def answering(found: ModelVersion) -> Iterator[dict[str, str]]:
    """Lend the version's headers while it answers; an error that it answers with carries them too.

    `X-Nightshift-Start` is cold for a version's first answer in this process, which waited for it to be loaded, or for
    the instance to be started.
    """
    headers = version_headers(found) | {"X-Nightshift-Start": "warm" if found.has_answered else "cold"}
    note(model=found.name, version=str(found.version))
    try:
        yield headers
        found.has_answered = True
    except ServiceError as error:
        error.headers.update(headers)
        raise


def run(found: ModelVersion, signature_name: str, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run a version, loaded if it was not, and note how many rows it was given.

    Raises:
        ServiceError: See `ModelVersion.load` and `Runtime.run`.
    """
    first = next(iter(inputs.values()), None)
    note(rows=len(first) if first is not None and first.ndim else 1)
    return found.load().run(signature_name, inputs)
