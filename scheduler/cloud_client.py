"""The door to Cloud Scheduler: its jobs read and changed, every call bounded, every failure in words."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import grpc  # type: ignore[import-untyped]
from google.api_core.exceptions import AlreadyExists, NotFound
from google.auth.credentials import Credentials
from google.cloud.scheduler_v1 import CloudSchedulerClient, PubsubTarget, RetryConfig
from google.cloud.scheduler_v1 import Job as SchedulerJob
from google.cloud.scheduler_v1.services.cloud_scheduler.transports import CloudSchedulerGrpcTransport
from google.protobuf.field_mask_pb2 import FieldMask  # type: ignore[import-untyped]

from .cloud_jobs import Change, CloudJob, PublishRetries
from .google_errors import BOUNDED_RETRY, CALL_SECONDS, readable_errors

_API = "cloudscheduler.googleapis.com"
_ROLE = "roles/cloudscheduler.admin"
# The field of Cloud Scheduler that each of ours is in.
_FIELDS = {
    **{name: name for name in ("description", "schedule", "time_zone")},
    **dict.fromkeys(("topic", "data", "attributes"), "pubsub_target"),
    "retries": "retry_config",
}


class CloudScheduler:
    """Cloud Scheduler's jobs in one region of a project.

    Args:
        project: The project's id.
        region: Where.
        emulator_host: Asked instead of Google's, without credentials.
        credentials: Of whoever asks; None: Google's library finds those of this machine.
    """

    def __init__(
        self, project: str, region: str, emulator_host: str | None = None, credentials: Credentials | None = None
    ) -> None:
        self._project = project
        self._parent = f"projects/{project}/locations/{region}"
        with self._errors("connecting to Cloud Scheduler"):
            if emulator_host:
                channel = grpc.insecure_channel(emulator_host)
                self._client = CloudSchedulerClient(transport=CloudSchedulerGrpcTransport(channel=channel))
            else:
                self._client = CloudSchedulerClient(credentials=credentials)

    def list_jobs(self) -> list[CloudJob]:
        """Return every job that publishes to a topic.

        Raises:
            ServiceError: They could not be read; the message says what to do.
        """
        with self._errors(f"reading the jobs in {self._parent}"):
            found = self._client.list_jobs(parent=self._parent, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
            return [_read(job) for job in found]

    def apply(self, change: Change) -> None:
        """Make one change; one that was made already is made no worse.

        Raises:
            ServiceError: It was not made, as far as is known; the message says what to do.
        """
        name = f"{self._parent}/jobs/{change.job.id}"
        with self._errors(f"{change.kind} {change.job.id}"):
            if change.kind == "create":
                self._create(name, change.job)
            elif change.kind == "update":
                # One that failed half-way is written whole.
                different = _FIELDS if "update_failed" in change.differences else change.differences
                mask = FieldMask(paths=sorted({_FIELDS[field] for field in different}))
                job = _written(name, change.job)
                self._client.update_job(job=job, update_mask=mask, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
            elif change.kind == "pause":
                self._client.pause_job(name=name, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
            elif change.kind == "resume":
                self._client.resume_job(name=name, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
            else:
                self._delete(name)

    def close(self) -> None:
        """Hang up."""
        self._client.transport.close()  # type: ignore[no-untyped-call]

    def _create(self, name: str, job: CloudJob) -> None:
        wanted = _written(name, job)
        try:
            self._client.create_job(parent=self._parent, job=wanted, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
        except AlreadyExists:
            # The first attempt did it, and its answer was lost; or somebody else made another job of this name.
            present = self._client.get_job(name=name, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
            if _written(name, _read(present)) != wanted:
                raise

    def _delete(self, name: str) -> None:
        try:
            self._client.delete_job(name=name, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
        except NotFound:
            return  # gone, which is what was wanted

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        with readable_errors(what, api=_API, role=_ROLE, project=self._project):
            yield


def _written(name: str, job: CloudJob) -> SchedulerJob:
    return SchedulerJob(
        name=name,
        description=job.description,
        schedule=job.schedule,
        time_zone=job.time_zone,
        pubsub_target=PubsubTarget(topic_name=job.topic, data=job.data, attributes=dict(job.attributes)),
        retry_config=RetryConfig(
            retry_count=job.retries.retry_count,
            min_backoff_duration=timedelta(seconds=job.retries.min_backoff_seconds),
            max_backoff_duration=timedelta(seconds=job.retries.max_backoff_seconds),
            max_doublings=job.retries.max_doublings,
        ),
    )


def _read(job: SchedulerJob) -> CloudJob:
    # One that calls a URL has no topic: it is not ours, and its name may be the one that we need.
    target, retries = job.pubsub_target, job.retry_config
    return CloudJob(
        id=job.name.rpartition("/")[2],
        description=job.description,
        schedule=job.schedule,
        time_zone=job.time_zone,
        topic=target.topic_name,
        data=target.data,
        attributes=dict(target.attributes),
        retries=PublishRetries(
            retry_count=retries.retry_count,
            min_backoff_seconds=round(retries.min_backoff_duration.total_seconds()),
            max_backoff_seconds=round(retries.max_backoff_duration.total_seconds()),
            max_doublings=retries.max_doublings,
        ),
        paused=job.state == SchedulerJob.State.PAUSED,
        update_failed=job.state == SchedulerJob.State.UPDATE_FAILED,
    )
