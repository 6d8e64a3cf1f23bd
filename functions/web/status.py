"""How the other functions are, asked all at once."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from shared.config import ROOT, Settings
from shared.errors import ServiceError
from shared.routing import Request, Response, json_response

from .headers import secured
from .upstream import Upstream

# A function that has scaled to zero is started by the question.
_PATIENCE_SECONDS = 15.0


def status_of(settings: Settings, upstreams: Mapping[str, Upstream]) -> Callable[[Request], Response]:
    """Return what answers `GET /api/status`: each function's health, what is deployed, and where its log is."""

    def respond(_: Request) -> Response:
        with ThreadPoolExecutor(len(upstreams)) as pool:
            found = list(pool.map(_health, upstreams.values()))
        own = {"name": "web", "ok": True, "revision": settings.code_version, "environment": settings.environment}
        functions: Sequence[dict[str, Any]] = [own, *found]
        for function in functions:
            function["log"] = _log(settings, function["name"])
        return secured(json_response({"environment": settings.environment, "functions": functions}))

    return respond


def _health(upstream: Upstream) -> dict[str, Any]:
    started = time.monotonic()
    told: dict[str, Any] = {"name": upstream.name, "ok": False, "url": upstream.url}
    try:
        answer = upstream.ask("GET", "/health", {}, timeout_seconds=_PATIENCE_SECONDS)
        body = json.loads(answer.body if isinstance(answer.body, bytes) else b"".join(answer.body))
        told |= {"ok": answer.status == 200 and body["status"] == "ok", "problem": f"it answered {answer.status}"}
        told |= {name: str(body[name]) for name in ("environment", "revision") if name in body}
    except ServiceError as error:
        told["problem"] = error.message
    except (ValueError, TypeError, KeyError):
        told |= {"ok": False, "problem": "it answered something else than its health"}
    told["milliseconds"] = round(1000 * (time.monotonic() - started), 1)
    if told["ok"]:
        del told["problem"]
    return told


def _log(settings: Settings, function: str) -> str:
    """Return where a function's log is read: in Google's console, or in a file."""
    if not settings.in_cloud:
        path = settings.state_dir / "logs" / f"{function}.jsonl"
        return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
    service = function.replace("_", "-")
    query = f'resource.type="cloud_run_revision"\nresource.labels.service_name="{service}"'
    project = settings.project_id or ""
    return f"https://console.cloud.google.com/logs/query;query={quote(query, safe='')}?project={quote(project)}"
