"""nightly-transform over jobs of the benchmarks' own: daily_summary inline, and in slices. The rest is the function's.

A day's results through it say what fanning out costs; the jobs in scheduler/jobs.yaml are not cut into slices.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import functions_framework

from functions.nightly_transform.api import Api
from functions.nightly_transform.dependencies import Dependencies
from functions.nightly_transform.predicting import PredictClient
from shared.config import read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.guard import Limits
from shared.jobs import Job
from shared.lazy import Once
from shared.paging import PageTokens
from shared.routing import Route
from shared.stores import open_store
from shared.stores.objects import open_files
from shared.topics import Topic

_PUBLISH_SECONDS = 10.0


def _job(job_id: str, slices: int) -> Job:
    return Job(job_id, "10 2 * * *", "Etc/UTC", "daily_summary", "of a benchmark", slices=slices)


def _build() -> Api:
    settings = read_settings()
    store, topic = open_store(settings.store_url), Topic(settings.project_id or "", settings.nightly_topic)

    def publish(message: Mapping[str, Any]) -> None:
        topic.publish(json.dumps(message).encode(), _PUBLISH_SECONDS)

    jobs = [_job("slices-1", 1), _job("slices-24", 24), _job("slices-240", 240)]
    given = Dependencies(
        jobs={job.id: job for job in jobs},
        store=store,
        results=store,
        files=open_files(settings.objects_url),
        predict=PredictClient(settings.urls["predict"], in_cloud=False),
        now=lambda: datetime.now(UTC),
        publish=publish,
    )
    return Api(given, PageTokens(b"of the benchmarks' own"))


_api = Once(_build)
_endpoint = Endpoint(
    "sliced",
    [
        Route("POST", "/", lambda request: _api().deliveries.receive(request), content_types=None),
        Route("GET", "/summaries", lambda request: _api().jobs.list_summaries(request)),
        Route("GET", "/runs/(?P<job>[^/]+)/(?P<key>[^/]+)", lambda request: _api().jobs.get_run(request)),
    ],
    Limits(max_body_bytes=1_000_000),
)


@functions_framework.http
def sliced(request: HttpRequest) -> HttpResponse:
    """Take a push, or a question about runs and summaries."""
    return _endpoint(request)
