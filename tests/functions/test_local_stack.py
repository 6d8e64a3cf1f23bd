"""`python -m functions`: one command, every function, and nothing left behind."""

import os
import pty
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import psutil
import pytest

from functions._local.processes import free_port_base
from shared.config import PORT_OFFSETS, ROOT, child_environment, function_urls


@contextmanager
def stack(tmp_path, *arguments, cwd="/"):
    """Run `python -m functions` until the block ends; yields the process, its base port and its printed lines."""
    base = free_port_base()
    command = [sys.executable, "-m", "functions", "--port-base", str(base), "--state-dir", str(tmp_path / "local")]
    with (tmp_path / "printed").open("wb") as printed:
        process = subprocess.Popen(
            [*command, *arguments], stdout=printed, stderr=subprocess.STDOUT, cwd=cwd, env=child_environment({})
        )
    try:
        wait_for(tmp_path, "Ready", process)
        yield process, base
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def wait_for(tmp_path, text, process=None, seconds=60):
    """Wait until the stack has printed something, and return all that it printed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        printed = (tmp_path / "printed").read_text()
        if text in printed:
            return printed
        assert process is None or process.poll() is None, printed
        time.sleep(0.05)
    raise AssertionError(f"{text!r} was not printed:\n{printed[-3000:]}")


def test_every_function_answers_and_ctrl_c_leaves_nothing(tmp_path):
    """A table of URLs, each of which works; after Ctrl-C status 0 and no process."""
    with stack(tmp_path) as (process, base):
        printed = wait_for(tmp_path, "Ready")
        for function, url in function_urls(f"http://127.0.0.1:{base}").items():
            assert httpx.get(f"{url}/health").status_code == 200
            assert re.search(rf"{function} +{url}", printed)
        assert re.search(r"nightly +10 2 \* \* \* +Etc/UTC +\d{4}-\d\d-\d\d 02:10 UTC", printed)
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 2 * len(PORT_OFFSETS)

    assert process.returncode == 0
    assert not any(child.is_running() for child in children)
    assert {path.name for path in (tmp_path / "local").iterdir()} >= {"page_token_key"}


def test_a_request_is_logged_in_a_readable_line(tmp_path):
    """Lines of all functions come together, each with its function's name in front."""
    with stack(tmp_path, "--only", "list-results,predict", "--no-reload") as (_, base):
        httpx.get(f"http://127.0.0.1:{base + PORT_OFFSETS['list_results']}/nowhere")

        printed = wait_for(tmp_path, "/nowhere")

    line = next(line for line in printed.splitlines() if "/nowhere" in line)
    assert re.match(r"list_results +\d\d:\d\d:\d\d\.\d{3} WARNING GET /nowhere 404 [\d.]+ ms RESULT_NOT_FOUND", line)
    assert "store_result" not in printed


def test_a_taken_port_is_named_before_anything_starts(tmp_path):
    """The message says which port, for which function, and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        base = taken.getsockname()[1] - PORT_OFFSETS["store_result"]
        ended = subprocess.run(
            [sys.executable, "-m", "functions", "--port-base", str(base), "--state-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    assert ended.returncode == 1
    assert f"port {base + 2}, wanted for store_result, is taken" in ended.stderr
    assert "--port-base" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_fresh_forgets_the_state_and_nothing_else(tmp_path):
    """Results are gone; a file of the user's in the same folder is not."""
    (tmp_path / "local").mkdir()
    (tmp_path / "local" / "nightshift.db").write_bytes(b"")
    (tmp_path / "local" / "dead_letters.jsonl").write_text("{}\n")
    (tmp_path / "local" / "thesis.txt").write_text("mine")

    with stack(tmp_path, "--fresh", "--only", "predict"):
        names = {path.name for path in (tmp_path / "local").iterdir()}

    assert names == {"thesis.txt", ".lock"}


def test_two_stacks_never_share_their_state(tmp_path):
    """The second says so before it starts, and --fresh removes nothing under the first."""
    with stack(tmp_path, "--only", "list_results"):
        second = subprocess.run(
            [
                *(sys.executable, "-m", "functions", "--fresh", "--port-base", str(free_port_base())),
                *("--state-dir", str(tmp_path / "local")),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        left = {path.name for path in (tmp_path / "local").iterdir()}

    assert second.returncode == 1
    assert "another stack runs on the state in" in second.stderr
    assert "page_token_key" in left


def append(path, text):
    """Add text to a file, as an editor saves it."""
    path.write_text(path.read_text() + text)


def test_a_change_restarts_only_the_functions_that_use_the_file(tmp_path):
    """A function's own file restarts that function; a library file those that import it; others stay up."""
    house = tmp_path / "house"
    for folder in ("functions", "shared", "model", "scheduler"):
        shutil.copytree(ROOT / folder, house / folder, ignore=shutil.ignore_patterns("__pycache__"))

    with stack(tmp_path, "--only", "predict,list_results", cwd=house) as (process, _):
        before = {child.pid for child in psutil.Process(process.pid).children()}
        append(house / "functions" / "list_results" / "handlers.py", "\n# changed\n")
        wait_for(tmp_path, "list_results: functions/list_results/handlers.py changed, restarted", process)
        after = {child.pid for child in psutil.Process(process.pid).children()}
        append(house / "shared" / "paging.py", "\n# changed\n")
        wait_for(tmp_path, "list_results: shared/paging.py changed, restarted", process)
        append(house / "functions" / "list_results" / "handlers.py", "\nraise SystemExit('planted')\n")
        printed = wait_for(tmp_path, "and it no longer starts", process)

    assert len(before & after) == 1
    assert "predict: " not in printed.replace("POST /v1/models/digits:predict", "")


def test_a_function_that_cannot_start_ends_the_stack_with_its_reason(tmp_path):
    """A wrong setting is named, status 1, nothing left running."""
    ended = subprocess.run(
        [sys.executable, "-m", "functions", "--port-base", str(free_port_base()), "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=child_environment({"STORE_URL": "mongodb://nowhere"}),
    )

    assert ended.returncode == 1
    assert "STORE_URL: expected" in ended.stdout + ended.stderr


def test_ctrl_c_in_a_terminal_ends_everything(tmp_path):
    """The terminal sends the signal to the whole foreground group; the functions still end in order."""
    base = free_port_base()
    pid, terminal = pty.fork()
    if pid == 0:
        arguments = ["--port-base", str(base), "--state-dir", str(tmp_path / "local"), "--only", "predict"]
        os.execv(sys.executable, [sys.executable, "-m", "functions", *arguments])
    printed = read_until(terminal, b"Ready")
    children = psutil.Process(pid).children(recursive=True)

    os.write(terminal, b"\x03")

    read_until(terminal, None)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"\x1b[" in printed, "no colours on a terminal"
    assert children
    assert not any(child.is_running() for child in children)


def read_until(terminal, mark):
    """Read a terminal until the mark was printed, or to its end for None."""
    printed = b""
    while mark is None or mark not in printed:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # how Linux says that the other side has closed
            piece = b""
        if not piece:
            assert mark is None, printed
            return printed
        printed += piece
    return printed


@pytest.mark.parametrize(
    "arguments", [["--port-base", "70000"], ["--port-base", "x"], ["--only", "nonsense"], ["walk"]]
)
def test_wrong_arguments_are_explained(arguments):
    """One line that names what was expected, and no traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "functions", *arguments], capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode in (1, 2)
    assert "expected" in ended.stderr or "invalid choice" in ended.stderr
    assert "Traceback" not in ended.stderr
