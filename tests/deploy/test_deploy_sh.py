"""deploy.sh itself: what it refuses before anything is set up or asked."""

import os
import shutil
import subprocess

import pytest

from shared.config import ROOT

_TOOLS = ("bash", "env", "dirname", "readlink", "cut", "cat", "grep")
# What it comes to when it refuses nothing.
_WENT_ON = 99


@pytest.fixture
def deploy_sh(tmp_path):
    """Return a runner of deploy.sh, which finds a gcloud of a version, or none, and a `make` that goes no further."""

    def run(*arguments, version="528.0.0", **variables):
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in _TOOLS:
            (tools / name).symlink_to(shutil.which(name))
        _script(tools / "make", f"exit {_WENT_ON}")
        if version:
            (tmp_path / "sdk" / "bin").mkdir(parents=True)
            (tmp_path / "sdk" / "VERSION").write_text(f"{version}\n", "utf-8")
            _script(tmp_path / "sdk" / "bin" / "gcloud", "exit 98")
            (tools / "gcloud").symlink_to(tmp_path / "sdk" / "bin" / "gcloud")
        environment = {"PATH": str(tools), "HOME": str(tmp_path), **variables}
        return subprocess.run([ROOT / "deploy.sh", *arguments], env=environment, capture_output=True, text=True)

    return run


def test_with_nothing_in_the_way_it_goes_on(deploy_sh):
    """Otherwise the refusals below would show nothing."""
    ended = deploy_sh("staging")
    assert (ended.returncode, ended.stderr) == (_WENT_ON, "")


@pytest.mark.parametrize(
    "name",
    [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "CLOUDSDK_PROXY_ADDRESS",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN",
        "PUBSUB_EMULATOR_HOST",
        "FIRESTORE_EMULATOR_HOST",
        "STORAGE_EMULATOR_HOST",
        "CLOUD_SCHEDULER_EMULATOR_HOST",
    ],
)
def test_a_real_deployment_does_not_go_through_anything_else(deploy_sh, name):
    """A proxy, an override or an emulator is named, and refused."""
    ended = deploy_sh("staging", **{name: "http://127.0.0.1:1"})
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"unset {name}, or rehearse with --rehearse" in line


@pytest.mark.parametrize("rehearse", ["--rehearse", "--rehearse=somewhere"])
def test_a_rehearsal_may_find_them_set(deploy_sh, rehearse):
    """It leads to this machine whatever is set."""
    assert deploy_sh("staging", rehearse, HTTPS_PROXY="http://127.0.0.1:1").returncode == _WENT_ON


@pytest.mark.parametrize(
    ("version", "said"), [(None, "needs Google Cloud's command line"), ("527.0.1", "this is 527.0.1")]
)
def test_no_gcloud_or_an_old_one_is_said_with_what_to_do(deploy_sh, version, said):
    """In one line that says where it is from, or how it is brought up to date."""
    ended = deploy_sh("staging", version=version)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert said in line
    assert "https://cloud.google.com/sdk" in line or "gcloud components update" in line


def test_it_can_be_run_as_it_is():
    """As the README has it."""
    assert os.access(ROOT / "deploy.sh", os.X_OK)


def _script(path, line):
    path.write_text(f"#!/bin/sh\n{line}\n", "utf-8")
    path.chmod(0o755)
