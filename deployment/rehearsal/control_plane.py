"""Who answers what: every request is checked as Google checks it, then handed to its API."""

import json
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from .account_access import check_account
from .certificates import Authority
from .proxy import Proxy
from .wire import Answer, Api, ApiError, Request
from .world import World

TOKEN = "rehearsal-deployer"


class ControlPlane:
    """The rehearsed cloud as one function from request to answer.

    Every call is written to `calls.jsonl`, one object a line: method, host, path, status. Failures are planted in
    `failures.json`: a list of `{"method", "host", "path", "status", "message", "times", "after"}`, the first three
    regular expressions of the whole; `after` calls that match are let through first.
    """

    def __init__(self, world: World, apis: Sequence[Api]) -> None:
        self._world = world
        self._apis = apis
        self._calls = world.folder / "calls.jsonl"
        planted = world.folder / "failures.json"
        self._failures: list[dict[str, Any]] = json.loads(planted.read_text("utf-8")) if planted.exists() else []

    def answer(self, request: Request) -> Answer:
        """Answer one request; what no API knows is 501."""
        try:
            answer = self._answer(request)
        except ApiError as error:
            answer = error.answer()
        except Exception:  # a fault of the rehearsal itself: shown whole, and told apart from every refusal
            answer = Answer(
                {"error": {"code": 500, "status": "REHEARSAL_FAULT", "message": traceback.format_exc()}}, 500
            )
        self._note(request, answer)
        return answer

    def _answer(self, request: Request) -> Answer:
        self._fail_as_planted(request)
        api = next((api for api in self._apis if api.hosts.fullmatch(request.host)), None)
        if api is None:
            raise ApiError(501, "UNIMPLEMENTED", f"no such host in the rehearsal: {request.host}")
        if not api.anonymous and request.headers.get("authorization") != f"Bearer {TOKEN}":
            with self._world.lock:
                check_account(self._world, request)
        for route in api.routes:
            found = route.pattern.fullmatch(request.path) if route.method == request.method else None
            if found:
                return self._call(api, route.handler, request, found.groupdict())
        raise ApiError(501, "UNIMPLEMENTED", f"not rehearsed: {request.method} {request.host}{request.path}")

    def _call(self, api: Api, handler: Any, request: Request, parts: dict[str, str]) -> Answer:
        given = replace(request, parts=parts)
        if api.anonymous:
            return _as_answer(handler(given))
        with self._world.lock:
            project = parts.get("project")
            if project and api.service:
                self._world.require_enabled(self._world.project_id(project), api.service)
            answer = _as_answer(handler(given))
            if request.method != "GET":
                self._world.save()
            # Written out before others may change what it shows.
            return answer if isinstance(answer.body, bytes) else replace(answer, body=json.dumps(answer.body).encode())

    def _fail_as_planted(self, request: Request) -> None:
        for failure in self._failures:
            wanted = ((failure.get(name, ".*"), getattr(request, name)) for name in ("method", "host", "path"))
            if not all(re.fullmatch(pattern, text) for pattern, text in wanted) or failure.get("times", 1) < 1:
                continue
            if failure.get("after", 0) > 0:
                failure["after"] -= 1
                continue
            failure["times"] = failure.get("times", 1) - 1
            status = {403: "PERMISSION_DENIED", 429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE"}.get(failure["status"])
            raise ApiError(failure["status"], status or "INTERNAL", failure.get("message", "planted"))

    def _note(self, request: Request, answer: Answer) -> None:
        line: dict[str, Any] = {"method": request.method, "host": request.host, "path": request.path}
        line["status"] = answer.status
        if answer.status >= 400 and not isinstance(answer.body, bytes):
            line["message"] = answer.body.get("error", {}).get("message") if isinstance(answer.body, dict) else None
        with self._world.lock, self._calls.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


@contextmanager
def serving(world: World, apis: Sequence[Api], certificates: Path) -> Iterator[tuple[Proxy, Authority]]:
    """Serve a control plane on a free port of loopback while the block runs."""
    authority = Authority(certificates)
    proxy = Proxy(authority, ControlPlane(world, apis).answer)
    try:
        yield proxy, authority
    finally:
        proxy.close()


def _as_answer(answered: Answer | dict[str, Any]) -> Answer:
    return answered if isinstance(answered, Answer) else Answer(answered)
