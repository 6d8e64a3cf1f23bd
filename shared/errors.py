"""Every failure Nightshift names, with the HTTP status it becomes.

One root, one subclass per cause. `reason` is stable for ever: clients match on it. A message says what was
expected, what came and where, and never quotes a payload, a path of this machine or a secret.
"""

from collections.abc import Mapping


class ServiceError(Exception):
    """The root: an HTTP status, Google's canonical code for it, and a stable UPPER_SNAKE reason.

    Args:
        message: One sentence for the caller.
        reason: Overrides the class's reason where one cause has several, e.g. which field was bad.
        metadata: Facts a program may read, such as the limit that was exceeded.
        headers: Response headers the status calls for, such as Allow or Retry-After.
    """

    http_status = 500
    status = "INTERNAL"
    reason = "INTERNAL"

    def __init__(
        self,
        message: str,
        *,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or type(self).reason
        self.metadata = dict(metadata or {})
        self.headers = dict(headers or {})


class InvalidRequestError(ServiceError):
    """400: the caller's body, path or query cannot be taken as it is; the same call will fail again."""

    http_status, status, reason = 400, "INVALID_ARGUMENT", "INVALID_REQUEST"


class ForbiddenError(ServiceError):
    """403: asked rightly, and not allowed here, whoever asks."""

    http_status, status, reason = 403, "PERMISSION_DENIED", "FORBIDDEN"


class NotFoundError(ServiceError):
    """404: what the path names does not exist."""

    http_status, status, reason = 404, "NOT_FOUND", "NOT_FOUND"


class MethodNotAllowedError(ServiceError):
    """405: the path exists, the method does not; `Allow` lists those that do."""

    http_status, status, reason = 405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED"


class SlowRequestError(ServiceError):
    """408: the body did not arrive within the deadline; the connection is closed."""

    http_status, status, reason = 408, "DEADLINE_EXCEEDED", "BODY_TOO_SLOW"


class ConflictError(ServiceError):
    """409: the state of the named thing forbids this now, such as a run that is under way."""

    http_status, status, reason = 409, "ABORTED", "CONFLICT"


class PayloadTooLargeError(ServiceError):
    """413: the body is over the function's limit."""

    http_status, status, reason = 413, "INVALID_ARGUMENT", "BODY_TOO_LARGE"


class UriTooLongError(ServiceError):
    """414: path and query together are over the limit."""

    http_status, status, reason = 414, "INVALID_ARGUMENT", "URI_TOO_LONG"


class UnsupportedMediaTypeError(ServiceError):
    """415: the content type or encoding is not one this function takes."""

    http_status, status, reason = 415, "INVALID_ARGUMENT", "UNSUPPORTED_MEDIA_TYPE"


class IdempotencyError(ServiceError):
    """422: this idempotency key was used before with another body; nothing was changed."""

    http_status, status, reason = 422, "FAILED_PRECONDITION", "IDEMPOTENCY_KEY_REUSED"


class UnimplementedError(ServiceError):
    """501: asked for rightly, and not to be had: an element type that the dialect cannot carry, for one."""

    http_status, status, reason = 501, "UNIMPLEMENTED", "UNIMPLEMENTED"


class BadGatewayError(ServiceError):
    """502: another function answered something that is not its own, or broke off."""

    http_status, status, reason = 502, "INTERNAL", "UPSTREAM_NONSENSE"


class UnavailableError(ServiceError):
    """503: try again, the same call may succeed. Carries Retry-After, one second unless told."""

    http_status, status, reason = 503, "UNAVAILABLE", "UNAVAILABLE"

    def __init__(self, message: str, *, reason: str | None = None, retry_after_seconds: int = 1) -> None:
        super().__init__(message, reason=reason, headers={"Retry-After": str(retry_after_seconds)})


class GatewayTimeoutError(ServiceError):
    """504: another function was asked and did not answer; what it was asked may go on."""

    http_status, status, reason = 504, "DEADLINE_EXCEEDED", "UPSTREAM_TIMEOUT"


class ConfigurationError(ServiceError):
    """The environment or a shipped file is wrong: raised before serving, and lists every problem.

    Do not raise it for something a caller sent.
    """

    reason = "MISCONFIGURED"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("Nightshift cannot start:\n" + "\n".join(f"  - {p}" for p in problems))
        self.problems = problems


class ModelError(ServiceError):
    """500: a model on disk is unreadable, tampered with or failed while it ran."""

    reason = "MODEL_BROKEN"
