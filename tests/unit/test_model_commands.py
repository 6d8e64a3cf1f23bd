"""python -m model says in one line what it needs, and lists models without any library."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from model.__main__ import main
from model.training import version_directory
from model.training.quiet import quiet_stderr
from shared.errors import ConflictError, ModelError

MODELS = Path(__file__).parents[2] / "model"
BARE = """
import runpy, sys
for library in ("tensorflow", "sklearn", "numpy", "rich", "ai_edge_litert"):
    sys.modules[library] = None
runpy.run_module("model", run_name="__main__", alter_sys=True)
"""


def run_bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run python -m model where no library beyond Python's own can be imported."""
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def test_listing_needs_no_library() -> None:
    """The table has each version with its size and accuracy."""
    done = run_bare("list")

    heading, *rows = done.stdout.splitlines()
    row = next(row for row in rows if row.split()[:2] == ["digits", "1"])
    assert (done.returncode, done.stderr) == (0, "")
    assert heading.split() == ["MODEL", "VERSION", "DEFAULT", "LABELS", "RUNTIMES", "SIZE", "ACCURACY"]
    assert " litert, tensorflow " in row
    assert " kB " in row
    assert row.endswith("%")


def test_listing_shows_a_broken_version_with_its_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An operator sees why a version does not serve, and which one does instead."""
    shutil.copytree(MODELS / "digits" / "1", tmp_path / "digits" / "1")
    (tmp_path / "digits" / "2").mkdir()

    code = main(["list", "--models-dir", str(tmp_path)])

    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert lines[1].split()[:3] == ["digits", "1", "yes"]
    assert lines[2].split() == ["digits", "2", "broken"]
    assert lines[3].startswith("broken: digits/2: holds neither model.json nor saved_model.pb; only SavedModels")


def test_an_empty_folder_lists_no_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing there is not an error; a folder that is not there is one."""
    assert main(["list", "--models-dir", str(tmp_path)]) == 0
    assert main(["list", "--models-dir", str(tmp_path / "nowhere")]) == 1

    shown = capsys.readouterr()
    assert shown.out == "No models\n"
    assert shown.err == "error: the models folder cannot be listed: No such file or directory\n"


def test_training_without_tensorflow_says_what_to_install(tmp_path: Path) -> None:
    """One line, no traceback, exit code 2."""
    done = run_bare("train", "digits", "--models-dir", str(tmp_path))

    assert done.returncode == 2
    assert done.stderr == (
        "Training needs tensorflow and scikit-learn and rich, which this environment lacks. The development "
        "environment has all of it: make test sets it up in .venv-dev\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "letters"], "invalid choice: 'letters' (choose from"),
        (["train", "digits", "--version", "0"], "argument --version: should be a whole number from 1 to"),
        (["train", "digits", "--epochs", "x"], "argument --epochs: should be a whole number from 1 to 10000, is x"),
        (["train", "digits", "--seed", "4294967296"], "argument --seed: should be a whole number from 0 to"),
        ([], "the following arguments are required: command"),
    ],
)
def test_wrong_arguments_are_explained(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and what would have done, as with any command."""
    with pytest.raises(SystemExit) as raised:
        main(arguments)

    assert raised.value.code == 2
    assert message in capsys.readouterr().err


def test_an_unknown_model_lists_those_that_can_be_trained(capsys: pytest.CaptureFixture[str]) -> None:
    """The names are in the message."""
    with pytest.raises(SystemExit):
        main(["train", "letters"])

    assert "digits" in capsys.readouterr().err.splitlines()[-1]


def test_the_next_version_is_one_after_the_highest(tmp_path: Path) -> None:
    """Numbers are compared as numbers, and other names do not count."""
    assert version_directory.next_version(tmp_path / "digits") == 1

    for name in ("2", "10", "1x", "notes"):
        (tmp_path / "digits" / name).mkdir(parents=True)

    assert version_directory.next_version(tmp_path / "digits") == 11


def test_a_version_appears_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    """While it is filled and after a failure, there is neither a version nor a remainder."""
    version_dir = tmp_path / "digits" / "1"

    def fail_halfway() -> None:
        with version_directory.staged_version(version_dir) as staged:
            (staged / "half").write_text("")
            assert not version_dir.exists()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()

    assert list((tmp_path / "digits").iterdir()) == []


def test_an_existing_version_is_kept_unless_it_is_forced(tmp_path: Path) -> None:
    """A version that was served must not change under its number by accident."""
    version_dir = tmp_path / "digits" / "1"
    version_dir.mkdir(parents=True)
    (version_dir / "old").write_text("")

    with pytest.raises(ConflictError, match=r"^digits version 1 exists already: .* --force$"):
        version_directory.staged_version(version_dir).__enter__()
    with version_directory.staged_version(version_dir, force=True) as staged:
        (staged / "new").write_text("")

    assert [path.name for path in version_dir.iterdir()] == ["new"]
    assert [path.name for path in version_dir.parent.iterdir()] == ["1"]


def test_a_version_that_came_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    """Two trainings of one number: the second fails and leaves the first alone."""
    version_dir = tmp_path / "digits" / "1"

    def come_second() -> None:
        with version_directory.staged_version(version_dir):
            version_dir.mkdir()
            (version_dir / "first").write_text("")

    with pytest.raises(ConflictError):
        come_second()

    assert [path.name for path in version_dir.iterdir()] == ["first"]


def test_a_manifest_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    """What is written is first put through what reads it."""
    with pytest.raises(ModelError, match=r"^digits/1/model\.json: format should be 1, is None$"):
        version_directory.write_manifest(tmp_path, {"name": "digits", "version": 1})

    assert list(tmp_path.iterdir()) == []


def test_json_is_indented_with_numbers_on_one_line() -> None:
    """An image is eight lines to read, and what is written reads back the same."""
    document = {"image": [[0, 1], [-1, 2.5]], "text": ["[ 1,  2 ]", "a  b"], "empty": []}

    text = version_directory.format_json(document)

    assert "    [0, 1],\n    [-1, 2.5]\n" in text
    assert json.loads(text) == document


def test_held_back_lines_are_shown_when_the_work_fails() -> None:
    """What is written to the descriptor itself is kept off the terminal, and comes back with an error."""

    def fail_with_a_reason() -> None:
        with quiet_stderr():
            os.write(2, b"the reason\n")
            raise RuntimeError

    with tempfile.TemporaryFile() as terminal:
        standard_error = os.dup(2)
        os.dup2(terminal.fileno(), 2)
        try:
            with quiet_stderr():
                os.write(2, b"chatter\n")
            os.write(2, b"between\n")
            with pytest.raises(RuntimeError):
                fail_with_a_reason()
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)
        terminal.seek(0)

        assert terminal.read() == b"between\nthe reason\n"
