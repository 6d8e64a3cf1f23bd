"""`plan` and `apply` against Cloud Scheduler's API, through Google's own client over real gRPC."""

from dataclasses import replace

import grpc
import pytest
from google.cloud.scheduler_v1 import HttpTarget, PubsubTarget
from google.cloud.scheduler_v1 import Job as SchedulerJob

from scheduler.__main__ import main
from scheduler.cloud_jobs import CloudJob, plan_changes, wanted_job
from shared.jobs import read_jobs
from tests.emulators.cloud_scheduler import cloud_scheduler_emulator
from tests.support import free_port

PARENT = "projects/nightshift-tests/locations/europe-west1"
ALL = ["nightshift-nightly", "nightshift-drift", "nightshift-export", "nightshift-reconcile"]


@pytest.fixture
def cloud(monkeypatch):
    """Cloud Scheduler, empty, where our client finds it; each attempt is soon given up."""
    with cloud_scheduler_emulator() as emulator:
        monkeypatch.setenv("PROJECT_ID", "nightshift-tests")
        monkeypatch.setenv("CLOUD_SCHEDULER_EMULATOR_HOST", emulator.host)
        yield emulator


@pytest.fixture
def applied(cloud, capsys):
    """The same, brought to jobs.yaml, with nothing on record."""
    assert main(["apply"]) == 0
    cloud.calls.clear()
    capsys.readouterr()
    return cloud


@pytest.fixture
def jobs(monkeypatch):
    """The jobs of jobs.yaml, for a test to change."""
    found = read_jobs()
    monkeypatch.setattr("scheduler.cloud.read_jobs", lambda: found)
    return found


def test_apply_creates_every_job_as_the_file_has_it(cloud, capsys):
    """Each publishes its id as data, on its schedule, in its zone, with retries of the publishing."""
    assert main(["apply"]) == 0

    assert sorted(cloud.jobs) == sorted(f"{PARENT}/jobs/{name}" for name in ALL)
    drift = cloud.jobs[f"{PARENT}/jobs/nightshift-drift"]
    assert (drift.schedule, drift.time_zone) == ("40 2 * * *", "Etc/UTC")
    assert drift.description == read_jobs()["drift"].description
    assert drift.pubsub_target.topic_name == "projects/nightshift-tests/topics/nightly"
    assert drift.pubsub_target.data == b'{"job": "drift"}'
    assert dict(drift.pubsub_target.attributes) == {"managed-by": "nightshift"}
    assert (drift.retry_config.retry_count, drift.retry_config.min_backoff_duration.total_seconds()) == (5, 5)
    assert "create nightshift-reconcile: done" in capsys.readouterr().out


def test_a_second_apply_changes_nothing(applied, capsys):
    """It reads every page of what is there, and calls nothing else."""
    assert main(["apply"]) == 0

    assert [method for method, _ in applied.calls] == ["ListJobs", "ListJobs"]
    assert "nothing to do" in capsys.readouterr().out


def test_plan_tells_and_changes_nothing(cloud, capsys):
    """Before the first apply it is all to be made."""
    assert main(["plan"]) == 0

    told = capsys.readouterr().out
    assert all(name in told for name in ALL)
    assert "4 changes to make: python -m scheduler apply" in told
    assert cloud.changes() == []
    assert cloud.jobs == {}


def test_only_what_differs_is_updated(applied, jobs, capsys):
    """The mask names the fields; the table shows them as they are and as they are to be."""
    jobs["export"] = replace(jobs["export"], schedule="20 4 * * *", description="Else")

    assert main(["plan"]) == 0
    told = capsys.readouterr().out
    assert main(["apply"]) == 0

    assert applied.changes() == ["UpdateJob nightshift-export"]
    (update,) = [said for method, said in applied.calls if method == "UpdateJob"]
    assert list(update.update_mask.paths) == ["description", "schedule"]
    assert applied.jobs[f"{PARENT}/jobs/nightshift-export"].schedule == "20 4 * * *"
    assert "10 3 * * *" in told
    assert "20 4 * * *" in told


