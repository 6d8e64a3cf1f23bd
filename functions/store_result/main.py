"""store-result: keeps a result, never lost and never twice."""

from datetime import UTC, datetime
from pathlib import Path

import functions_framework

from shared.config import BUNDLED_MODELS, Settings, read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.errors import ConfigurationError
from shared.guard import Limits
from shared.lazy import Once
from shared.routing import Route
from shared.stores import open_results
from shared.stores.bulkhead import Bulkhead

from .handlers import ResultWriter
from .summaries import read_declarations

# A result, or a Pub/Sub push of one, which may be a CloudEvent.
_ONE_RESULT_TYPES = ("application/json", "application/cloudevents+json")

_settings = Once(read_settings)
_writer = Once(
    lambda: ResultWriter(
        Bulkhead(lambda: open_results(_settings().store_url, _settings().objects_url), _settings().threads),
        read_declarations(_described_models()),
        now=lambda: datetime.now(UTC),
    )
)


def _described_models() -> Path:
    """Return the folder with the declarations: a bucket's are predict's to read, so the included ones stand in."""
    models_dir = _settings().models_dir
    return models_dir if isinstance(models_dir, Path) else BUNDLED_MODELS


def _prepare(settings: Settings) -> None:
    missing = [name for name in ("store_url", "objects_url") if not getattr(settings, name)]
    if missing:
        raise ConfigurationError([f"{name.upper()}: it is not set, and there is no default here" for name in missing])


_endpoint = Endpoint(
    "store_result",
    [
        Route("POST", "/", lambda request: _writer().store_one(request), _ONE_RESULT_TYPES),
        Route("POST", "/batch", lambda request: _writer().store_batch(request)),
    ],
    Limits(max_body_bytes=32_000_000, max_large_bodies=2),
    prepare=_prepare,
)


@functions_framework.http
def store_result(request: HttpRequest) -> HttpResponse:
    """Keep one result (`POST /`, a Pub/Sub push too) or up to 500, all or nothing (`POST /batch`)."""
    return _endpoint(request)
