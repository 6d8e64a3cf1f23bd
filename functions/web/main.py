"""web: the page: try the model, browse the results, watch the nights; and its way to the other functions."""

import threading
from collections.abc import Callable

import functions_framework

from shared.config import Settings, read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse, google_error
from shared.errors import ServiceError
from shared.guard import Limits
from shared.lazy import Once
from shared.routing import Response, Route

from .api import Api, api_routes
from .assets import Assets
from .headers import secured
from .pages import VIEWS, Pages
from .status import status_of
from .upstream import Upstream

# How long each may be silent: predict waits a minute for its model, and answers that itself; a run that takes longer
# goes on, and is seen in the grid.
_TIMEOUT_SECONDS = {"predict": 75.0, "store_result": 40.0, "list_results": 75.0, "nightly_transform": 120.0}

_settings = Once(read_settings)
_assets = Once(Assets)
_pages = Once(lambda: Pages(_settings(), _assets()))
_upstreams = Once(lambda: _build_upstreams(_settings()))
_api = Once(lambda: Api(_upstreams(), read_only=_settings().read_only, local=not _settings().in_cloud))
_status = Once(lambda: status_of(_settings(), _upstreams()))


def _build_upstreams(settings: Settings) -> dict[str, Upstream]:
    # A function that hangs holds half of the threads at most, and all of them together three quarters: the page and
    # what works go on.
    most, places = max(1, settings.threads // 2), threading.BoundedSemaphore(max(1, settings.threads * 3 // 4))
    return {
        name: Upstream(
            name,
            settings.urls[name],
            timeout_seconds=seconds,
            most_at_once=most,
            places=places,
            id_token=_id_token(settings.urls[name]) if settings.in_cloud else None,
        )
        for name, seconds in _TIMEOUT_SECONDS.items()
    }


def _id_token(url: str) -> Callable[[], str]:
    from shared.id_tokens import IdTokens  # slow to import, and of no use on a laptop

    return IdTokens(url).token


def _render_error(error: ServiceError, path: str) -> Response:
    """Render an error for the page's scripts under /api/, and for people elsewhere."""
    return secured(google_error(error, path)) if path.startswith("/api/") else _pages().failure(error)


def _view(name: str, pattern: str) -> Route:
    return Route("GET", pattern, lambda _: _pages().view(name))


def _prepare(_: Settings) -> None:
    # So that a template or an asset that is not there stops the deployment, not the first visitor.
    _pages()


_endpoint = Endpoint(
    "web",
    [
        *(_view(name, pattern) for name, (pattern, _) in VIEWS.items()),
        Route(
            "GET",
            "/static/(?P<version>[0-9a-f]{12})/(?P<name>[a-z_]+\\.(?:js|css))",
            lambda request: secured(_assets().respond(request)),
        ),
        Route("GET", "/api/status", lambda request: _api().own(_status(), request)),
        *api_routes(_api),
    ],
    Limits(max_body_bytes=1_572_864),
    _render_error,
    _prepare,
)


@functions_framework.http
def web(request: HttpRequest) -> HttpResponse:
    """Answer the page, its scripts and styles, and what these ask of the other functions."""
    return _endpoint(request)
