"""The gcloud of the tests is the SDK's: it answers, fails and stops as the one that is started anew."""

import base64
import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from deployment.rehearsal.control_plane import TOKEN, serving
from deployment.rehearsal.wire import Answer, Api, ApiError, api, route
from deployment.rehearsal.world import World

_PROJECT = "example-staging"


class _Cloud:
    """A few methods of two APIs, and the environment in which gcloud finds them.

    Attributes:
        environment: Of the calls.
        secrets: What was sent as the data of a secret.
        asked: Set once a call waits for an answer that only comes when `go_on` is set.
    """

    def __init__(self) -> None:
        self.environment: dict[str, str] = {}
        self.secrets: list[bytes] = []
        self.asked, self.go_on = threading.Event(), threading.Event()

    def apis(self) -> list[Api]:
        base = "/v1/projects/{project}"
        return [
            api(
                "pubsub.googleapis.com",
                route("GET", f"{base}/topics", lambda _: {"topics": [{"name": f"projects/{_PROJECT}/topics/nightly"}]}),
                route("GET", f"{base}/topics/{{topic}}", self._refuse),
                route("GET", f"{base}/subscriptions", self._wait),
            ),
            api(
                "secretmanager.googleapis.com",
                route("POST", f"{base}/secrets", lambda request: {"name": f"{request.path[4:]}/key"}),
                route("POST", f"{base}/secrets/{{secret}}:addVersion", self._keep),
            ),
        ]

    def _refuse(self, request):
        raise ApiError(403, "PERMISSION_DENIED", f"No, not {request.parts['topic']} – für niemanden")

    def _wait(self, _):
        self.asked.set()
        self.go_on.wait(60)
        return Answer({})

    def _keep(self, request):
        self.secrets.append(base64.urlsafe_b64decode(request.json["payload"]["data"]))
        return {"name": f"projects/{_PROJECT}/secrets/{request.parts['secret']}/versions/{len(self.secrets)}"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory):
    """Serve the few methods; everything else is 501."""
    folder = tmp_path_factory.mktemp("cloud")
    world = World(folder)
    project = f"//cloudresourcemanager.googleapis.com/projects/{_PROJECT}"
    world.resources[project] = {"projectId": _PROJECT, "projectNumber": "123"}
    for service in ("pubsub", "secretmanager"):
        name = f"//serviceusage.googleapis.com/projects/{_PROJECT}/services/{service}.googleapis.com"
        world.resources[name] = {"state": "ENABLED"}
    (folder / "token").write_text(TOKEN)
    cloud = _Cloud()
    with serving(world, cloud.apis(), folder) as (proxy, authority):
        cloud.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "CLOUDSDK_CONFIG": str(folder / "settings"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(folder / "token"),
            "CLOUDSDK_CORE_PROJECT": _PROJECT,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(authority.ca_path),
            "HTTPS_PROXY": proxy.url,
        }
        yield cloud


@pytest.fixture
def call(cloud, launcher, gcloud_folder, tmp_path):
    """Return a caller of gcloud, started anew or fast."""

    def run(*arguments, fast, data=None, **environment):
        command = gcloud_folder / "gcloud" if fast else launcher.resolve()
        ended = subprocess.run(
            [command, *arguments],
            input=data,
            env={name: value for name, value in (cloud.environment | environment).items() if value is not None},
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
        )
        out, err = (told.decode("utf-8", "surrogateescape") for told in (ended.stdout, ended.stderr))
        return ended.returncode, out, err

    return run


@pytest.fixture
def start(cloud, launcher, gcloud_folder):
    """Return a starter of gcloud that does not wait for its end."""

    def run(*arguments, fast, **environment):
        command = gcloud_folder / "gcloud" if fast else launcher.resolve()
        pipe = subprocess.PIPE
        environment = cloud.environment | environment
        return subprocess.Popen([command, *arguments], env=environment, stdin=pipe, stdout=pipe, stderr=pipe)

    return run


@pytest.mark.parametrize(
    "line",
    [
        "",
        "version",
        "meta list-files-for-upload .",
        "pubsub topics list --colour=red",
        "pubsub topics lst",
        "pubsub topics create",
        "secrets create key --replication-policy=everywhere",
        "pubsub topics list",
        "pubsub topics list --format=json",
        "pubsub topics describe nightly",
        "config get project",
        "run deploy --help",
    ],
)
def test_a_call_prints_and_ends_as_the_launcher_s_the_first_time_and_the_second(call, line, tmp_path):
    """Standard output, standard error and exit status are the same: answers, refusals, mistakes and help."""
    (tmp_path / "main.py").write_text("")
    told = call(*line.split(), fast=False)
    first = call(*line.split(), fast=True)
    second = call(*line.split(), fast=True)
    assert first == told
    assert second == told


@pytest.mark.parametrize(
    ("line", "environment"),
    [
        ("pubsub topics list --format=json", {"PYTHONUNBUFFERED": "1"}),
        ("pubsub topics describe nightly", {"PYTHONIOENCODING": "latin-1:replace"}),
        ("pubsub topics describe nightly", {"COLUMNS": "40"}),
        ("config get storage/tracker_files_directory", {}),
        ("config list --all --format=json", {"CLOUDSDK_CONFIG": None}),
    ],
)
def test_what_the_environment_changes_it_changes_alike(call, line, environment):
    """Buffering, encoding, width, folders and settings are those of the call's environment."""
    told = call(*line.split(), fast=False, data=b"", **environment)
    assert call(*line.split(), fast=True, data=b"", **environment) == told


