"""Production: what ran in staging and nothing else, by the hand of somebody who types where they are."""

import subprocess

import pytest

from tests.deploy.deployed import SERVICES, essence
from tests.deploy.rehearsing import PROD, STAGING

_TYPED = f"{PROD}\n"


@pytest.mark.timeout(600)
def test_production_runs_the_very_images_of_staging(staging, changed_repository):
    """Not without the project's id, not from a dirty tree, not what staging does not run; and it is never destroyed."""
    staging.repository = _committed(changed_repository())
    before = essence(staging.state)
    declined = staging.run("prod", "--yes", "--from", "staging", stdin=f"{STAGING}\n").expect(4)
    assert "Type the project's id to go on" in declined.output
    assert essence(staging.state) == before
    loose = staging.repository / "loose.txt"
    loose.write_text("not committed\n", "utf-8")
    dirty = staging.run("prod", stdin=_TYPED).expect(2)
    assert dirty.errors == "prod: expected a clean tree; commit or stash first\n"
    assert essence(staging.state) == before
    loose.unlink()
    run = staging.run("prod", "--from", "staging", stdin=_TYPED).expect(0)
    assert (run.deployed(), run.built()) == (sorted(SERVICES), [])
    for service in SERVICES:
        assert _image(staging, service, PROD) == _image(staging, service, STAGING)
        assert f"/{STAGING}/nightshift/{service}@sha256:" in _image(staging, service, PROD)
    assert _readers(staging) == [
        f"serviceAccount:service-{_number(staging)}@serverless-robot-prod.iam.gserviceaccount.com"
    ]
    assert staging.state["resources"][_database()]["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED"
    staging.run("prod", "--plan").expect(0)
    refused = staging.run("prod", "--destroy", "--yes", stdin=_TYPED).expect(2)
    assert refused.errors == "--destroy: expected an environment with PROTECTED=0, prod has 1\n"


def test_production_refuses_code_that_staging_does_not_run(staging, changed_repository):
    """Each function is named, with what to do; another origin than the file's is refused as well."""
    repository = changed_repository()
    shared = repository / "shared" / "log.py"
    shared.write_text(shared.read_text("utf-8") + "\n# Changed.\n", "utf-8")
    staging.repository = _committed(repository)
    before = essence(staging.state)
    run = staging.run("prod", "--from", "staging", stdin=_TYPED).expect(2)
    assert [line.partition(":")[0] for line in run.errors.splitlines()] == list(SERVICES)
    assert all("./deploy.sh staging first" in line for line in run.errors.splitlines())
    assert essence(staging.state) == before
    other = staging.run("prod", "--from", "dev", stdin=_TYPED).expect(2)
    assert "PROMOTE_FROM in environments/prod.env says staging" in other.errors


def _committed(repository):
    for words in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["-c", "user.name=Ana", "-c", "user.email=ana@example.com", "commit", "--quiet", "--message=All"],
    ):
        subprocess.run(["git", *words], cwd=repository, check=True)
    return repository


def _image(rehearsed, service, project):
    return rehearsed.service(service, project)["spec"]["template"]["spec"]["containers"][0]["image"]


def _readers(rehearsed):
    name = f"//artifactregistry.googleapis.com/projects/{STAGING}/locations/europe-west1/repositories/nightshift"
    (binding,) = rehearsed.state["policies"][name]["bindings"]
    assert binding["role"] == "roles/artifactregistry.reader"
    return binding["members"]


def _number(rehearsed):
    return rehearsed.state["resources"][f"//cloudresourcemanager.googleapis.com/projects/{PROD}"]["projectNumber"]


def _database():
    return f"//firestore.googleapis.com/projects/{PROD}/databases/(default)"
