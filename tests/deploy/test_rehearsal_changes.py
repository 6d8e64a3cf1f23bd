"""What an environment goes through after it was made: each change alone is planned, made, and made whole."""

import re

import pytest

from tests.deploy.deployed import SERVICES, Deployed, check_calls, check_release, essence
from tests.deploy.rehearsing import STAGING, replace_in

_HEALTHY = "healthy, and closed to strangers"
# What somebody might miss: results, payloads, messages that wait, images that another environment may run.
_DATA = {
    *("firestore", "storage.googleapis.com/buckets", "secretmanager.googleapis.com/secrets"),
    *("pubsub.googleapis.com/topics", "pubsub.googleapis.com/subscriptions"),
    *(
        "artifactregistry.googleapis.com/repositories",
        "artifactregistry.googleapis.com/repositories/nightshift/packages",
    ),
}
_ALERTS = ("nightshift-errors", "nightshift-missed-deadlines")


def _touched(repository, function="list_results"):
    """Change a function's code and nothing that it does."""
    main = repository / "functions" / function / "main.py"
    main.write_text(main.read_text("utf-8") + "\n# Changed.\n", "utf-8")
    return repository


def _updates(run):
    """Return the commands that moved traffic."""
    return [words for words in run.commands if words[:3] == ["run", "services", "update-traffic"]]


def _revision(rehearsed, service="list-results"):
    (name,) = rehearsed.traffic(service)
    return name


def test_each_changed_function_is_released_alone(staging, changed_repository):
    """A changed setting runs the same image; changed code is built; each is tried without traffic before it gets it."""
    staging.repository, image = _touched(changed_repository()), _image(staging, "predict")
    staging.set("staging", MEMORY_PREDICT="2Gi")
    old = _revision(staging)
    planned = staging.run("staging", "--plan").expect(3)
    assert [(row.kind, row.what) for row in planned.rows] == [
        ("~ change", "function list-results"),
        ("~ change", "function predict"),
    ]
    assert (planned.rows[1].before, planned.rows[1].after) == ("memory 1Gi", "memory 2Gi")
    some = staging.run("staging", "--yes", "--only", "predict").expect(0)
    assert (some.deployed(), some.built()) == (["predict"], [])
    assert _image(staging, "predict") == image
    assert _revision(staging) == old
    rest = staging.run("staging", "--yes").expect(0)
    assert (rest.deployed(), rest.built()) == (["list-results"], ["list-results"])
    assert _image(staging) != image
    new = _revision(staging)
    assert new != old
    assert rest.traffic("list-results") == [f"{new}=100"]
    check_release(rest, "list-results")
    assert f"tried before it gets traffic: list_results: {_HEALTHY}" in rest.output
    assert f"tried with its traffic: list_results: {_HEALTHY}" in rest.output
    check_calls(rest.calls)


@pytest.mark.timeout(600)
def test_traffic_moves_by_shares_and_back(staging):
    """A canary gets its share, the next run the rest; a rollback goes to what was before, or to what is named."""
    staging.set("staging", MEMORY_LIST_RESULTS="1Gi")
    old = _revision(staging)
    staging.run("staging", "--yes", "--canary", "10").expect(0)
    (new,) = staging.traffic("list-results").keys() - {old}
    assert staging.traffic("list-results") == {old: 90, new: 10}
    rest = staging.run("staging", "--yes").expect(0)
    assert [row.what for row in rest.rows] == ["traffic of list-results"]
    assert rest.deployed() == []
    assert staging.traffic("list-results") == {new: 100}
    staging.run("staging", "--yes", "--rollback", old).expect(0)
    assert staging.traffic("list-results") == {old: 100}
    again = staging.run("staging", "--yes").expect(0)
    assert again.deployed() == []
    assert staging.traffic("list-results") == {new: 100}
    back = staging.run("staging", "--yes", "--rollback").expect(0)
    assert [words[3] for words in _updates(back)] == ["list-results"]
    assert staging.traffic("list-results") == {old: 100}
    before = essence(staging.state)
    nonsense = staging.run("staging", "--yes", "--rollback", "list-results-00009-zzz").expect(2)
    assert f"{old}, {new}" in nonsense.errors
    assert len(nonsense.errors.splitlines()) == 1
    assert essence(staging.state) == before


