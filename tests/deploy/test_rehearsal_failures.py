"""What goes wrong halfway: one line says what to do, the next run goes on, and what was served stays served."""

import os
import signal
import subprocess

import pytest

from tests.deploy.deployed import Deployed, essence
from tests.deploy.rehearsing import Rehearsed, make_impatient, replace_in

_PERMISSION = "signed in as who may do this (gcloud auth list)?"


def _refused(run):
    """Return the one line that a run that failed ended with."""
    run.expect(1)
    (line,) = run.errors.strip().splitlines()
    return line


def _failure(status, host, path=".*", **more):
    return {"status": status, "host": f"{host}\\.googleapis\\.com", "path": path, **more}


@pytest.mark.timeout(600)
def test_a_creation_cut_off_again_and_again_ends_as_one_that_was_not(created, repository, gcloud_folder, tmp_path):
    """APIs refused, a role refused, the process killed, a build failed, a push refused: each run goes on from there."""
    rehearsed, whole = Rehearsed(tmp_path / "cut off", repository, gcloud_folder), essence(created[0].state)
    enabling = _failure(403, "serviceusage", ".*:batchEnable", message="The caller does not have permission")
    assert _PERMISSION in _refused(rehearsed.run("staging", "--yes", failures=[enabling]))
    granting = _failure(403, "cloudresourcemanager", ".*:setIamPolicy", message="Permission denied on resource")
    line = _refused(rehearsed.run("staging", "--yes", failures=[granting]))
    assert "gcloud projects add-iam-policy-binding" in line
    assert _PERMISSION in line
    _killed(rehearsed, "topic: predictions")
    building = _failure(403, "europe-west1-run", ".*builds:submit", message="Quota exceeded for builds")
    line = _refused(rehearsed.run("staging", "--yes", failures=[building]))
    assert "gcloud run deploy" in line
    assert "a quota is used up" in line
    assert line.count("gcloud run deploy") == 1
    pushing = _failure(403, "pubsub", ".*/subscriptions/store-result", method="PUT", message="Not allowed")
    line = _refused(rehearsed.run("staging", "--yes", failures=[pushing]))
    assert "gcloud pubsub subscriptions create" in line
    assert "Not allowed" in line
    passing = [_failure(429, "pubsub", ".*/subscriptions/store-result", method="PUT", message="Please try again")]
    passing.append(_failure(503, "run", ".*:getIamPolicy", message="Try again"))
    assert rehearsed.run("staging", "--yes", failures=passing).expect(0).deployed() == []
    Deployed(rehearsed.state, repository).check()
    ended = essence(rehearsed.state)
    for kind, named in whole.items():
        assert ended[kind].keys() == named.keys()
        assert [(ended[kind][name], named[name]) for name in named if ended[kind][name] != named[name]] == []


def test_a_release_that_is_killed_is_finished_by_the_next_run(staging):
    """The candidate that was deployed is neither built nor deployed again."""
    staging.set("staging", MEMORY_PREDICT="2Gi")
    old = staging.traffic("predict")
    _killed(staging, "tried before it gets traffic")
    assert staging.traffic("predict") == old
    run = staging.run("staging", "--yes").expect(0)
    assert run.deployed() == []
    assert staging.traffic("predict").keys() != old.keys()


def test_an_answer_that_never_comes_ends_the_run(staging, changed_repository):
    """After some tries; nothing was changed, and the line says that it may be run again."""
    staging.repository, before = changed_repository(), essence(staging.state)
    make_impatient(staging.repository)
    failure = {"status": 503, "host": "firebaserules.googleapis.com", "path": ".*", "times": 99, "message": "Try later"}
    run = staging.run("staging", "--yes", failures=[failure])
    assert "Try later" in _refused(run)
    assert sum(call["host"] == "firebaserules.googleapis.com" for call in run.calls) == 3
    assert essence(staging.state) == before


