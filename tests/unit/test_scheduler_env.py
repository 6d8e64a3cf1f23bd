"""`python -m scheduler ... --env ENV` finds what is deployed there, and says who asks.

gcloud itself cannot be asked without an account; a script in its place prints what it does (SDK 528), and writes down
what it was asked. Everything behind it is real: nightly-transform, and a front that lets nobody in without the token,
as Cloud Run does.
"""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from scheduler.__main__ import main
from scheduler.deployed import Deployed
from shared.config import ROOT
from tests.emulators.cloud_scheduler import cloud_scheduler_emulator

GCLOUD = """#!/bin/sh
printf '%s\\n' "$*" >> "{calls}"
case "$*" in
  "run services describe"*) {describe} ;;
  *--audiences=*) {audiences} ;;
  "auth print-identity-token") echo token-of-a-person ;;
  "logging read"*) cat "{entries}" ;;
esac
"""
NO_AUDIENCE = (
    "echo 'ERROR: (gcloud.auth.print-identity-token) Invalid account type for `--audiences`. "
    "Requires valid service account.' >&2; exit 1"
)
NOT_THERE = "echo 'WARNING: an update is there' >&2; "
NOT_THERE += "echo 'ERROR: (gcloud.run.services.describe) Cannot find service [nightly-transform]' >&2; exit 1"
NO_ACCOUNT = """cat >&2 <<'END'
ERROR: (gcloud.auth.print-identity-token) You do not currently have an active account selected.
Please run:

  $ gcloud auth login
END
exit 1"""


class Front(ThreadingHTTPServer):
    """Cloud Run in front of a function: hands on who has the token, and refuses everyone else in HTML."""

    daemon_threads = True

    def __init__(self, behind, token):
        super().__init__(("127.0.0.1", 0), FrontHandler)
        self.behind, self.token, self.asked = behind, token, []
        self.url = f"http://127.0.0.1:{self.server_port}"


class FrontHandler(BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self._answer(403, b"<html><title>403 Forbidden</title></html>", "text/html")
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {"Content-Type": self.headers.get("Content-Type", "application/json")}
        answer = httpx.request(self.command, self.server.behind + self.path, content=body, headers=headers, timeout=60)
        self._answer(answer.status_code, answer.content, answer.headers["Content-Type"])

    do_POST = do_GET  # noqa: N815 - the name http.server looks for

    def _answer(self, status, body, content_type):
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def environments(tmp_path, monkeypatch):
    """The environments of the repository with projects filled in, where the commands look for them."""
    folder = tmp_path / "environments"
    folder.mkdir()
    for name in ("dev", "staging", "prod"):
        text = (ROOT / "environments" / f"{name}.env").read_text()
        (folder / f"{name}.env").write_text(text.replace("PROJECT_ID=\n", f"PROJECT_ID=acme-{name}\n", 1))
    monkeypatch.setattr("scheduler.deployed.ENVIRONMENTS", folder)
    return folder


@pytest.fixture
def gcloud(tmp_path, monkeypatch, environments):
    """Put a gcloud on the PATH; its attribute `calls` reads what it was asked."""

    def install(describe, audiences=NO_AUDIENCE, entries="[]"):
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "entries.json").write_text(entries)
        script = tmp_path / "bin" / "gcloud"
        values = {"calls": tmp_path / "calls", "entries": tmp_path / "entries.json"}
        script.write_text(GCLOUD.format(describe=describe, audiences=audiences, **values))
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")

    install.calls = lambda: (tmp_path / "calls").read_text().splitlines() if (tmp_path / "calls").exists() else []
    return install


@pytest.fixture
def front(serve, monkeypatch):
    """A real nightly-transform behind a front that wants a person's token."""
    # Whatever else is there is not what is meant.
    monkeypatch.setenv("NIGHTLY_TRANSFORM_URL", "http://127.0.0.1:9")
    server = Front(serve("nightly_transform", THREADS="2").url, "token-of-a-person")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def said(capsys, *arguments, status=0):
    """Run a command, check its status, and return what it printed."""
    assert main(list(arguments)) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def test_every_command_that_asks_is_let_in(front, gcloud, capsys):
    """The deployed URL, found once a command, with an ID token of whoever gcloud is signed in as."""
    gcloud(f"echo {front.url}")

    assert "nightly 2026-11-20: success, ran now" in said(
        capsys, "trigger", "nightly", "--date", "2026-11-20", "--env", "staging"
    )
    assert "success, ran now" in said(capsys, "rerun", "nightly", "2026-11-20", "--env", "staging")
    days = ("--from", "2026-11-19", "--to", "2026-11-20")
    planned = said(capsys, "backfill", "nightly", *days, "--dry-run", "--env", "staging")
    assert "1 would be queued, 1 left as they are (1 success)" in planned
    assert said(capsys, "runs", "--env", "staging").count("nightly ") == 1
    assert "paused" in said(capsys, "pause", "nightly", "--env", "staging")
    assert "resumed" in said(capsys, "resume", "nightly", "--env", "staging")
    assert [path.split("?")[0] for path in front.asked if "backfill" not in path][:2] == [
        *("/jobs/nightly:trigger", "/runs/nightly/2026-11-20:rerun"),
    ]
    where = "--project=acme-staging --quiet"
    assert gcloud.calls() == 6 * [
        f"run services describe nightly-transform --region=europe-west1 --format=value(status.url) {where}",
        f"auth print-identity-token --audiences={front.url}",
        "auth print-identity-token",
    ]