def test_what_was_changed_by_hand_is_shown_and_put_right(staging):
    """A setting and a variable of a function as drift; a caller, a grant, a subscription and rules as changes."""
    before = essence(staging.state)
    state, place = staging.state, f"//run.googleapis.com/projects/{STAGING}/locations/europe-west1/services"
    container = state["resources"][f"{place}/list-results"]["spec"]["template"]["spec"]["containers"][0]
    container["resources"]["limits"]["memory"] = "2Gi"
    container["env"].append({"name": "EXTRA", "value": "1"})
    state["policies"][f"{place}/predict"]["bindings"][0]["members"].append("allUsers")
    by_condition = {"role": "roles/run.invoker", "members": ["allUsers"], "condition": {"title": "Now"}}
    state["policies"][f"{place}/list-results"]["bindings"].append(by_condition)
    push = f"//pubsub.googleapis.com/projects/{STAGING}/subscriptions/store-result"
    del state["resources"][push], state["policies"][push]
    state["resources"][push.replace("store-result", "nightly-transform")]["ackDeadlineSeconds"] = 10
    state["policies"][f"//cloudresourcemanager.googleapis.com/projects/{STAGING}"]["bindings"].append(
        {"role": "roles/owner", "members": [f"serviceAccount:nightshift-predict@{STAGING}.iam.gserviceaccount.com"]}
    )
    staging.keep(state)
    run = staging.run("staging", "--yes").expect(0)
    rows = {(row.kind, row.what): row for row in run.rows}
    drift = rows["! drift", "function list-results"]
    assert (drift.before, drift.after) == ("env EXTRA 1, memory 2Gi", "env EXTRA unset, memory 512Mi")
    assert rows["- delete", "callers of predict: roles/run.invoker"].before == "allUsers"
    assert rows["- delete", "callers of list-results: roles/run.invoker"].before == "allUsers"
    assert ("- delete", f"project {STAGING}: roles/owner") in rows
    assert ("+ create", "subscription store-result") in rows or ("+ create", "subscription") in rows
    changed = rows["~ change", "subscription nightly-transform"]
    assert (changed.before, changed.after) == ("ack-deadline 10", "ack-deadline 600")
    assert "changed by hand" in run.output
    Deployed(staging.state, staging.repository).check()
    after = essence(staging.state)
    assert after["policies"] == before["policies"]


def test_traffic_that_would_follow_whatever_is_newest_is_pinned_again(staging):
    """Though it goes where it should today: what is deployed next would get it untried."""
    state, place = staging.state, f"//run.googleapis.com/projects/{STAGING}/locations/europe-west1/services"
    targets = state["resources"][f"{place}/predict"]["spec"]["traffic"]
    tags = [{**target, "percent": 0} for target in targets if target.get("tag")]
    state["resources"][f"{place}/predict"]["spec"]["traffic"] = [{"latestRevision": True, "percent": 100}, *tags]
    staging.keep(state)
    run = staging.run("staging", "--yes").expect(0)
    (row,) = run.rows
    assert (row.what, row.before) == ("traffic of predict", f"{row.after}, asked for whatever is newest 100 %")
    assert run.deployed() == []
    asked = [target["revisionName"] for target in staging.service("predict")["spec"]["traffic"]]
    assert set(asked) == set(staging.traffic("predict"))


