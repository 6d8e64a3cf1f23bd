"""The example workflow: what it asks of deploy.sh is there to be asked, it needs no keys, and production is last."""

import re
import shlex
import subprocess

import pytest
import yaml

from deployment.options import parser
from shared.config import ROOT

TEXT = (ROOT / ".github/workflows/deploy.yml").read_text("utf-8")
WORKFLOW = yaml.safe_load(TEXT)
JOBS = WORKFLOW["jobs"]
DEPLOYING = [name for name, job in JOBS.items() if any("./deploy.sh" in step.get("run", "") for step in job["steps"])]
INVOCATIONS = [
    (job, arguments)
    for job in JOBS
    for step in JOBS[job]["steps"]
    for arguments in re.findall(r"\./deploy\.sh([^\n|;&]*)", step.get("run", ""))
]


def steps_of(job, action):
    """Return the steps of a job that use an action, with the place of each."""
    return [(place, step) for place, step in enumerate(JOBS[job]["steps"]) if step.get("uses", "").startswith(action)]


def test_staging_and_production_are_deployed():
    """Each by one invocation, so that the tests below test something."""
    assert [job for job, _ in INVOCATIONS] == DEPLOYING == ["staging", "production"]


@pytest.mark.parametrize(("job", "arguments"), INVOCATIONS)
def test_every_invocation_is_one_that_deploy_sh_takes(job, arguments):
    """With options it has, and of an environment that has a file."""
    options = parser().parse_args(shlex.split(arguments))

    assert (ROOT / f"environments/{options.environment}.env").is_file()
    assert options.environment == {"staging": "staging", "production": "prod"}[job]


def test_staging_is_not_asked_and_production_has_its_projects_id_typed():
    """There is nobody at the keyboard; a protected environment wants its id, --yes or not."""
    staging, production = (parser().parse_args(shlex.split(arguments)) for _, arguments in INVOCATIONS)
    script = JOBS["production"]["steps"][-1]

    assert staging.yes
    assert not production.yes
    assert script["shell"] == "bash"


@pytest.mark.parametrize("line", ["PROJECT_ID=mine-prod", 'PROJECT_ID="mine-prod"', "PROJECT_ID=mine-prod "])
def test_what_is_typed_is_the_project_id_of_the_file(tmp_path, line):
    """However it is written there."""
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments/prod.env").write_text(f"# PROJECT_ID=other\n{line}\nREGION=europe-west1\n")
    (tmp_path / "deploy.sh").write_text('#!/bin/sh\necho "$@"\ncat\n')
    (tmp_path / "deploy.sh").chmod(0o755)

    script = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", JOBS["production"]["steps"][-1]["run"]]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout == "prod\nmine-prod\n"


def test_there_is_no_key():
    """Neither a secret of GitHub's nor a file of Google's that holds for years."""
    assert "secrets." not in TEXT
    assert not re.search(r"credentials_json|service_account_key|private_key|_KEY\b|password", TEXT)


@pytest.mark.parametrize("job", DEPLOYING)
def test_deploying_signs_in_by_workload_identity_before_gcloud_is_set_up(job):
    """Both inputs, from variables; without the account gcloud would not be a service account."""
    ((signed_in, auth),) = steps_of(job, "google-github-actions/auth@")
    ((set_up, _),) = steps_of(job, "google-github-actions/setup-gcloud@")

    assert steps_of(job, "actions/checkout@")[0][0] < signed_in < set_up
    assert auth["with"] == {
        "workload_identity_provider": "${{ vars.WORKLOAD_IDENTITY_PROVIDER }}",
        "service_account": "${{ vars.SERVICE_ACCOUNT }}",
    }


def test_permissions_are_the_least():
    """Reading the code, and a token for Google where something is deployed; nothing writes to the repository."""
    assert WORKFLOW["permissions"] == {"contents": "read"}
    for name, job in JOBS.items():
        wanted = {"contents": "read", "id-token": "write"} if name in DEPLOYING else None
        assert job.get("permissions") == wanted, name
        for _, step in steps_of(name, "actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_production_comes_after_staging_and_staging_after_the_tests():
    """On main alone, and only where somebody has switched it on; `on` is a truth value to YAML 1.1."""
    assert WORKFLOW[True] == "push"
    assert JOBS["production"]["needs"] == "staging"
    assert JOBS["staging"]["needs"] == "test"
    assert {"make check", "make test"} <= {step.get("run") for step in JOBS["test"]["steps"]}
    for job in DEPLOYING:
        assert JOBS[job]["if"] == "github.ref == 'refs/heads/main' && vars.DEPLOY == '1'"


def test_production_waits_for_approval_in_an_environment_of_its_own():
    """GitHub asks the reviewers of the environment that a job names."""
    assert [JOBS[job]["environment"] for job in DEPLOYING] == DEPLOYING


def test_two_deployments_of_an_environment_never_overlap():
    """The one under way ends first, and one that waits for approval keeps no other environment waiting."""
    groups = [JOBS[job]["concurrency"] for job in DEPLOYING]

    assert [group["cancel-in-progress"] for group in groups] == [False, False]
    assert len({group["group"] for group in groups}) == len(groups)


def test_gcloud_is_new_enough_and_has_what_is_not_in_its_core():
    """deploy.sh says which; the tests' emulators are components too."""
    (needed,) = set(re.findall(r"-lt ([0-9]+)", (ROOT / "deploy.sh").read_text("utf-8")))

    assert int(WORKFLOW["env"]["GCLOUD"].partition(".")[0]) >= int(needed)
    for name in JOBS:
        ((_, step),) = steps_of(name, "google-github-actions/setup-gcloud@")
        assert step["with"]["version"] == "${{ env.GCLOUD }}"
        assert {"beta"} <= set(step["with"]["install_components"].split(","))


def test_what_signing_in_leaves_in_the_tree_is_no_change():
    """Production refuses a tree with changes."""
    assert "gha-creds-*.json" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


def test_every_action_is_held_to_a_version():
    """A major version at least: no branch, which may hold anything tomorrow."""
    used = [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]

    assert used
    assert all(re.fullmatch(r"(actions|google-github-actions)/[\w-]+@(v[0-9]+|[0-9a-f]{40})", use) for use in used)