def test_a_service_account_says_for_whom_its_token_is(front, gcloud, capsys):
    """Cloud Run holds it to that; no second token is asked for."""
    front.token = "token-of-a-service"
    gcloud(f"echo {front.url}", audiences="echo token-of-a-service")

    assert "no runs" in said(capsys, "runs", "--env", "prod")
    assert gcloud.calls()[1:] == [f"auth print-identity-token --audiences={front.url}"]


def test_an_account_that_may_not_call_is_told_where_that_is_decided(front, gcloud, capsys):
    """Cloud Run's own refusal is a page of HTML."""
    gcloud(f"echo {front.url}", audiences="echo token-of-a-stranger")

    words = said(capsys, "runs", "--env", "dev", status=2)

    assert words.startswith("/runs answered 403: your account may not call it: is it in INVOKERS_NIGHTLY_TRANSFORM of")
    assert "environments/dev.env" in words
    assert "html" not in words


def test_what_the_function_refuses_comes_through_as_it_is(front, gcloud, capsys):
    """Its own words, and its own status."""
    gcloud(f"echo {front.url}")

    words = said(capsys, "backfill", "nightly", "--from", "2026-11-19", "--to", "2026-11-20", "--env", "dev", status=2)

    assert words.startswith("/jobs/nightly:backfill answered 409: PROJECT_ID is not set")
    assert "INVOKERS" not in words


@pytest.mark.parametrize(
    ("describe", "audiences", "words", "status"),
    [
        (
            NOT_THERE,
            NO_AUDIENCE,
            "gcloud run services describe nightly-transform: ERROR: (gcloud.run.services.describe) Cannot find service",
            1,
        ),
        ("true", NO_AUDIENCE, "nightly-transform has no URL in acme-dev yet: has ./deploy.sh dev ended well?", 1),
        ("echo x y", NO_AUDIENCE, "nightly-transform has no URL in acme-dev yet", 1),
        ("echo http://127.0.0.1:9", NO_ACCOUNT, "active account selected. Please run: $ gcloud auth login", 1),
        (
            "echo http://127.0.0.1:9",
            NO_AUDIENCE,
            "nothing answers at http://127.0.0.1:9 (ConnectError): see ./deploy.sh dev",
            1,
        ),
    ],
)
def test_what_stands_in_the_way_is_one_line(gcloud, capsys, describe, audiences, words, status):
    """gcloud's own words where it has some."""
    gcloud(describe, audiences)

    error = said(capsys, "runs", "--env", "dev", status=status)

    assert words in error
    assert error.count("\n") == 1


def test_an_environment_that_is_not_there_is_named(environments, capsys):
    """An empty name as well: a variable that was not set must not mean this machine."""
    for name in ("stage", ""):
        words = said(capsys, "trigger", "nightly", "--env", name, status=2)

        assert f"expected an environment: dev, prod, staging, got {name!r}" in words


def test_a_project_that_is_not_filled_in_is_named(environments, capsys):
    """As deploying would."""
    path = environments / "dev.env"
    path.write_text(path.read_text().replace("acme-dev", ""))

    assert "environments/dev.env:5: PROJECT_ID: expected" in said(capsys, "plan", "--env", "dev", status=2)


def test_without_gcloud_its_absence_is_the_message(environments, monkeypatch, tmp_path, capsys):
    """The commands that ask this machine need none."""
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "gcloud: expected Google Cloud's command line" in said(capsys, "runs", "--env", "dev", status=2)


