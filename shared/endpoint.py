"""The HTTP edge of every function: routes in, records out, errors in their dialect. The only door to Flask."""

import traceback
from collections.abc import Callable, Sequence
from typing import TypeAlias

import flask

from shared.config import Settings, read_settings
from shared.errors import NotFoundError, ServiceError
from shared.guard import LOG_FIELDS, MATCH, Guard, Limits
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
        self._router = Router([Route("GET", "/health", lambda _: _HEALTHY), *routes])
        if flask.has_app_context():
            self._install(name, limits, prepare)

    def _install(self, name: str, limits: Limits, prepare: Callable[[Settings], None] | None) -> None:
        # functions-framework runs the module inside the application's context: only then is there a server to
        # guard and an environment to read. A plain import has no effect.
        settings = read_settings()
        if prepare:
            prepare(settings)
        app: flask.Flask = flask.current_app._get_current_object()  # type: ignore[attr-defined]
        app.wsgi_app = Guard(  # type: ignore[method-assign]
            app.wsgi_app,
            name=name,
            router=self._router,
            limits=_with_limit(limits, settings.max_body_bytes),
            render_error=self._render_error,
            threads=settings.threads,
            project_id=settings.project_id,
            environment=settings.environment,
        )
        # functions-framework answers /robots.txt and /favicon.ico itself, in HTML, where a route would take them.
        app.register_error_handler(404, self._not_found)

    def __call__(self, request: flask.Request) -> flask.Response:
        """Answer one request that the guard admitted."""
        fields = request.environ.setdefault(LOG_FIELDS, {})
        try:
            match = request.environ.get(MATCH) or self._router.match(request.method, request.path)
            response = match.route.handler(_request(request, match))
            fields.update(response.log)
        except ServiceError as error:
            fields["outcome"] = error.reason
            if error.http_status >= 500:
                fields["detail"] = str(error.__cause__ or error.message)
            response = self._render_error(error, request.path)
        except Exception:
            fields |= {"outcome": "INTERNAL", "stack_trace": traceback.format_exc()}
            response = self._render_error(ServiceError("an unexpected failure"), request.path)
        return _flask_response(response)

    def _not_found(self, _: Exception) -> flask.Response:
        error = NotFoundError("there is nothing at this path", reason="PATH_NOT_FOUND")
        flask.request.environ.setdefault(LOG_FIELDS, {})["outcome"] = error.reason
        return _flask_response(self._render_error(error, flask.request.path))


_HEALTHY = Response(b'{"status":"ok"}\n')


def _with_limit(limits: Limits, max_body_bytes: int | None) -> Limits:
    if max_body_bytes is None:
        return limits
    return Limits(max_body_bytes, limits.max_large_bodies, limits.body_deadline_seconds, limits.accept_gzip)


def _flask_response(response: Response) -> flask.Response:
    headers = dict(response.headers)
    return flask.Response(response.body, response.status, headers, content_type=response.content_type)


def _request(request: flask.Request, match: Match) -> Request:
    # From the environment itself: werkzeug's own views of headers and query cost as much as a small model.
    environ = request.environ
    headers = {name[5:].replace("_", "-").lower(): text for name, text in environ.items() if name.startswith("HTTP_")}
    return Request(
        method=environ["REQUEST_METHOD"],
        path=request.path,
        values=match.values,
        query=dict(request.args.lists()) if environ.get("QUERY_STRING") else {},
        headers=headers,
        body=request.get_data(cache=False),
    )
