"""Cloud Scheduler's API on loopback, in this process: real gRPC, as far as our client goes.

It behaves as the documentation says: jobs are listed in pages, an update changes the fields of its mask alone and
leaves the state, pausing twice is no error, and what a job lacks is refused.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.cloud.scheduler_v1 import (
    CreateJobRequest,
    DeleteJobRequest,
    GetJobRequest,
    Job,
    ListJobsRequest,
    ListJobsResponse,
    PauseJobRequest,
    ResumeJobRequest,
    UpdateJobRequest,
)
from google.protobuf.empty_pb2 import Empty  # type: ignore[import-untyped]

from .world import World, locked

_SERVICE = "google.cloud.scheduler.v1.CloudScheduler"
_API = "cloudscheduler.googleapis.com"
_PREFIX = f"//{_API}/"
_CHANGES = ("CreateJob", "UpdateJob", "PauseJob", "ResumeJob", "DeleteJob")


class CloudSchedulerEmulator:
    """A server, started.

    Args:
        world: Keeps the jobs, and knows the topics; without one every topic is there.

    Attributes:
        host: For CLOUD_SCHEDULER_EMULATOR_HOST.
        jobs: What it holds, by full name.
        calls: The methods that were called, in order, and what they said.
        failures: Answered instead, one a call: (method, code, details); or, with `late=True` in fourth place, after
            the call was carried out.
    """

    def __init__(self, world: World | None = None) -> None:
        self._world = world
        self.jobs: dict[str, Job] = _kept(world) if world else {}
        self.calls: list[tuple[str, Any]] = []
        self.failures: list[tuple[Any, ...]] = []
        self._server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
        methods = {
            "ListJobs": self._method("ListJobs", self._list, ListJobsRequest, ListJobsResponse.serialize),
            "GetJob": self._method("GetJob", self._get, GetJobRequest, Job.serialize),
            "CreateJob": self._method("CreateJob", self._create, CreateJobRequest, Job.serialize),
            "UpdateJob": self._method("UpdateJob", self._update, UpdateJobRequest, Job.serialize),
            "PauseJob": self._method("PauseJob", self._pause, PauseJobRequest, Job.serialize),
            "ResumeJob": self._method("ResumeJob", self._resume, ResumeJobRequest, Job.serialize),
            "DeleteJob": self._method("DeleteJob", self._delete, DeleteJobRequest, Empty.SerializeToString),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        self.host = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def changes(self) -> list[str]:
        """Return the calls that change something, each as method and job."""
        names = [
            (method, getattr(said, "name", "") or said.job.name) for method, said in self.calls if method in _CHANGES
        ]
        return [f"{method} {name.rpartition('/')[2]}" for method, name in names]

    def close(self) -> None:
        """Be done."""
        self._server.stop(None).wait()

    def _method(self, name: str, behaviour: Any, request: Any, serialize: Any) -> Any:
        def answer(said: Any, call: Any) -> Any:
            self.calls.append((name, said))
            failure = next((entry for entry in self.failures if entry[0] == name), None)
            if failure:
                self.failures.remove(failure)
                if len(failure) > 3:
                    behaviour(said, call)
                    self._keep()
                call.abort(failure[1], failure[2])
            self._check_enabled(said, call)
            answered = behaviour(said, call)
            if name in _CHANGES:
                self._keep()
            return answered

        return grpc.unary_unary_rpc_method_handler(answer, request.deserialize, serialize)

    def _list(self, said: ListJobsRequest, call: Any) -> ListJobsResponse:
        names = sorted(name for name in self.jobs if name.startswith(f"{said.parent}/jobs/"))
        start, size = int(said.page_token or 0), min(said.page_size or 2, 2)
        token = str(start + size) if start + size < len(names) else ""
        return ListJobsResponse(jobs=[self.jobs[name] for name in names[start : start + size]], next_page_token=token)

    def _get(self, said: GetJobRequest, call: Any) -> Job:
        return self._found(said.name, call)

    def _create(self, said: CreateJobRequest, call: Any) -> Job:
        if said.job.name in self.jobs:
            call.abort(grpc.StatusCode.ALREADY_EXISTS, f"Job {said.job.name} already exists.")
        if not said.job.name.startswith(f"{said.parent}/jobs/"):
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, "Job name must be below the parent.")
        self._check(said.job, call)
        self.jobs[said.job.name] = Job(said.job, state=Job.State.ENABLED)
        return self.jobs[said.job.name]

    def _update(self, said: UpdateJobRequest, call: Any) -> Job:
        job = Job(self._found(said.job.name, call))
        for path in said.update_mask.paths:
            setattr(job, path, getattr(said.job, path))
        self._check(job, call)
        if job.state == Job.State.UPDATE_FAILED:
            job.state = Job.State(Job.State.ENABLED)
        self.jobs[said.job.name] = job
        return job

    def _pause(self, said: PauseJobRequest, call: Any) -> Job:
        return self._set_state(said.name, Job.State.PAUSED, call)

    def _resume(self, said: ResumeJobRequest, call: Any) -> Job:
        return self._set_state(said.name, Job.State.ENABLED, call)

    def _delete(self, said: DeleteJobRequest, call: Any) -> Empty:
        self._found(said.name, call)
        del self.jobs[said.name]
        return Empty()

    def _set_state(self, name: str, state: Any, call: Any) -> Job:
        job = self._found(name, call)
        job.state = state
        return job

    def _found(self, name: str, call: Any) -> Job:
        if name not in self.jobs:
            call.abort(grpc.StatusCode.NOT_FOUND, "Job not found.")
        return self.jobs[name]

    def _check(self, job: Job, call: Any) -> None:
        if len(job.schedule.split()) != 5 or not job.time_zone:
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, "Schedule or time zone is invalid.")
        if not job.http_target.uri and not (job.pubsub_target.topic_name and job.pubsub_target.data):
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, "PubsubTarget.data must not be empty.")
        topic = job.pubsub_target.topic_name
        if self._world and topic and self._world.find(f"//pubsub.googleapis.com/{topic}") is None:
            call.abort(grpc.StatusCode.NOT_FOUND, f"The topic {topic} does not exist.")

    def _check_enabled(self, said: Any, call: Any) -> None:
        """Refuse a call about a project that has not enabled the API, or is not there at all."""
        name = getattr(said, "parent", "") or getattr(said, "name", "") or said.job.name
        project = name.split("/")[1]
        if self._world and not self._world.is_enabled(project, _API):
            text = f"Cloud Scheduler API has not been used in project {project} before or it is disabled."
            call.abort(grpc.StatusCode.PERMISSION_DENIED, text)

    def _keep(self) -> None:
        if self._world is None:
            return
        with locked(self._world) as world:
            for name in [name for name in world.resources if name.startswith(_PREFIX)]:
                del world.resources[name]
            world.resources |= {f"{_PREFIX}{name}": json.loads(Job.to_json(job)) for name, job in self.jobs.items()}


@contextmanager
def cloud_scheduler_emulator(world: World | None = None) -> Iterator[CloudSchedulerEmulator]:
    """Run a server until the block ends."""
    emulator = CloudSchedulerEmulator(world)
    try:
        yield emulator
    finally:
        emulator.close()


def _kept(world: World) -> dict[str, Job]:
    found = {name.removeprefix(_PREFIX): kept for name, kept in world.resources.items() if name.startswith(_PREFIX)}
    return {name: Job.from_json(json.dumps(kept)) for name, kept in found.items()}
