"""list-results: finds results again: filters, pages, counts, one by id."""

from datetime import UTC, datetime

import functions_framework

from shared.config import Settings, read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.errors import ConfigurationError
from shared.guard import Limits
from shared.lazy import Once
from shared.paging import PageTokens, page_token_key
from shared.routing import Route
from shared.stores import open_results
from shared.stores.bulkhead import Bulkhead

from .handlers import ResultReader

_settings = Once(read_settings)
_reader = Once(
    lambda: ResultReader(
        Bulkhead(lambda: open_results(_settings().store_url, _settings().objects_url), _settings().threads),
        PageTokens(page_token_key(_settings().page_token_key, _settings().state_dir, _settings().in_cloud)),
        now=lambda: datetime.now(UTC),
    )
)


def _prepare(settings: Settings) -> None:
    missing = [name for name in ("store_url", "objects_url") if not getattr(settings, name)]
    if missing:
        raise ConfigurationError([f"{name.upper()}: it is not set, and there is no default here" for name in missing])
    page_token_key(settings.page_token_key, settings.state_dir, settings.in_cloud)


_endpoint = Endpoint(
    "list_results",
    [
        Route("GET", "/", lambda request: _reader().list_results(request)),
        Route("GET", "/(?P<id>[^/]+)", lambda request: _reader().get_result(request)),
    ],
    Limits(max_body_bytes=64_000),
    prepare=_prepare,
)


@functions_framework.http
def list_results(request: HttpRequest) -> HttpResponse:
    """Answer a page of results (`GET /`) or one of them (`GET /<id>`)."""
    return _endpoint(request)
