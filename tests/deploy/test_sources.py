"""What is uploaded for a function: its digest, and TensorFlow where a model needs it."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from deployment.environment import read_environment
from deployment.gcloud import Gcloud
from deployment.names import Names
from deployment.rehearsal.running import running_rehearsal
from deployment.releases import release_changes
from deployment.service_files import read_services
from deployment.sources import make_source
from shared.config import ROOT

pytestmark = pytest.mark.xdist_group("gcloud")

PROJECT = "nightshift-sources"


@pytest.fixture
def repository(tmp_path):
    """The parts of the repository that are staged, to be changed at will."""
    root = tmp_path / "repository"
    for name in ("functions", "shared", "model", "scheduler"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def environment(tmp_path):
    """Staging, with a project."""
    folder = tmp_path / "environments"
    folder.mkdir()
    text = (ROOT / "environments/staging.env").read_text()
    (folder / "staging.env").write_text(text.replace("PROJECT_ID=\n", f"PROJECT_ID={PROJECT}\n"))
    return read_environment("staging", folder)


def service(function):
    """One function's service.yaml."""
    return next(each for each in read_services(ROOT) if each.function == function)


def describe(model: Path, **changes):
    """Change what a model version says of itself."""
    path = model / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


class NothingThere:
    """A project before anything is deployed."""

    def named_services(self):
        """Return no service."""
        return {}


def test_the_same_files_have_the_same_digest_whenever_they_were_written(repository, environment):
    """A laptop and a machine that has just cloned agree."""
    before = make_source(service("list_results"), environment, Gcloud(PROJECT), repository)
    for path in (repository / "functions/list_results").rglob("*"):
        os.utime(path, (1, 1))

    assert make_source(service("list_results"), environment, Gcloud(PROJECT), repository).digest == before.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda root: (root / "shared/paging.py").write_text((root / "shared/paging.py").read_text() + "\n# changed\n"),
        lambda root: (root / "functions/list_results/views.py").rename(root / "functions/list_results/seen.py"),
    ],
)
def test_a_change_of_what_is_uploaded_changes_the_digest(repository, environment, change):
    """Content and names count, of the library as well."""
    before = make_source(service("list_results"), environment, Gcloud(PROJECT), repository).digest
    change(repository)

    assert make_source(service("list_results"), environment, Gcloud(PROJECT), repository).digest != before


def test_another_python_is_another_digest(repository, environment):
    """It is built anew for it."""
    newer = replace(environment, python_runtime="python313")

    first, second = (
        make_source(service("list_results"), of, Gcloud(PROJECT), repository) for of in (environment, newer)
    )
    assert first.digest != second.digest


def test_what_is_of_no_use_to_a_function_does_not_change_it(repository, environment):
    """A change of predict leaves list-results as it is."""
    before = make_source(service("list_results"), environment, Gcloud(PROJECT), repository).digest
    (repository / "functions/predict/decode.py").write_text("# changed\n")

    assert make_source(service("list_results"), environment, Gcloud(PROJECT), repository).digest == before


def test_a_model_for_tensorflow_brings_it_along_and_the_plan_says_so(repository, environment):
    """The larger requirements, four gibibytes, and which version asks for them."""
    describe(repository / "model/digits/1", runtimes=["tensorflow"])

    source = make_source(service("predict"), environment, Gcloud(PROJECT), repository)

    assert source.tensorflow == ("digits/1",)
    assert "tensorflow-cpu==" in (source.folder / "requirements.txt").read_text()
    names = Names(environment, tuple(read_services(ROOT)), "1")
    (change,) = release_changes(names, NothingThere(), {"predict": source}, None, 100)
    assert change.after.endswith("with TensorFlow for digits/1")
    assert "--memory=4Gi" in change.steps[0]


def test_models_for_litert_leave_tensorflow_out(repository, environment):
    """Half a gigabyte that nobody waits for."""
    source = make_source(service("predict"), environment, Gcloud(PROJECT), repository)

    assert source.tensorflow == ()
    assert "tensorflow-cpu" not in (source.folder / "requirements.txt").read_text()
    assert not list(source.folder.glob("requirements-*"))


def test_more_memory_than_tensorflow_needs_is_left_as_it_is(repository, environment):
    """MEMORY_PREDICT counts where it is more."""
    describe(repository / "model/digits/1", runtimes=["tensorflow"])
    source = make_source(service("predict"), environment, Gcloud(PROJECT), repository)
    names = Names(replace(environment, memory={"predict": "8Gi"}), tuple(read_services(ROOT)), "1")

    (change,) = release_changes(names, NothingThere(), {"predict": source}, None, 100)

    assert "--memory=8Gi" in change.steps[0]


def test_models_in_a_bucket_are_asked_too(repository, environment, tmp_path, gcloud_folder, monkeypatch):
    """By the manifests in it; a version without one is a bare SavedModel, which needs TensorFlow."""
    bucket = f"gs://{PROJECT}-models"
    of = replace(environment, models_dir=f"{bucket}/served")
    with running_rehearsal(tmp_path / "cloud", [PROJECT]) as rehearsal:
        for name, value in {**rehearsal.environment, "PATH": f"{gcloud_folder}:{os.environ['PATH']}"}.items():
            monkeypatch.setenv(name, value)
        gcloud = Gcloud(PROJECT)
        # A bucket that the plan is yet to make holds no model either.
        assert make_source(service("predict"), of, gcloud, repository).tensorflow == ()
        gcloud.run(("storage", "buckets", "create", bucket, "--location=europe-west1"))
        assert make_source(service("predict"), of, gcloud, repository).tensorflow == ()
        described = repository / "model/digits/1/model.json"
        gcloud.run(("storage", "cp", str(described), f"{bucket}/served/digits/1/model.json"))
        gcloud.run(("storage", "cp", str(described), f"{bucket}/served/bare/3/saved_model.pb"))

        source = make_source(service("predict"), of, gcloud, repository)

    assert source.tensorflow == ("bare/3",)


def test_the_larger_requirements_hold_the_smaller(repository):
    """Nothing that predict imports is missing where TensorFlow is there."""
    smaller, larger = (
        {line.split("==")[0] for line in (ROOT / "functions/predict" / name).read_text().splitlines() if "==" in line}
        for name in ("requirements.txt", "requirements-tensorflow.txt")
    )

    assert smaller < larger
    assert subprocess.run(["grep", "-q", "tensorflow-cpu", ROOT / "functions/predict/requirements.txt"]).returncode == 1
