"""nightly-transform: runs the regular jobs, one data interval at a time, and shows what they did."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import functions_framework

from shared.config import Settings, read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.errors import ConfigurationError
from shared.guard import Limits
from shared.jobs import read_jobs
from shared.lazy import Once
from shared.paging import PageTokens, page_token_key
from shared.routing import Request, Response, Route
from shared.stores import open_store
from shared.stores.objects import open_files, open_objects
from shared.stores.payloads import PayloadStore

from .api import Api
from .contract import Predict
from .dependencies import Dependencies, Publish
from .transforms import find_code

_PUBLISH_SECONDS = 10.0
_JOB = "/jobs/(?P<job>[^/:]+)"

_settings = Once(read_settings)


def _build() -> Api:
    settings = _settings()
    store = open_store(settings.store_url)
    given = Dependencies(
        jobs=read_jobs(),
        store=store,
        results=PayloadStore(store, open_objects(settings.objects_url)),
        files=open_files(settings.objects_url),
        predict=_predict(settings),
        now=_now,
        publish=_publisher(settings),
        code_version=settings.code_version,
    )
    return Api(given, PageTokens(page_token_key(settings.page_token_key, settings.state_dir, settings.in_cloud)))


def _predict(settings: Settings) -> Predict:
    def client() -> Predict:
        # For the jobs that ask it: its HTTP library is a tenth of the time that a start takes.
        from .predicting import PredictClient

        return PredictClient(settings.urls["predict"], in_cloud=settings.in_cloud)

    made = Once(client)

    def predict(instances: Sequence[Any], *, model: str, version: str | None = None) -> list[Any]:
        return made()(instances, model=model, version=version)

    return predict


def _publisher(settings: Settings) -> Publish | None:
    if settings.project_id is None:
        return None
    from shared.topics import Topic

    topic = Topic(settings.project_id, settings.nightly_topic)

    def publish(message: Mapping[str, Any]) -> None:
        topic.publish(json.dumps(message).encode(), _PUBLISH_SECONDS)

    return publish


def _now() -> datetime:
    return datetime.now(UTC)


_api = Once(_build)


def _prepare(settings: Settings) -> None:
    if not settings.store_url:
        raise ConfigurationError(["STORE_URL: expected a database, it is not set"])
    page_token_key(settings.page_token_key, settings.state_dir, settings.in_cloud)
    for job in read_jobs().values():
        find_code(job)


def _route(method: str, pattern: str, answer: Callable[[Api, Request], Response]) -> Route:
    return Route(method, pattern, lambda request: answer(_api(), request))


_endpoint = Endpoint(
    "nightly_transform",
    [
        # A push may say anything of itself: what it is, its body shows.
        Route("POST", "/", lambda request: _api().deliveries.receive(request), content_types=None),
        _route("GET", "/jobs", lambda api, request: api.jobs.list_jobs(request)),
        _route("POST", f"{_JOB}:trigger", lambda api, request: api.jobs.trigger(request)),
        _route("POST", f"{_JOB}:backfill", lambda api, request: api.backfills.backfill(request)),
        _route("POST", f"{_JOB}:pause", lambda api, request: api.jobs.pause(request)),
        _route("POST", f"{_JOB}:resume", lambda api, request: api.jobs.resume(request)),
        _route("GET", "/runs", lambda api, request: api.jobs.list_runs(request)),
        # The keys of jobs that run more than once a day have a colon themselves.
        _route("POST", "/runs/(?P<job>[^/]+)/(?P<key>[^/]+):rerun", lambda api, request: api.jobs.rerun(request)),
        _route("GET", "/runs/(?P<job>[^/]+)/(?P<key>[^/]+)", lambda api, request: api.jobs.get_run(request)),
        _route("GET", "/summaries", lambda api, request: api.jobs.list_summaries(request)),
        _route("GET", "/dead-letters", lambda api, request: api.jobs.list_dead_letters(request)),
    ],
    Limits(max_body_bytes=14_000_000),
    prepare=_prepare,
)


@functions_framework.http
def nightly_transform(request: HttpRequest) -> HttpResponse:
    """Take a Pub/Sub push (`POST /`) or a question about jobs, runs and summaries."""
    return _endpoint(request)
