"""Which route a request has, and what is said when it has none."""

import json

import pytest

from shared.errors import MethodNotAllowedError, NotFoundError
from shared.routing import Response, Route, Router, json_response

FIRST, SECOND, THIRD = (
    Route(method, pattern, lambda _: Response(b""))
    for method, pattern in (("POST", "/runs"), ("GET", "/runs/(?P<job>[^/]+)"), ("DELETE", "/runs/(?P<name>[a-z]+)"))
)
ROUTER = Router([FIRST, SECOND, THIRD, Route("GET", "/runs", FIRST.handler), Route("GET", "/runs/x", FIRST.handler)])


def test_a_request_has_the_first_route_that_fits():
    """With the values its pattern names."""
    match = ROUTER.match("GET", "/runs/x")

    assert (match.route, match.values) == (SECOND, {"job": "x"})


@pytest.mark.parametrize("path", ["", "/", "/run", "/runs/", "/runs/a/b", "//runs", "/runs\n", "x/runs", "/RUNS"])
def test_a_path_fits_whole_or_not_at_all(path):
    """404, whatever the method."""
    for method in ("GET", "POST", "FOO"):
        with pytest.raises(NotFoundError) as caught:
            ROUTER.match(method, path)
        assert caught.value.reason == "PATH_NOT_FOUND"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/runs", "GET, POST"),
        ("get", "/runs", "GET, POST"),
        ("HEAD", "/runs", "GET, POST"),
        ("POST", "/runs/x", "DELETE, GET"),
        ("POST", "/runs/1", "GET"),
    ],
)
def test_a_known_path_lists_its_methods(method, path, allowed):
    """405, sorted, each method once."""
    with pytest.raises(MethodNotAllowedError) as caught:
        ROUTER.match(method, path)

    assert caught.value.headers == {"Allow": allowed}


def test_a_json_response_ends_with_a_line_break():
    """Friendly to curl."""
    response = json_response({"b": 1, "a": [None]}, 201, headers={"X": "y"})

    assert response.body == b'{"a":[null],"b":1}\n'
    assert (response.status, response.content_type, response.headers) == (201, "application/json", {"X": "y"})
    assert json.loads(response.body) == {"a": [None], "b": 1}