@pytest.mark.parametrize("field", ["topic", "data", "attributes", "retries"])
def test_what_somebody_changed_by_hand_is_brought_back(applied, field):
    """Topic, message and retries count as much as the schedule."""
    job = applied.jobs[f"{PARENT}/jobs/nightshift-nightly"]
    if field == "topic":
        job.pubsub_target.topic_name = "projects/nightshift-tests/topics/else"
    elif field == "data":
        job.pubsub_target.data = b"{}"
    elif field == "attributes":
        job.pubsub_target.attributes["more"] = "x"
    else:
        job.retry_config.retry_count = 0

    assert main(["apply"]) == 0
    assert applied.changes() == ["UpdateJob nightshift-nightly"]
    applied.calls.clear()
    assert main(["apply"]) == 0
    assert applied.changes() == []


def test_paused_in_the_file_is_paused_there_and_resumed_again(applied, jobs):
    """The state is no field: it has calls of its own, each made once."""
    jobs["drift"] = replace(jobs["drift"], paused=True)
    assert main(["apply"]) == 0
    assert applied.jobs[f"{PARENT}/jobs/nightshift-drift"].state == SchedulerJob.State.PAUSED
    assert main(["apply"]) == 0

    jobs["drift"] = replace(jobs["drift"], paused=False)
    assert main(["apply"]) == 0

    assert applied.changes() == ["PauseJob nightshift-drift", "ResumeJob nightshift-drift"]


def test_a_new_job_that_is_paused_is_created_and_paused(cloud, jobs):
    """Two calls; a crash between them is made good by the next apply."""
    jobs["drift"] = replace(jobs["drift"], paused=True)
    cloud.failures.append(("PauseJob", grpc.StatusCode.INTERNAL, "broken"))

    assert main(["apply"]) == 1
    assert main(["apply"]) == 0

    assert cloud.changes().count("CreateJob nightshift-drift") == 1
    assert cloud.jobs[f"{PARENT}/jobs/nightshift-drift"].state == SchedulerJob.State.PAUSED
    assert main(["apply"]) == 0
    assert cloud.changes()[-1] != "PauseJob nightshift-drift"


def test_what_left_the_file_is_deleted_and_what_is_not_ours_stays(applied, jobs):
    """Ours are those with the prefix and the mark."""
    theirs = {
        "backup": PubsubTarget(topic_name="projects/p/topics/t", data=b"x", attributes={"managed-by": "nightshift"}),
        "nightshift-by-hand": PubsubTarget(topic_name="projects/p/topics/t", data=b"x"),
    }
    for name, target in theirs.items():
        full = f"{PARENT}/jobs/{name}"
        applied.jobs[full] = SchedulerJob(name=full, schedule="* * * * *", time_zone="Etc/UTC", pubsub_target=target)
    del jobs["drift"]

    assert main(["apply"]) == 0

    assert applied.changes() == ["DeleteJob nightshift-drift"]
    assert {name.rpartition("/")[2] for name in applied.jobs} == {*ALL, *theirs} - {"nightshift-drift"}


def test_a_name_that_is_taken_by_somebody_elses_job_is_told_and_nothing_is_done(cloud, capsys):
    """Overwriting it would be theft."""
    name = f"{PARENT}/jobs/nightshift-drift"
    cloud.jobs[name] = SchedulerJob(
        name=name, schedule="* * * * *", time_zone="Etc/UTC", http_target=HttpTarget(uri="http://127.0.0.1/")
    )

    assert main(["apply"]) == 2

    assert (
        "nightshift-drift: there is a job of this name in Cloud Scheduler that is not ours" in capsys.readouterr().err
    )
    assert cloud.changes() == []


def test_an_update_that_failed_there_is_made_again(applied):
    """Cloud Scheduler says so in the job's state."""
    applied.jobs[f"{PARENT}/jobs/nightshift-export"].state = SchedulerJob.State.UPDATE_FAILED

    assert main(["apply"]) == 0

    assert applied.changes() == ["UpdateJob nightshift-export"]
    assert len(applied.calls[-1][1].update_mask.paths) == 5


