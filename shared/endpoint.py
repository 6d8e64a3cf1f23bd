"""The HTTP edge of every function: routes in, records out, errors in their dialect. The only door to Flask."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import flask

from shared.config import Settings, read_settings
from shared.errors import ServiceError
from shared.guard import Guard, Limits, request_from
from shared.log import start_notes
from shared.request_log import RequestLog, failure_fields
from shared.routing import Match, Request, Response, Route, Router, json_response

# What functions-framework hands to a function, and takes from it.
HttpRequest: TypeAlias = flask.Request
HttpResponse: TypeAlias = flask.Response
ErrorRenderer = Callable[[ServiceError, str], Response]


def google_error(error: ServiceError, path: str) -> Response:
    """Render an error as AIP-193 has it (https://google.aip.dev/193), with exactly one ErrorInfo."""
    detail = {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": error.reason,
        "domain": "nightshift",
        "metadata": error.metadata,
    }
    body = {
        "code": error.http_status,
        "status": error.status,
        "message": error.message,
        "details": [detail],
    }
    return json_response({"error": body}, error.http_status, headers=error.headers)


class Endpoint:
    """One function as functions-framework calls it.

    Args:
        name: The function.
        routes: What it answers; `GET /health` is added.
        limits: How much it takes; MAX_BODY_BYTES overrides the body limit.
        render_error: Its error dialect, by path.
        prepare: Called with the settings when the function is hosted, before it serves: raises
            ConfigurationError for what it cannot work without.
    """

    def __init__(
        self,
        name: str,
        routes: Sequence[Route],
        limits: Limits,
        render_error: ErrorRenderer = google_error,
        prepare: Callable[[Settings], None] | None = None,
    ) -> None:
        self._render_error = render_error
        self._health = {"status": "ok"}
        self._router = Router([Route("GET", "/health", lambda _: json_response(self._health)), *routes])
        if flask.has_app_context():
            self._install(name, limits, prepare)

    def _install(self, name: str, limits: Limits, prepare: Callable[[Settings], None] | None) -> None:
        # functions-framework runs the module inside the application's context: only then is there a server to
        # guard and an environment to read. A plain import has no effect.
        settings = read_settings()
        # So that nobody takes one environment, or one deployment, for another.
        self._health |= {"environment": settings.environment, "revision": settings.code_version}
        if prepare:
            prepare(settings)
        app: flask.Flask = flask.current_app._get_current_object()  # type: ignore[attr-defined]
        # In Flask's place, not around it: Flask would add a third to the cost of a prediction and has nothing to do.
        app.wsgi_app = Guard(  # type: ignore[method-assign]
            self.answer,
            router=self._router,
            limits=_with_limit(limits, settings.max_body_bytes),
            render_error=self._render_error,
            threads=settings.threads,
            log=RequestLog(name, settings.project_id, settings.environment),
        )

    def answer(self, match: Match, request: Request, fields: dict[str, Any]) -> Response:
        """Answer an admitted request; whatever goes wrong is answered too, and told to the log alone."""
        try:
            return match.route.handler(request)
        except Exception as error:
            fields |= failure_fields(error)
            shown = error if isinstance(error, ServiceError) else ServiceError("an unexpected failure")
            return self._render_error(shown, request.path)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Answer a request that came through Flask, where this function is called without its server."""
        match = self._router.match(request.method, request.path)
        response = self.answer(
            match, request_from(request.environ, match, request.get_data(cache=False)), start_notes()
        )
        headers = dict(response.headers)
        return flask.Response(response.body, response.status, headers, content_type=response.content_type)


def _with_limit(limits: Limits, max_body_bytes: int | None) -> Limits:
    return replace(limits, max_body_bytes=max_body_bytes) if max_body_bytes else limits
