"""What identifies a request, and its one log line."""

import os
import re
import traceback
from typing import Any

from shared.errors import ServiceError
from shared.log import Severity, log_event

Environ = dict[str, Any]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
# https://www.w3.org/TR/trace-context/#traceparent-header; all zeros, and version ff, are invalid there.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
# https://cloud.google.com/trace/docs/trace-context#legacy-http-header
_CLOUD_TRACE = re.compile(r"([0-9a-f]{32})(?:/[0-9]{1,20})?(?:;o=[01])?")


def request_path(environ: Environ) -> str:
    """Return the decoded path; WSGI carries it as Latin-1 characters, and what is not UTF-8 matches no route."""
    path: str = environ["PATH_INFO"]
    return path.encode("latin-1").decode("utf-8", "replace") or "/"


def request_id(environ: Environ) -> str:
    """Return the caller's X-Request-Id if it is a plain word of at most 64 characters, else a new one."""
    given: str = environ.get("HTTP_X_REQUEST_ID", "")
    return given if _REQUEST_ID.fullmatch(given) else os.urandom(16).hex()


def failure_fields(error: Exception) -> dict[str, str]:
    """Return what a log line says of a failure; what the caller is not told of one of ours is in it."""
    if not isinstance(error, ServiceError):
        return {"outcome": "INTERNAL", "stack_trace": "".join(traceback.format_exception(error))}
    cause = {"detail": str(error.__cause__ or error.message)} if error.http_status >= 500 else {}
    return {"outcome": error.reason, **cause}


class RequestLog:
    """Writes one line a request.

    Args:
        function: The function's name.
        project_id: Google Cloud project, to name traces.
        environment: dev, staging, prod or local.
    """

    def __init__(self, function: str, project_id: str | None, environment: str) -> None:
        self._function = function
        self._environment = environment
        self._trace_prefix = f"projects/{project_id}/traces/" if project_id else ""

    def write(
        self, environ: Environ, request_id: str, status: int, seconds: float, fields: dict[str, Any], ended_as: int
    ) -> None:
        """Write the line.

        Args:
            status: What was sent.
            fields: May bring an outcome and a severity of its own, a stack_trace, and what else is worth finding.
            ended_as: What it came to, the same status unless the answer broke off afterwards; gives the usual
                severity.
        """
        outcome = fields.setdefault("outcome", "OK" if status < 400 else str(status))
        usual: Severity = "INFO" if ended_as < 400 else "WARNING" if ended_as < 500 else "ERROR"
        severity: Severity = fields.pop("severity", usual)
        method, path = environ["REQUEST_METHOD"][:16], request_path(environ)[:256]
        line = {
            **fields,
            "function": self._function,
            "environment": self._environment,
            "request_id": request_id,
            "httpRequest": {
                "requestMethod": method,
                "requestUrl": path,
                "status": status,
                "latency": f"{seconds:.6f}s",
                "requestSize": environ.get("CONTENT_LENGTH", "")[:18] or "0",
            },
        }
        found = _TRACEPARENT.fullmatch(environ.get("HTTP_TRACEPARENT", ""))
        found = found or _CLOUD_TRACE.fullmatch(environ.get("HTTP_X_CLOUD_TRACE_CONTEXT", ""))
        if found:
            line["logging.googleapis.com/trace"] = self._trace_prefix + found[1]
        log_event(severity, f"{method} {path} {status} {1000 * seconds:.1f} ms {outcome}", **line)
