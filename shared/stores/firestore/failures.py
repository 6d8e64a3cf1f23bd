"""Firestore's failures in our words, and which of them may pass by themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core.exceptions import (
    Aborted,
    Cancelled,
    DeadlineExceeded,
    FailedPrecondition,
    Forbidden,
    GoogleAPIError,
    InternalServerError,
    NotFound,
    ResourceExhausted,
    RetryError,
    ServiceUnavailable,
    Unauthenticated,
    Unknown,
)
from google.auth.exceptions import GoogleAuthError, TransportError

from shared.errors import ServiceError, UnavailableError
from shared.log import log_event

# Contention, and connections that broke: the same call may succeed at once. A time-out leaves no time for another.
PASSING = (Aborted, InternalServerError, ResourceExhausted, ServiceUnavailable, Unknown)
_BUSY = (Aborted, ResourceExhausted)
_UNANSWERED = (*PASSING, Cancelled, DeadlineExceeded, TransportError)


@contextmanager
def translated() -> Iterator[None]:
    """Raise the library's errors within the block as ours; its own words go to the log alone.

    Raises:
        UnavailableError: Firestore did not answer in time, or has too much to do.
        ServiceError: reason MISCONFIGURED: it will not answer before a person has changed something.
    """
    try:
        yield
    except (GoogleAPIError, GoogleAuthError) as error:
        cause = error.cause if isinstance(error, RetryError) and error.cause else error
        failure = _failure(cause)
        message = f"Firestore: {type(cause).__name__}: {cause}"[:1000]
        log_event("WARNING" if isinstance(failure, UnavailableError) else "ERROR", message)
        raise failure from error


def _failure(error: BaseException) -> ServiceError:
    if isinstance(error, _BUSY):
        return UnavailableError("the database has too much to do", reason="STORE_BUSY")
    if isinstance(error, _UNANSWERED) or getattr(error, "retryable", False):
        return UnavailableError("the database did not answer in time", reason="STORE_UNAVAILABLE")
    if isinstance(error, Forbidden | Unauthenticated | GoogleAuthError):
        return _misconfigured("Firestore allows no access to the database with these credentials")
    if isinstance(error, NotFound):
        return _misconfigured("Firestore has no such project or database")
    if isinstance(error, FailedPrecondition):
        return _misconfigured("Firestore lacks an index of firestore.indexes.json, or is still building it")
    return ServiceError("the database failed", reason="STORE_FAILED")


def _misconfigured(message: str) -> ServiceError:
    return ServiceError(f"STORE_URL: {message}", reason="MISCONFIGURED")
