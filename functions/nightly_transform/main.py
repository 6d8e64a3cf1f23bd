"""nightly-transform: runs the regular jobs, one data interval at a time, and shows what they did."""

from datetime import UTC, datetime

import functions_framework

from shared.config import Settings, read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.errors import ConfigurationError
from shared.guard import Limits
from shared.jobs import read_jobs
from shared.lazy import Once
from shared.paging import PageTokens, page_token_key
from shared.routing import Route
from shared.stores import open_store

from .handlers import JobsApi
from .runner import Runner
from .transforms import find_transform

_EVENT_TYPES = ("application/json", "application/cloudevents+json")

_settings = Once(read_settings)


def _build() -> JobsApi:
    settings = _settings()
    store, jobs = open_store(settings.store_url), read_jobs()
    tokens = PageTokens(page_token_key(settings.page_token_key, settings.state_dir, settings.in_cloud))
    return JobsApi(jobs, Runner(store, _now), store, tokens, _now)


def _now() -> datetime:
    return datetime.now(UTC)


_api = Once(_build)


def _prepare(settings: Settings) -> None:
    if not settings.store_url:
        raise ConfigurationError(["STORE_URL: expected a database, it is not set"])
    page_token_key(settings.page_token_key, settings.state_dir, settings.in_cloud)
    for job in read_jobs().values():
        find_transform(job)


_endpoint = Endpoint(
    "nightly_transform",
    [
        Route("POST", "/", lambda request: _api().receive(request), _EVENT_TYPES),
        Route("GET", "/jobs", lambda request: _api().list_jobs(request)),
        Route("POST", "/jobs/(?P<job>[^/:]+):trigger", lambda request: _api().trigger(request)),
        Route("GET", "/runs", lambda request: _api().list_runs(request)),
        Route("GET", "/runs/(?P<job>[^/]+)/(?P<key>[^/:]+)", lambda request: _api().get_run(request)),
        Route("GET", "/summaries", lambda request: _api().list_summaries(request)),
    ],
    Limits(max_body_bytes=14_000_000),
    prepare=_prepare,
)


@functions_framework.http
def nightly_transform(request: HttpRequest) -> HttpResponse:
    """Take a Pub/Sub push (`POST /`) or a question about jobs, runs and summaries."""
    return _endpoint(request)
