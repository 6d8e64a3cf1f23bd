"""Requests, responses and routes as plain records, so that handlers know no web framework."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.errors import MethodNotAllowedError, NotFoundError
from shared.strict_json import canonical


@dataclass(frozen=True, slots=True)
class Request:
    """What a handler may know of a request.

    Attributes:
        values: The named groups of the route's pattern.
        query: Query parameters; every value of each, in order.
        headers: Header names in lower case.
        body: The whole body, decompressed, within the function's limit.
    """

    method: str
    path: str
    values: Mapping[str, str]
    query: Mapping[str, Sequence[str]]
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """What a handler answers.

    Attributes:
        body: The whole, or a stream: it is sent as it is made, and if it raises, the connection breaks.
    """

    body: bytes | Iterator[bytes]
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path.

    Attributes:
        pattern: Regular expression for the whole decoded path; named groups become `Request.values`.
        content_types: What a body may be; None takes anything.
    """

    method: str
    pattern: str
    handler: Handler
    content_types: tuple[str, ...] | None = ("application/json",)


@dataclass(frozen=True, slots=True)
class Match:
    """A route with the values found in the path."""

    route: Route
    values: Mapping[str, str]


class Router:
    """Finds the route of a request; the first pattern that fits the path wins."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(re.compile(route.pattern), route) for route in routes]

    def match(self, method: str, path: str) -> Match:
        """Return the match.

        Raises:
            NotFoundError: No route has this path; reason PATH_NOT_FOUND.
            MethodNotAllowedError: The path has other methods; its Allow header lists them.
        """
        allowed = []
        for pattern, route in self._routes:
            found = pattern.fullmatch(path)
            if found and route.method == method:
                return Match(route, found.groupdict())
            if found:
                allowed.append(route.method)
        if not allowed:
            raise NotFoundError("there is nothing at this path", reason="PATH_NOT_FOUND")
        methods = ", ".join(sorted(set(allowed)))
        raise MethodNotAllowedError(f"this path takes {methods}", headers={"Allow": methods})


def json_response(value: Any, status: int = 200, **kwargs: Any) -> Response:
    """Answer a JSON value whose floats are finite, keys sorted."""
    return Response(canonical(value) + b"\n", status, **kwargs)