@pytest.mark.parametrize("method", ["ListJobs", "CreateJob"])
def test_a_call_that_fails_in_passing_is_made_again(cloud, method):
    """Twice unavailable, then all is well."""
    cloud.failures += [(method, grpc.StatusCode.UNAVAILABLE, "in passing")] * 2

    assert main(["apply"]) == 0
    assert len(cloud.jobs) == 4


@pytest.mark.parametrize("method", ["CreateJob", "DeleteJob"])
def test_a_call_whose_answer_was_lost_is_no_failure(applied, jobs, method):
    """It was carried out, so the second attempt finds the job there already, or gone."""
    if method == "CreateJob":
        del applied.jobs[f"{PARENT}/jobs/nightshift-drift"]
    else:
        del jobs["drift"]
    applied.failures.append((method, grpc.StatusCode.UNAVAILABLE, "lost", "late"))

    assert main(["apply"]) == 0

    assert applied.changes() == [f"{method} nightshift-drift"] * 2
    assert (f"{PARENT}/jobs/nightshift-drift" in applied.jobs) == (method == "CreateJob")


def test_a_job_that_somebody_else_made_meanwhile_is_not_taken_for_ours(cloud, monkeypatch, capsys):
    """Between reading and creating."""
    name = f"{PARENT}/jobs/nightshift-nightly"
    monkeypatch.setattr("scheduler.cloud_client.CloudScheduler.list_jobs", lambda self: [])
    cloud.jobs[name] = SchedulerJob(name=name, schedule="* * * * *", time_zone="Etc/UTC")

    assert main(["apply"]) == 2

    assert "somebody else has made it meanwhile" in capsys.readouterr().err


DISABLED = "Cloud Scheduler API has not been used in project nightshift-tests before or it is disabled."


@pytest.mark.parametrize(
    ("code", "details", "status", "words"),
    [
        ("PERMISSION_DENIED", "no", 2, "permission denied in project nightshift-tests: expected the role roles/cloud"),
        (
            "PERMISSION_DENIED",
            DISABLED,
            2,
            "run `gcloud services enable cloudscheduler.googleapis.com --project nights",
        ),
        ("UNAUTHENTICATED", "who", 2, "run `gcloud auth application-default login`"),
        ("NOT_FOUND", "no such location", 2, "not found: no such location"),
        ("INVALID_ARGUMENT", "bad", 2, "Google Cloud refused it: bad"),
        ("INTERNAL", "broken", 1, "Google Cloud failed: InternalServerError: broken"),
    ],
)
def test_failures_say_what_to_do(cloud, capsys, code, details, status, words):
    """One line, and no traceback."""
    cloud.failures.append(("ListJobs", grpc.StatusCode[code], details))

    assert main(["plan"]) == status

    said = capsys.readouterr().err
    assert words in said
    assert said.startswith(f"reading the jobs in {PARENT}: ")


def test_nobody_at_home_is_given_up_on(cloud, monkeypatch, capsys):
    """Within the bound of a call, not within the library's minutes."""
    monkeypatch.setenv("CLOUD_SCHEDULER_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    monkeypatch.setattr("scheduler.cloud_client.BOUNDED_RETRY", _short_retry())

    assert main(["plan"]) == 1

    assert "Google Cloud did not answer in time, try again" in capsys.readouterr().err


def test_without_credentials_it_says_how_to_get_some(monkeypatch, tmp_path, capsys):
    """Before anything is asked."""
    monkeypatch.setenv("PROJECT_ID", "nightshift-tests")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))

    assert main(["plan"]) == 2

    assert "gcloud auth application-default login" in capsys.readouterr().err


def test_without_a_project_there_is_no_cloud(capsys):
    """The message names the variable."""
    assert main(["plan"]) == 2

    assert "PROJECT_ID: expected" in capsys.readouterr().err


def test_a_plan_for_what_is_as_wanted_is_empty():
    """Without any client: the comparison alone."""
    wanted = [wanted_job(job, "t") for job in read_jobs().values()]

    assert plan_changes(wanted, list(reversed(wanted))) == []
    assert all(isinstance(job, CloudJob) and job.is_ours for job in wanted)


def _short_retry():
    from scheduler.google_errors import BOUNDED_RETRY

    return BOUNDED_RETRY.with_timeout(0.3)