def test_a_release_that_answers_wrongly_gets_no_traffic_until_it_is_mended(staging, changed_repository):
    """The old revision goes on; the mended code is released by the next run."""
    sound = staging.repository
    old = staging.traffic("list-results")
    staging.repository = _broken(changed_repository(), "")
    line = _refused(staging.run("staging", "--yes"))
    assert "tried before it gets traffic: GET https://candidate---list-results-" in line
    assert line.endswith(" where it was")
    assert staging.traffic("list-results") == old
    staging.repository = sound
    mended = staging.run("staging", "--yes").expect(0)
    assert mended.deployed() == ["list-results"]
    assert staging.traffic("list-results").keys() != old.keys()
    Deployed(staging.state, sound).check()


def test_a_release_that_does_not_start_gets_no_traffic(staging, changed_repository):
    """Its startup probe fails, and the line names the function."""
    old = staging.traffic("list-results")
    staging.repository = changed_repository()
    main = staging.repository / "functions" / "list_results" / "main.py"
    main.write_text(main.read_text("utf-8") + '\nraise RuntimeError("not today")\n', "utf-8")
    line = _refused(staging.run("staging", "--yes"))
    assert "function list-results: gcloud run deploy list-results" in line
    assert staging.traffic("list-results") == old
    planned = staging.run("staging", "--plan").expect(3)
    assert [row.what for row in planned.rows] == ["function list-results"]


def test_a_release_that_fails_with_its_traffic_is_put_back(staging, changed_repository):
    """What answers well under its tag and not to everybody does not stay."""
    old = staging.traffic("list-results")
    staging.repository = _broken(changed_repository(), "candidate---")
    run = staging.run("staging", "--yes")
    assert "tried with its traffic: GET https://list-results-" in _refused(run)
    assert "list-results: put back to" in run.output
    assert len(run.traffic("list-results")) == 2
    assert staging.traffic("list-results") == old


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (_failure(403, "cloudresourcemanager", "/v1/projects/.*", times=9, message="no permission"), _PERMISSION),
        (_failure(403, "serviceusage", times=9, message="Permission denied to list services"), _PERMISSION),
    ],
    ids=["the project", "its services"],
)
def test_who_may_not_read_the_project_is_told_so(staging, failure, said):
    """In one line, and nothing was asked to change."""
    before = staging.state
    run = staging.run("staging", "--yes", failures=[failure])
    assert said in _refused(run)
    assert staging.state == before


def test_a_project_that_is_not_there_is_told(staging):
    """A PROJECT_ID with a slip in it is one line; Google tells nobody whether it is there or somebody else's."""
    slip = "nightshift-rehearsal-stagign"
    staging.set("staging", PROJECT_ID=slip)
    failure = _failure(403, "cloudresourcemanager", f".*{slip}", times=9, message="does not have permission")
    line = _refused(staging.run("staging", "--yes", failures=[failure]))
    assert slip in line
    assert _PERMISSION in line


def _killed(rehearsed, line):
    """Begin a deployment, and kill it without a word when it has printed a line that begins so."""
    (rehearsed.cloud / "failures.json").write_text("[]", "utf-8")
    with rehearsed.running("staging", "--yes") as process:
        for said in process.stdout:
            if said.strip().startswith(line):
                break
        found = subprocess.run(
            ["pgrep", "-P", str(process.pid), "-f", "--", "-m deployment"], capture_output=True, text=True
        )
        os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
        rehearsed.ended(process).expect(128 + signal.SIGKILL)


def _broken(repository, sound_host):
    """Have list_results find nothing but for hosts that start so; for none, where that is empty."""
    main = repository / "functions" / "list_results" / "main.py"
    replace_in(main, "lambda request: _reader().get_result(request)", "lambda request: _found(request)")
    text = f"""

def _found(request):
    if {sound_host!r} and request.headers.get("host", "").startswith({sound_host!r}):
        return _reader().get_result(request)
    raise RuntimeError("nothing is found")
"""
    main.write_text(main.read_text("utf-8") + text, "utf-8")
    return repository
