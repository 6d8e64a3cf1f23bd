"""Cloud Scheduler's jobs, by the same code as `python -m scheduler apply`."""

from collections.abc import Iterator, Mapping

from deployment.changes import Action, Change, Kind
from deployment.names import Names
from scheduler.cloud_client import CloudScheduler
from scheduler.cloud_jobs import Change as ScheduleChange
from scheduler.cloud_jobs import plan_changes, wanted_job
from shared.jobs import Job

_KINDS: dict[str, Kind] = {"create": "create", "delete": "delete"}


def schedule_changes(
    names: Names, jobs: Mapping[str, Job], cloud: CloudScheduler, *, readable: bool
) -> Iterator[Change]:
    """Yield what brings Cloud Scheduler to jobs.yaml.

    Args:
        names: Of the environment.
        jobs: From jobs.yaml.
        cloud: In the environment's project and region.
        readable: The API is enabled; otherwise there is nothing yet.
    """
    topic = f"projects/{names.project}/topics/nightly"
    wanted = [wanted_job(job, topic) for job in jobs.values()]
    for each in plan_changes(wanted, cloud.list_jobs() if readable else []):
        yield _change(each, cloud)


def _change(planned: ScheduleChange, cloud: CloudScheduler) -> Change:
    job, kind = planned.job, _KINDS.get(planned.kind, "change")
    before = ", ".join(f"{field} {old}" for field, (old, _) in planned.differences.items())
    after = ", ".join(f"{field} {new}" for field, (_, new) in planned.differences.items())
    if planned.kind in ("create", "delete"):
        schedule = f"{job.schedule} {job.time_zone}"
        before, after = ("", schedule) if planned.kind == "create" else (schedule, "")
    elif planned.kind in ("pause", "resume"):
        before, after = ("runs", "paused") if planned.kind == "pause" else ("paused", "runs")
    step = Action(f"python -m scheduler apply: {planned.kind} {job.id}", lambda: cloud.apply(planned))
    return Change(kind, f"schedule {job.id}", before, after, (step,))
