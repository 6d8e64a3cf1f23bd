"""`./deploy.sh staging` out of nothing: everything that an environment is, and a second run that finds it so."""

import zipfile

import pytest

from functions._staging.stage import function_names, stage
from tests.deploy.deployed import Deployed, check_calls
from tests.deploy.rehearsing import STAGING

MOST_GCLOUD_CALLS = 16


def test_one_run_makes_the_whole_environment(created):
    """All that the files say is there, as they say it, and the rehearsed cloud knew every call."""
    rehearsed, run = created
    Deployed(rehearsed.state, rehearsed.repository).check()
    check_calls(run.calls)


def test_a_second_run_has_nothing_to_do(staging, record_property):
    """It says so, changes nothing, and reads with few calls, whose number and time it prints."""
    before = staging.state
    run = staging.run("staging", "--yes").expect(0)
    assert "nothing to do: everything is as the files say" in run.output
    assert run.gcloud_calls == len(run.commands) <= MOST_GCLOUD_CALLS, run.commands
    assert [
        call for call in run.calls if call["method"] != "GET" and "getIamPolicy" not in call["path"].split(":")
    ] == []
    assert [call for call in run.calls if call["host"] == "iap.googleapis.com"] == []
    assert staging.state == before
    check_calls(run.calls)
    record_property("gcloud_calls", run.gcloud_calls)


@pytest.mark.parametrize("function", function_names())
def test_what_was_built_is_what_was_staged_and_nothing_else(created, tmp_path, function):
    """The archive that reached the build holds the staged files alone: no .env, no caches, no environments."""
    rehearsed, _ = created
    uploads = rehearsed.cloud / "objects" / f"run-sources-{STAGING}-europe-west1"
    (archive,) = uploads.glob(f"services%2F{function.replace('_', '-')}%2F*.zip")
    staged = stage(function, tmp_path / "staged", rehearsed.repository)
    (staged / "requirements-tensorflow.txt").unlink(missing_ok=True)
    with zipfile.ZipFile(archive) as files:
        uploaded = {name: files.read(name) for name in files.namelist() if not name.endswith("/")}
    assert uploaded == {p.relative_to(staged).as_posix(): p.read_bytes() for p in staged.rglob("*") if p.is_file()}
    assert not [name for name in uploaded if name.endswith((".env", ".pyc")) or ".venv" in name]


def test_the_secret_is_shown_nowhere(created):
    """Its value is in none of what was printed, asked or called."""
    rehearsed, run = created
    (value,) = {path.read_text("utf-8") for path in (rehearsed.cloud / "secrets").rglob("*") if path.is_file()}
    assert len(value) >= 32
    printed = (run.output, run.errors, str(run.commands), (rehearsed.cloud / "state.json").read_text("utf-8"))
    assert not [text for text in printed if value in text]
