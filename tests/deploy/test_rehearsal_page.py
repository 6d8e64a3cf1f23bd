"""The page in the three ways that WEB_ACCESS knows, from one to the other, and what a release of it is held to."""

import ssl
from contextlib import contextmanager

import httpx
import pytest

from deployment.rehearsal.running import running_rehearsal
from tests.deploy.deployed import Deployed, check_calls, check_release, essence
from tests.deploy.rehearsing import STAGING, make_impatient, replace_in

ANA, TEAM = "user:ana@example.com", "group:team@example.com"
REACHED = "web: the page names staging, and reaches list_results, nightly_transform, predict, store_result in its own"
_WEB = f"//run.googleapis.com/projects/{STAGING}/locations/europe-west1/services/web"
_RESULT = {"model": "digits", "version": "1", "instances": [[1]], "predictions": [[2]]}
_OF_THE_PAGE = {"Sec-Fetch-Site": "same-origin"}


def test_a_release_of_the_page_reaches_every_other_function_in_its_own_name(created):
    """It is looked at, and asked for its status, which asks the four with the ID tokens of its own account."""
    rehearsed, run = created
    assert f"tried before it gets traffic: {REACHED}" in run.output
    assert f"tried with its traffic: {REACHED}" in run.output
    assert [call["status"] for call in run.calls if call["path"] == "/api/status"] == [200, 200]
    assert {call["status"] for call in run.calls if call["host"].startswith("web-") and call["path"] == "/"} == {200}
    assert rehearsed.service("web")["metadata"]["labels"]["managed-by"] == "nightshift"


def test_a_page_that_does_not_reach_the_others_gets_no_traffic(staging, changed_repository):
    """Nobody let it in there: the line names whom it did not reach, and the old revision goes on."""
    old = staging.traffic("web")
    staging.repository = changed_repository()
    make_impatient(staging.repository)
    invokers = staging.repository / "deployment" / "resources" / "invokers.py"
    replace_in(invokers, "in other.calls}", 'in other.calls and other.function != "web"}')
    staging.set("staging", MIN_INSTANCES_WEB="1")
    run = staging.run("staging", "--yes").expect(1)
    assert "tried before it gets traffic: expected: web: list_results, nightly_transform, predict," in run.errors
    assert "list_results: " in run.errors.partition("; got ")[2]
    assert staging.traffic("web") == old


@pytest.mark.timeout(600)
def test_the_sign_in_stands_in_front_of_the_page_lets_its_people_through_and_goes_again(staging):
    """Switched on, its people changed by the file and by hand, a release tried through it, and switched off."""
    private = essence(staging.state)
    staging.set("staging", WEB_ACCESS="iap", INVOKERS_WEB=f"{ANA},{TEAM}")
    on = staging.run("staging", "--yes").expect(0)
    assert on.deployed() == []
    _check(staging, "iap", ANA, TEAM)
    assert on.commands.index(_line(on, "--iap")) < on.commands.index(_line(on, f"--member={ANA}"))
    same = staging.run("staging", "--plan").expect(0)
    assert [call["method"] for call in same.calls if call["host"] == "iap.googleapis.com"] == ["POST"]
    state = staging.state
    policy = state["policies"][f"//iap.googleapis.com/projects/{STAGING}/iap_web/cloud_run-europe-west1/services/web"]
    policy["bindings"][0]["members"].append("user:mallory@example.com")
    policy["bindings"].append({**policy["bindings"][0], "members": ["allUsers"], "condition": {"title": "Now"}})
    staging.keep(state)
    staging.set("staging", INVOKERS_WEB=TEAM, MIN_INSTANCES_WEB="1")
    changed = staging.run("staging", "--yes").expect(0)
    what = "sign-in of web: roles/iap.httpsResourceAccessor"
    assert {(row.kind, row.before) for row in changed.rows if row.what == what} == {
        ("- delete", each) for each in (ANA, "user:mallory@example.com", "allUsers")
    }
    check_calls(changed.calls)
    assert changed.deployed() == ["web"]
    assert "tried before it gets traffic: web: healthy, and strangers have to sign in" in changed.output
    assert f"tried before it gets traffic: {REACHED}" in changed.output
    with _strangers(staging) as ask:
        assert ask("GET", "/").headers["location"].startswith("https://accounts.google.com/")
    staging.set("staging", WEB_ACCESS="private", INVOKERS_WEB=ANA)
    staging.run("staging", "--yes").expect(0)
    _check(staging, "private", ANA)
    staging.set("staging", INVOKERS_WEB="")
    staging.run("staging", "--yes").expect(0)
    assert {name: each for name, each in essence(staging.state)["policies"].items() if each} == {
        name: each for name, each in private["policies"].items() if each
    }


