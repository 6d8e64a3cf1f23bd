"""What Google's clients raise, in words that say what to do."""

from collections.abc import Iterator
from contextlib import contextmanager

from google.api_core import exceptions
from google.api_core.retry import Retry, if_exception_type
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError

from shared.errors import ConflictError, InvalidRequestError, NotFoundError, ServiceError, UnavailableError

# Of one attempt, and of a call with all that are made of it.
CALL_SECONDS = 15.0
TOTAL_SECONDS = 45.0
_PASSING = (exceptions.ServiceUnavailable, exceptions.TooManyRequests, exceptions.DeadlineExceeded)

# Only for calls that may be made twice. `timeout` alone bounds it: the library's own retries go on for minutes.
BOUNDED_RETRY = Retry(
    predicate=if_exception_type(*_PASSING), initial=0.2, maximum=5.0, multiplier=2.0, timeout=TOTAL_SECONDS
)


@contextmanager
def readable_errors(what: str, *, api: str, role: str, project: str) -> Iterator[None]:
    """Translate what Google's clients raise in the block.

    Args:
        what: What is being done, to begin the message with.
        api: The service, such as cloudscheduler.googleapis.com.
        role: What allows it.
        project: Where.

    Raises:
        ServiceError: With what was expected, and the command that sees to it.
    """
    try:
        yield
    except exceptions.RetryError as error:
        raise _translated(error.cause or error, what, api, role, project) from error
    except (exceptions.GoogleAPIError, GoogleAuthError) as error:
        raise _translated(error, what, api, role, project) from error


def _translated(error: Exception, what: str, api: str, role: str, project: str) -> ServiceError:
    said = getattr(error, "message", None) or str(error)
    if isinstance(error, (*_PASSING, TransportError)):
        return UnavailableError(f"{what}: Google Cloud did not answer in time, try again: {said}")
    if isinstance(error, (DefaultCredentialsError, RefreshError, exceptions.Unauthenticated)):
        return InvalidRequestError(
            f"{what}: expected Google Cloud credentials, found none that are valid: "
            "run `gcloud auth application-default login`",
            reason="NO_CREDENTIALS",
        )
    if isinstance(error, exceptions.Forbidden):
        if _is_disabled(error, said):
            return InvalidRequestError(
                f"{what}: {api} is not enabled: run `gcloud services enable {api} --project {project}`",
                reason="API_NOT_ENABLED",
            )
        return InvalidRequestError(
            f"{what}: permission denied in project {project}: expected the role {role}: {said}",
            reason="PERMISSION_DENIED",
        )
    if isinstance(error, exceptions.NotFound):
        return NotFoundError(f"{what}: not found: {said}")
    if isinstance(error, exceptions.AlreadyExists):
        return ConflictError(f"{what}: somebody else has made it meanwhile, try again: {said}")
    if isinstance(error, exceptions.ClientError):
        return InvalidRequestError(f"{what}: Google Cloud refused it: {said}", reason="REFUSED")
    return ServiceError(f"{what}: Google Cloud failed: {type(error).__name__}: {said}")


def _is_disabled(error: exceptions.Forbidden, said: str) -> bool:
    return error.reason == "SERVICE_DISABLED" or "has not been used in project" in said or "is disabled" in said