def test_callers_and_letters_are_as_the_file_says(staging, changed_repository):
    """INVOKERS_ lets people in and puts them out; ALERT_EMAIL makes one channel, which the alerts write to."""
    team, ana = "group:team@example.com", "user:ana@example.com"
    assert _written_to(staging) == dict.fromkeys(_ALERTS, 0)
    staging.set("staging", INVOKERS_PREDICT=f"{ana},{team}", ALERT_EMAIL="oncall@example.com")
    run = staging.run("staging", "--yes").expect(0)
    assert run.deployed() == []
    Deployed(staging.state, staging.repository, {"predict": {ana, team}}).check()
    assert _written_to(staging) == dict.fromkeys(_ALERTS, 1)
    pristine, staging.repository = staging.repository, changed_repository()
    replace_in(staging.repository / "deployment" / "resources" / "alerts.py", "severity>=ERROR", "severity>=CRITICAL")
    staging.set("staging", INVOKERS_PREDICT=team)
    run = staging.run("staging", "--yes").expect(0)
    assert [(row.kind, row.what) for row in run.rows] == [
        ("~ change", "alert"),
        ("- delete", "callers of predict: roles/run.invoker"),
    ]
    assert _filter(staging).endswith("severity>=CRITICAL")
    assert _written_to(staging) == dict.fromkeys(_ALERTS, 1)
    staging.repository = pristine
    staging.set("staging", ALERT_EMAIL="")
    staging.run("staging", "--yes").expect(0)
    Deployed(staging.state, staging.repository, {"predict": {team}}).check()
    assert _filter(staging).endswith("severity>=ERROR")
    assert _written_to(staging) == dict.fromkeys(_ALERTS, 0)


def test_destroying_leaves_nothing_of_ours_but_data_and_then_not_even_that(staging):
    """It is planned first; then all is gone but the project, its APIs and data; --with-data takes these too."""
    before = essence(staging.state)
    planned = staging.run("staging", "--plan", "--destroy").expect(3)
    assert {row.kind for row in planned.rows} == {"- delete"}
    assert essence(staging.state) == before
    staging.run("staging", "--yes", "--destroy").expect(0)
    assert _left(staging) == _DATA
    project = staging.state["policies"][f"//cloudresourcemanager.googleapis.com/projects/{STAGING}"]
    assert "nightshift-" not in str(project["bindings"])
    staging.run("staging", "--yes", "--destroy", "--with-data").expect(0)
    assert _left(staging) == set()
    assert "nothing to remove" in staging.run("staging", "--yes", "--destroy", "--with-data").expect(0).output


def test_status_shows_what_runs_and_changes_nothing(staging):
    """Every function, its revision and where it answers."""
    run = staging.run("staging", "--status").expect(0)
    for service in SERVICES:
        assert re.search(rf"^{service} +{_revision(staging, service)} 100 %.+https://{service}-", run.output, re.M)


def _image(rehearsed, service="list-results"):
    return rehearsed.service(service)["spec"]["template"]["spec"]["containers"][0]["image"]


def _written_to(rehearsed):
    """Return how many are written to, by the alert's title."""
    found = (each for name, each in rehearsed.state["resources"].items() if "/alertPolicies/" in name)
    return {each["displayName"]: len(each.get("notificationChannels", ())) for each in found}


def _filter(rehearsed):
    found = (each for name, each in rehearsed.state["resources"].items() if "/alertPolicies/" in name)
    (errors,) = (each for each in found if each["displayName"] == "nightshift-errors")
    return errors["conditions"][0]["conditionMatchedLog"]["filter"]


def _left(rehearsed):
    """Return what sorts of things there are beside the project, its APIs, and what Google makes for itself."""
    googles = ("//cloudresourcemanager", "//serviceusage", "//serviceagents", "//firebaserules")
    names = essence(rehearsed.state)["resources"]
    ours = (name.removeprefix("//") for name in names if not name.startswith(googles) and "/run-sources-" not in name)
    kinds = (re.sub(r"projects/[^/]+/(locations/[^/]+/)?", "", name).rpartition("/")[0] for name in ours)
    return {"firestore" if kind.startswith("firestore.") else kind for kind in kinds}