def test_logs_come_from_cloud_logging(gcloud, capsys):
    """The newest at the end, as the local ones; which job and run is asked of Cloud Logging."""
    entries = [
        {
            "timestamp": f"2026-11-21T02:1{minute}:00.5Z",
            "severity": severity,
            "jsonPayload": {"message": message, "job": "nightly", "key": "2026-11-20", "attempt": 1},
        }
        for minute, severity, message in ((1, "ERROR", "the run failed"), (0, "INFO", "the run began"))
    ]
    gcloud("true", entries=json.dumps(entries))

    lines = said(capsys, "logs", "nightly", "2026-11-20", "-n", "7", "--env", "staging").splitlines()

    assert [" ".join(line.split()) for line in lines] == [
        "2026-11-21 2026-11-20#1 02:10:00.5Z the run began",
        "2026-11-21 2026-11-20#1 02:11:00.5Z ERROR the run failed",
    ]
    (call,) = gcloud.calls()
    assert 'jsonPayload.job="nightly" AND jsonPayload.key="2026-11-20"' in call
    assert " --limit=7 " in call
    assert " --project=acme-staging" in call


@pytest.mark.parametrize("entries", ["nonsense", '[{"timestamp": "x"}]', "[1]", '{"a": 1}'])
def test_an_answer_that_is_no_log_is_named(gcloud, capsys, entries):
    """Whatever came."""
    gcloud("true", entries=entries)

    words = said(capsys, "logs", "nightly", "--env", "staging", status=1)

    assert "gcloud logging read answered something else than log entries" in words


def test_no_logs_say_so(gcloud, capsys):
    """And nothing else."""
    gcloud("true")

    assert said(capsys, "logs", "nightly", "--env", "staging") == "no lines about nightly\n"


def test_a_file_of_dead_letters_is_no_environments(environments, capsys):
    """Those of an environment are in Pub/Sub."""
    assert "not both" in said(capsys, "redrive", "--file", "--env", "dev", status=2)


def test_a_token_is_asked_for_anew_before_it_ends(gcloud, monkeypatch, environments):
    """It is good for an hour; a backfill may be watched for longer. Threads share one."""
    from deployment.environment import read_environment

    gcloud("echo https://nightly.example", audiences="echo token")
    deployed = Deployed(read_environment("dev", environments))

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: deployed.token(), range(40))) == {"token"}
    assert len(gcloud.calls()) == 2
    monkeypatch.setattr("scheduler.deployed._TOKEN_SECONDS", -1.0)
    deployed._expires = 0.0

    assert [deployed.token(), deployed.token()] == ["token", "token"]
    assert len(gcloud.calls()) == 4


def test_schedules_are_planned_and_applied_in_the_environments_project(environments, monkeypatch, capsys):
    """Whatever PROJECT_ID and REGION say on this machine; what is to be typed next names the environment too."""
    monkeypatch.setenv("PROJECT_ID", "not-this-one")
    monkeypatch.setenv("REGION", "us-central1")
    with cloud_scheduler_emulator() as cloud:
        monkeypatch.setenv("CLOUD_SCHEDULER_EMULATOR_HOST", cloud.host)

        assert "python -m scheduler apply --env staging" in said(capsys, "plan", "--env", "staging")
        assert "nightshift-nightly: done" in said(capsys, "apply", "--env", "staging")
        assert "nothing to do" in said(capsys, "plan", "--env", "staging")

        (job,) = [job for name, job in cloud.jobs.items() if name.endswith("/nightshift-nightly")]
    assert job.name == "projects/acme-staging/locations/europe-west1/jobs/nightshift-nightly"
    assert job.pubsub_target.topic_name == "projects/acme-staging/topics/nightly"


@pytest.mark.xdist_group("pubsub")
def test_dead_letters_are_redriven_in_the_environments_project(environments, pubsub, monkeypatch, capsys):
    """Where Pub/Sub has them, without anybody naming the project by hand."""
    from google.pubsub_v1 import Subscription

    from tests.emulators.pubsub import PROJECT

    topic = pubsub.new_topic()
    pubsub.create_topic(f"{topic}-dead-letters")
    names = {"name": f"projects/{PROJECT}/subscriptions/{topic}-dead-letters"}
    names["topic"] = f"projects/{PROJECT}/topics/{topic}-dead-letters"
    pubsub._subscriber.create_subscription(Subscription(**names, ack_deadline_seconds=600), timeout=20)
    pubsub.publish(f"{topic}-dead-letters", b'{"job": "nightly", "key": "2026-11-01"}')
    path = environments / "staging.env"
    path.write_text(path.read_text().replace("acme-staging", PROJECT))
    monkeypatch.setenv("PROJECT_ID", "not-this-one")
    monkeypatch.setenv("NIGHTLY_TOPIC", topic)

    assert "1 delivered again" in said(capsys, "redrive", "--env", "staging")