def test_the_cases_compared_hold_answers_and_failures(call):
    """Not every line fails for one reason that has nothing to do with it, such as no cloud."""
    assert call("pubsub", "topics", "list", "--format=value(name)", fast=True)[:2] == (
        0,
        f"projects/{_PROJECT}/topics/nightly\n",
    )
    assert "No, not nightly – für niemanden" in call("pubsub", "topics", "describe", "nightly", fast=True)[2]
    assert call("pubsub", "topics", "lst", fast=True)[0] == 2


def test_interpreter_path_variables_and_settings_are_the_launcher_s(call):
    """`gcloud info` says the same of both, but for the logs that each wrote."""
    told, fast = (
        json.loads(call("info", "--format=json", fast=fast, CLOUDSDK_CONFIG=None)[1]) for fast in (False, True)
    )
    for info in (told, fast):
        del info["logs"]
    assert fast == told


def test_standard_input_reaches_the_call(call, cloud):
    """A secret's data is what the caller's standard input held, byte for byte."""
    data = bytes(range(256))
    for fast in (False, True):
        told = call("secrets", "create", "key", "--data-file=-", "--replication-policy=automatic", fast=fast, data=data)
        assert told[0] == 0, told[2]
    assert cloud.secrets[-2:] == [data, data]


def test_calls_at_once_keep_to_their_own_environment(start, tmp_path):
    """Eight calls under way together each see their project, their settings and their region."""
    calls = []
    for number in range(8):
        own = {"CLOUDSDK_CORE_PROJECT": f"project-{number}", "CLOUDSDK_CONFIG": str(tmp_path / f"{number}")}
        if number % 2:
            own["CLOUDSDK_RUN_REGION"] = f"region-{number}"
        calls.append(start("config", "list", "--format=json", fast=True, **own))
    seen = [json.loads(call.communicate(timeout=60)[0]) for call in calls]
    assert [one["core"]["project"] for one in seen] == [f"project-{number}" for number in range(8)]
    regions = [one.get("run", {}).get("region") for one in seen]
    assert regions == [f"region-{number}" if number % 2 else None for number in range(8)]


def test_settings_written_by_a_call_are_read_by_the_next_with_their_folder_only(call, tmp_path):
    """No value outlives a call in the process: it is in the files of its CLOUDSDK_CONFIG or nowhere."""
    ours, theirs = str(tmp_path / "ours"), str(tmp_path / "theirs")
    assert call("config", "set", "run/region", "europe-west1", fast=True, CLOUDSDK_CONFIG=ours)[0] == 0
    assert call("config", "get", "run/region", fast=True, CLOUDSDK_CONFIG=ours)[1] == "europe-west1\n"
    assert call("config", "get", "run/region", fast=True, CLOUDSDK_CONFIG=theirs)[1] == ""
    assert (Path(ours) / "logs").is_dir()


def test_umask_and_folder_are_the_caller_s(cloud, gcloud_folder, tmp_path):
    """Files are made where and as the caller's own process would make them."""
    environment = cloud.environment | {"CLOUDSDK_CONFIG": "here"}
    command = [gcloud_folder / "gcloud", "config", "set", "run/region", "europe-west1"]
    subprocess.run(command, env=environment, cwd=tmp_path, umask=0o077, check=True, capture_output=True)
    assert (tmp_path / "here" / "active_config").stat().st_mode & 0o777 == 0o600


def _waiting(start, cloud, *, fast):
    cloud.asked.clear()
    cloud.go_on.clear()
    call = start("pubsub", "subscriptions", "list", fast=fast)
    assert cloud.asked.wait(60)
    return call


def test_an_interrupted_call_ends_as_the_launcher_s(start, cloud):
    """Ctrl-C is passed on, and the caller dies of it."""
    ended = []
    for fast in (False, True):
        call = _waiting(start, cloud, fast=fast)
        call.send_signal(signal.SIGINT)
        out, err = call.communicate(timeout=60)
        cloud.go_on.set()
        ended.append((call.returncode, out, err))
    assert ended[0] == ended[1]
    assert ended[1][0] == -signal.SIGINT


def test_a_killed_caller_takes_its_call_with_it(start, cloud):
    """A time-out of subprocess.run leaves nothing behind that still changes the cloud."""
    call = _waiting(start, cloud, fast=True)
    call.kill()
    # Ends once the last process that held it is gone.
    assert call.communicate(timeout=30) == (b"", b"")
    cloud.go_on.set()


def test_a_variable_that_the_sdk_reads_while_it_is_imported_goes_to_the_launcher(call):
    """What an imported SDK could not honour is not lost."""
    status, out, _ = call("version", fast=True, CLOUDSDK_PYTHON="/bin/echo")
    assert status == 0
    assert out.endswith("lib/gcloud.py version\n")