def test_a_sign_in_that_was_not_taken_away_whole_is_taken_away_by_the_next_run(staging):
    """It is off only when nobody is left whom nobody would look for then."""
    staging.set("staging", WEB_ACCESS="iap", INVOKERS_WEB=f"{ANA},{TEAM}")
    staging.run("staging", "--yes").expect(0)
    staging.set("staging", WEB_ACCESS="private")
    failure = {"status": 403, "host": "iap.googleapis.com", "path": ".*:setIamPolicy", "after": 1, "message": "Not now"}
    staging.run("staging", "--yes", failures=[failure]).expect(1)
    staging.run("staging", "--yes").expect(0)
    _check(staging, "private", ANA, TEAM)


@pytest.mark.timeout(600)
def test_a_public_page_changes_nothing_from_the_first_moment_to_the_last(staging):
    """Everybody is let in once the read-only revision has the traffic and none before it a URL; put out before that."""
    staging.set("staging", MIN_INSTANCES_WEB="1")
    staging.run("staging", "--yes").expect(0)
    (writing,) = staging.traffic("web")
    staging.set("staging", WEB_ACCESS="public", INVOKERS_WEB=ANA)
    before = essence(staging.state)
    canary = staging.run("staging", "--yes", "--canary", "10").expect(2)
    assert canary.errors == "--canary: not while web is made public: all of it has to be read-only\n"
    only = staging.run("staging", "--yes", "--only", "predict").expect(2)
    assert only.errors == "--only: expected web among them, which WEB_ACCESS=public makes read-only\n"
    assert essence(staging.state) == before
    run = staging.run("staging", "--yes").expect(0)
    assert "tried before it gets traffic: web: changes nothing, since it is for everybody" in run.output
    assert {call["status"] for call in run.calls if call["path"] == "/api/results"} == {403}
    moved = [words for words in run.commands if words[:3] == ["run", "services", "update-traffic"]]
    assert run.commands.index(_line(run, "--member=allUsers")) > max(run.commands.index(words) for words in moved)
    _check(staging, "public", ANA)
    with _strangers(staging) as ask:
        assert "staging" in ask("GET", "/").text
        refused = ask("POST", "/api/results", json=_RESULT, headers=_OF_THE_PAGE)
        assert (refused.status_code, refused.json()["error"]["details"][0]["reason"]) == (403, "READ_ONLY")
        tags = {t["tag"] for t in staging.service("web")["status"]["traffic"] if t.get("tag")}
        assert tags <= {"candidate", "live"}
        assert ask("POST", "/api/results", tag="previous", json=_RESULT, headers=_OF_THE_PAGE).status_code == 404
    back = staging.run("staging", "--yes", "--rollback", writing).expect(2)
    assert back.errors == f"--rollback: expected a revision of web that is read-only, {writing} is not\n"
    staging.set("staging", WEB_ACCESS="private")
    closed = staging.run("staging", "--yes").expect(0)
    deployed = next(words for words in closed.commands if words[:2] == ["run", "deploy"])
    assert closed.commands.index(_line(closed, "--member=allUsers")) < closed.commands.index(deployed)
    check_release(closed, "web")
    _check(staging, "private", ANA)


def _check(rehearsed, access, *people):
    Deployed(rehearsed.state, rehearsed.repository, {"web": set(people)}, access=access).check()


def _line(run, word):
    """Return the one command that has a word."""
    (found,) = [words for words in run.commands if word in words]
    return found


@contextmanager
def _strangers(rehearsed):
    """Return what asks the page as somebody without a token, at its URL or at a tag's."""
    with running_rehearsal(rehearsed.cloud, [STAGING]) as cloud:
        url = cloud.world.resources[_WEB]["status"]["url"]
        context = ssl.create_default_context(cafile=cloud.authority.ca_path)
        with httpx.Client(proxy=cloud.proxy.url, verify=context, trust_env=False, timeout=60) as http:

            def ask(method, path, tag=None, **options):
                host = url.replace("https://", f"https://{tag}---") if tag else url
                return http.request(method, f"{host}{path}", **options)

            yield ask
