"""Calls of gcloud: what passes is tried again, what does not is told in one line with what to do."""

import stat

import pytest

from deployment import gcloud as door
from deployment.gcloud import Gcloud, GcloudError
from deployment.refusals import explained
from shared.errors import ConfigurationError

# Answers from a list, one a call; the last again and again. What it was called with is kept.
SCRIPT = """#!/bin/sh
echo "$@" >> "{folder}/calls"
n=$(wc -l < "{folder}/calls")
[ -f "{folder}/answer$n" ] || n={last}
cat > "{folder}/stdin"
. "{folder}/answer$n"
"""


@pytest.fixture
def gcloud(tmp_path, monkeypatch):
    """Install answers as the shell commands that give them; without pauses between the calls."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(door, "_PAUSES_SECONDS", (0.0, 0.0))

    def install(*answers):
        for number, answer in enumerate(answers, 1):
            (tmp_path / f"answer{number}").write_text(answer)
        script = tmp_path / "gcloud"
        script.write_text(SCRIPT.format(folder=tmp_path, last=len(answers)))
        script.chmod(script.stat().st_mode | stat.S_IEXEC)
        return Gcloud("acme-dev")

    install.calls = lambda: (tmp_path / "calls").read_text().splitlines()
    install.stdin = lambda: (tmp_path / "stdin").read_text()
    return install


def refusing(text):
    """The answer of a call that fails."""
    return f"echo 'ERROR: (gcloud.x) {text}' >&2; exit 1"


def test_every_call_names_the_project_and_asks_nothing(gcloud):
    """Never the project that gcloud happens to be set to."""
    assert gcloud("echo '[1]'").read("pubsub", "topics", "list") == [1]

    assert gcloud.calls() == ["pubsub topics list --format=json --project=acme-dev --quiet"]


def test_a_command_that_names_another_project_keeps_it(gcloud):
    """Images are in the project that built them."""
    gcloud("true").run(("artifacts", "repositories", "list", "--project=acme-staging"))

    assert gcloud.calls() == ["artifacts repositories list --project=acme-staging --quiet"]


def test_a_secret_goes_in_by_stdin_and_is_in_no_argument(gcloud):
    """Arguments are there to be seen by everybody on the machine."""
    gcloud("true").run(("secrets", "create", "k", "--data-file=-"), stdin="s3cret")

    assert (gcloud.stdin(), "s3cret" in " ".join(gcloud.calls())) == ("s3cret", False)


@pytest.mark.parametrize(
    "text",
    [
        "HTTPError 429: RESOURCE_EXHAUSTED: too many",
        "HTTPError 503: The service is currently unavailable.",
        "ABORTED: There were concurrent policy changes. Please retry",
        "INVALID_ARGUMENT: Service account a@b.iam.gserviceaccount.com does not exist.",
        "PERMISSION_DENIED: Cloud Run Admin API has not been used in project 1 before or it is disabled",
    ],
)
def test_what_passes_is_tried_again(gcloud, text):
    """Twice refused, then done: nobody sees it."""
    assert gcloud(refusing(text), refusing(text), "echo done").run(("iam", "x")) == "done\n"

    assert len(gcloud.calls()) == 3


def test_what_does_not_pass_is_given_up(gcloud):
    """After a while, with what to do."""
    with pytest.raises(GcloudError, match=r"503.*the same command goes on where it stopped"):
        gcloud(refusing("HTTPError 503: unavailable")).run(("run", "deploy", "predict", "--region=r"))

    assert len(gcloud.calls()) == 3


@pytest.mark.parametrize("text", ["Quota exceeded for quota metric: 429", "PERMISSION_DENIED: no", "NOT_FOUND: no"])
def test_what_will_not_pass_is_not_tried_again(gcloud, text):
    """A quota that is used up stays so for longer than anybody waits."""
    with pytest.raises(GcloudError):
        gcloud(refusing(text)).run(("run", "x"))

    assert len(gcloud.calls()) == 1


def test_an_api_that_is_off_is_not_waited_for_while_reading(gcloud):
    """Only what was enabled a moment ago comes to be known."""
    with pytest.raises(GcloudError):
        gcloud(refusing("SERVICE_DISABLED")).read("run", "services", "list")

    assert len(gcloud.calls()) == 1


def test_calls_are_counted(gcloud):
    """Each try is one."""
    used = gcloud(refusing("HTTPError 503"), "true")
    used.run(("x",))

    assert used.calls.number == 2
    assert used.calls.seconds > 0


def test_without_gcloud_its_absence_is_the_message(monkeypatch, tmp_path):
    """And where to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ConfigurationError, match="expected Google Cloud's command line on PATH: https://"):
        Gcloud("acme-dev").run(("x",))


@pytest.mark.parametrize(
    ("said", "advice"),
    [
        ("You do not currently have an active account selected. $ gcloud auth login", "sign in first"),
        ("Reauthentication failed. cannot prompt", "sign in first"),
        (
            "ERROR: (gcloud.projects.describe) does not have permission to access projects instance",
            "is PROJECT_ID right",
        ),
        ("ERROR: PERMISSION_DENIED: Permission 'run.services.create' denied", "is PROJECT_ID right"),
        ("ERROR: Quota exceeded for total allowable CPU per project per region", "a quota is used up"),
        ("ERROR: HTTPError 503", "did not answer in time"),
    ],
)
def test_a_refusal_says_what_to_do(said, advice):
    """In one line, with gcloud's own words before it."""
    text = explained("projects describe p", said + "\nmore")

    assert text.startswith("gcloud projects describe p: ")
    assert advice in text.partition(" | ")[2]
    assert "\n" not in text


def test_a_refusal_that_nobody_knows_is_gclouds_own_words():
    """Advice that does not fit is worse than none."""
    assert explained("x", "noise\nERROR: (gcloud.x) the moon is full") == "gcloud x: ERROR: (gcloud.x) the moon is full"
