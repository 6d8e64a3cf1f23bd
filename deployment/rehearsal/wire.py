"""Requests and answers of the rehearsed APIs, and the routes that lead from one to the other."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Attributes:
        method: In capitals.
        host: As it was asked for, such as `pubsub.googleapis.com`.
        path: Decoded, without the query.
        query: Decoded; the last of each name.
        headers: By name in lower case.
        body: As it came.
        parts: What the route's pattern found in the path.
        target: The path and the query as they came.
    """

    method: str
    host: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    parts: Mapping[str, str] = field(default_factory=dict)
    target: str = "/"

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty where there is none."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise ApiError(400, "INVALID_ARGUMENT", f"Invalid JSON payload received: {error}") from error
        if not isinstance(value, dict):
            raise ApiError(400, "INVALID_ARGUMENT", "Invalid JSON payload received: expected an object")
        return value


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: a JSON value, or bytes as they are."""

    body: Any = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


class ApiError(Exception):
    """A refusal as Google words it: an HTTP code, a status of google.rpc.Code, a message for people."""

    def __init__(self, code: int, status: str, message: str, details: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.code, self.status, self.message, self.details = code, status, message, list(details)

    def answer(self) -> Answer:
        """Return it as it goes over the wire."""
        error = {"code": self.code, "message": self.message, "status": self.status, "details": self.details}
        return Answer({"error": error}, self.code)


def not_found(what: str) -> ApiError:
    """Return the refusal of what is not there."""
    return ApiError(404, "NOT_FOUND", f"Resource not found (resource={what}).")


def already_exists(what: str) -> ApiError:
    """Return the refusal to make what is there."""
    return ApiError(409, "ALREADY_EXISTS", f"Resource already exists in the project (resource={what}).")


def invalid(message: str) -> ApiError:
    """Return the refusal of an argument."""
    return ApiError(400, "INVALID_ARGUMENT", message)


def precondition(message: str) -> ApiError:
    """Return the refusal of what something else has to come before."""
    return ApiError(400, "FAILED_PRECONDITION", message)


def service_disabled(service: str, project: str) -> ApiError:
    """Return the refusal of an API that the project has not enabled."""
    detail = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "domain": "googleapis.com",
        "metadata": {"service": service, "consumer": f"projects/{project}"},
    }
    text = f"{service} has not been used in project {project} before or it is disabled. Enable it, then retry."
    return ApiError(403, "PERMISSION_DENIED", text, [detail])


Handler = Callable[[Request], "Answer | dict[str, Any]"]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of an API.

    Attributes:
        method: Of HTTP.
        pattern: Of the whole path, as a regular expression with named groups. A group named `project` says whose API
            has to be enabled.
        handler: What answers it.
    """

    method: str
    pattern: re.Pattern[str]
    handler: Handler


@dataclass(frozen=True, slots=True)
class Api:
    """One of Google's services.

    Attributes:
        service: What has to be enabled in a project first, such as `run.googleapis.com`; None: nothing.
        hosts: Of the requests, as a regular expression.
        routes: What it answers; anything else is 501, and fails the rehearsal.
        anonymous: It is asked without credentials.
    """

    service: str | None
    hosts: re.Pattern[str]
    routes: Sequence[Route]
    anonymous: bool = False


def route(method: str, path: str, handler: Handler) -> Route:
    """Return a route; `{name}` in the path is one segment, `{name=**}` any number of them.

    `{project}/topics/{topic}:publish` and the like work: a segment ends at a slash or at a colon.
    """
    pattern = re.sub(r"\\\{(\w+)=\\\*\\\*\\\}", r"(?P<\1>.+)", re.escape(path))
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", pattern)
    return Route(method, re.compile(pattern), handler)


def api(service: str, *routes: Route, hosts: str | None = None, anonymous: bool = False) -> Api:
    """Return an API that answers at its own host name, or at those of a regular expression."""
    return Api(service, re.compile(hosts or re.escape(service)), routes, anonymous)
