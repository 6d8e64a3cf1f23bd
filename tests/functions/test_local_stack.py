"""`python -m functions`: one command, every function, and nothing left behind."""

import json
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
from datetime import UTC, datetime, timedelta

import httpx
import psutil
import pytest

from functions._local.console import StackConsole
from functions._local.embedded import embedded_delivery
from functions._local.log_files import LogFiles
from functions._local.processes import free_port_base
from functions._local.stack import Stack
from scheduler.delivery import Faults
from shared.config import PORT_OFFSETS, ROOT, child_environment, function_urls, read_settings
from shared.jobs import read_jobs
from shared.topics import Topic
from tests.emulators.receiver import eventually

EXAMPLE = json.loads((ROOT / "model/digits/1/model.json").read_bytes())["example"]


@contextmanager
def stack(tmp_path, *arguments, cwd="/", **env):
    """Run `python -m functions` until the block ends; yields the process, its base port and its printed lines."""
    base = free_port_base()
    command = [sys.executable, "-m", "functions", "--port-base", str(base), "--state-dir", str(tmp_path / "local")]
    with (tmp_path / "printed").open("wb") as printed:
        process = subprocess.Popen(
            [*command, *arguments], stdout=printed, stderr=subprocess.STDOUT, cwd=cwd, env=child_environment(env)
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


def url_of(base, function):
    """Return where a function of a stack answers."""
    return f"http://127.0.0.1:{base + PORT_OFFSETS[function]}"


def listed(base):
    """Return every result that list-results has."""
    answer = httpx.get(f"{url_of(base, 'list_results')}/?page_size=500")
    assert answer.status_code == 200, answer.text
    return answer.json()["results"]


def pending(tmp_path, topic):
    """Return the files of a topic's messages that nobody acknowledged."""
    return list((tmp_path / "local" / "pending" / topic).glob("*.json"))


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


def test_log_lines_that_cannot_be_kept_are_printed_all_the_same(tmp_path):
    """On a full disk, which is said once; a function whose lines nobody read would hang."""
    (tmp_path / "local" / "logs").mkdir(parents=True)
    (tmp_path / "local" / "logs" / "list_results.jsonl").symlink_to("/dev/full")

    with stack(tmp_path, "--only", "list_results", "--no-reload") as (_, base):
        for name in ("first", "second", "third"):
            httpx.get(f"{url_of(base, 'list_results')}/{name}")
        printed = wait_for(tmp_path, "/third")

    assert "/first" in printed
    assert "/second" in printed
    assert printed.count("log lines are printed, and not kept while that fails: [Errno 28]") == 1
    assert "Traceback" not in printed


@pytest.mark.parametrize("place", ["file", "/proc/x", "x" * 300])
def test_a_state_folder_that_cannot_be_is_named(tmp_path, place):
    """A file, a place where nothing can be made, a name that is too long: told, and nothing is started."""
    (tmp_path / "file").touch()
    command = [sys.executable, "-m", "functions", "--port-base", str(free_port_base()), "--fresh"]
    ended = subprocess.run(
        [*command, "--state-dir", str(tmp_path / place)], capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode == 1
    assert "expected a folder that can be written, for --state-dir" in ended.stderr
    assert len(ended.stderr.splitlines()) == 2


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
    written = ("nightshift.db", "nightshift.db-wal", "page_token_key", "dead_letters.jsonl", "logs/web.jsonl.1")
    written += ("pending/nightly/1.json", "objects/ab/cdef", "objects/export/2026-11-21.parquet")
    for name in (*written, "thesis.txt", "mine/objects/data"):
        (tmp_path / "local" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "local" / name).write_text("{}")

    with stack(tmp_path, "--fresh", "--only", "predict"):
        names = {str(path.relative_to(tmp_path / "local")) for path in (tmp_path / "local").rglob("*")}

    assert names - {"logs", "logs/predict.jsonl"} == {
        "thesis.txt",
        "mine",
        "mine/objects",
        "mine/objects/data",
        ".lock",
    }


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


def test_what_predict_logs_is_stored_through_the_topic(tmp_path):
    """LOG_PREDICTIONS on a laptop: predict, Google's client, the embedded broker, store-result, list-results."""
    with stack(tmp_path, "--only", "predict,store_result,list_results", "--no-reload", LOG_PREDICTIONS="1") as (
        _,
        base,
    ):
        answer = httpx.post(f"{url_of(base, 'predict')}/v1/models/digits:predict", json=EXAMPLE, timeout=30)
        (result,) = eventually(lambda: listed(base))
        eventually(lambda: not pending(tmp_path, "predictions"))

    assert result["predictions"] == answer.json()["predictions"]
    assert not (tmp_path / "local" / "dead_letters.jsonl").exists()


def test_what_nobody_took_yet_is_taken_up_by_the_next_stack(tmp_path):
    """store-result was not there; its messages are kept through Ctrl-C and stored, once, by the stack that has it."""
    with stack(tmp_path, "--only", "predict", LOG_PREDICTIONS="1") as (_, base):
        for _ in range(3):
            httpx.post(f"{url_of(base, 'predict')}/v1/models/digits:predict", json=EXAMPLE, timeout=30)
        eventually(lambda: len(pending(tmp_path, "predictions")) == 3)
    printed = (tmp_path / "printed").read_text()
    assert "predictions: 3 message(s) are kept for the next start" in printed
    assert "refused" not in printed, "nobody was asked who is not there"

    with stack(tmp_path, "--only", "store_result,list_results", "--duplicate", "1") as (_, base):
        eventually(lambda: not pending(tmp_path, "predictions"))
        wait_for(tmp_path, "delivered twice, as asked")
        results = listed(base)

    assert len(results) == 3


def test_a_tick_runs_its_job_over_the_interval_that_it_closes(tmp_path):
    """The schedule's clock, the broker, a push, nightly-transform: in the end there is a run that succeeded."""
    nightly = read_jobs()["nightly"]
    tick = nightly.last_tick(datetime.now(UTC))
    moments = iter([tick - timedelta(seconds=1)])
    base = free_port_base()
    stack = Stack(
        ["nightly_transform"],
        port_base=base,
        state_dir=tmp_path / "local",
        models_dir=None,
        console=StackConsole(),
    )

    with stack.running(), stack.scheduling(lambda: next(moments, tick)):
        run = eventually(lambda: run_of(base, "nightly", nightly.interval_of_tick(tick).key))

    assert (run["state"], run["trigger"], len(run["attempts"])) == ("success", "schedule", 1)
    assert run["interval_end"] == nightly.interval_of_tick(tick).end.isoformat().replace("+00:00", "Z")


def run_of(base, job, key):
    """Return a run that has succeeded, or None."""
    answer = httpx.get(f"{url_of(base, 'nightly_transform')}/runs/{job}/{key}", timeout=30)
    run = answer.json().get("run", answer.json()) if answer.is_success else {}
    return run if run.get("state") == "success" else None


def test_a_backfill_is_worked_off_through_the_topic_each_day_once(tmp_path):
    """Messages that come twice, and first fail, and say no time: every day runs, and none runs twice."""
    faults = ("--duplicate", "1", "--drop-publish-time")
    with stack(tmp_path, "--only", "nightly_transform", "--no-reload", *faults) as (_, base):
        days = {"from": "2026-03-01", "to": "2026-03-03"}
        answer = httpx.post(f"{url_of(base, 'nightly_transform')}/jobs/nightly:backfill", json=days, timeout=30)
        assert answer.is_success, answer.text
        runs = [eventually(lambda day=day: run_of(base, "nightly", f"2026-03-0{day}")) for day in (1, 2, 3)]

    assert [(run["trigger"], len(run["attempts"])) for run in runs] == [("backfill", 1)] * 3


def test_a_client_of_ones_own_finds_the_broker_in_what_is_printed(tmp_path, monkeypatch):
    """PUBSUB_EMULATOR_HOST and PROJECT_ID are all that it needs."""
    with stack(tmp_path, "--only", "store_result,list_results", "--no-reload", PROJECT_ID="mine") as (_, base):
        printed = wait_for(tmp_path, "Ready")
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", re.search(r"PUBSUB_EMULATOR_HOST=(\S+)", printed)[1])
        data = b'{"model":"m","version":"1","instances":[1],"predictions":[[0.5]]}'
        Topic(re.search(r"PROJECT_ID=(\S+)", printed)[1], "predictions").publish(data, 10)
        (result,) = eventually(lambda: listed(base))

    assert "PROJECT_ID=mine" in printed
    assert result["model"] == "m"


def test_a_pubsub_of_the_users_own_stands(tmp_path, monkeypatch):
    """Who has set a host means it: the functions publish there."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "127.0.0.1:8085")

    with embedded_delivery(read_settings(), [], tmp_path, print, Faults()) as delivery:
        assert delivery.env == {"PUBSUB_EMULATOR_HOST": "127.0.0.1:8085", "PROJECT_ID": "local"}


def test_the_functions_lines_are_kept_for_later(tmp_path):
    """A file a function, in which each line is an event; a second stack goes on where the first ended."""
    for number in (1, 2):
        with stack(tmp_path, "--only", "list_results", "--no-reload") as (_, base):
            httpx.get(f"{url_of(base, 'list_results')}/nowhere{number}")
            wait_for(tmp_path, f"/nowhere{number}")

    lines = (tmp_path / "local" / "logs" / "list_results.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    asked = [re.search(r"/nowhere\d", event["message"]) for event in events]
    assert [match[0] for match in asked if match] == ["/nowhere1", "/nowhere2"]


def test_kept_lines_take_up_no_more_than_twice_their_bound(tmp_path):
    """The file before is kept, and no more; what is no event of ours is not."""
    logs = LogFiles(tmp_path, max_bytes=1000)

    for number in range(105):
        logs.write("predict", json.dumps({"message": "x" * 80, "number": number}))
        logs.write("predict", "Traceback (most recent call last):")
    logs.close()

    files = sorted(tmp_path.iterdir())
    numbers = [json.loads(line)["number"] for file in reversed(files) for line in file.read_text().splitlines()]
    assert [file.name for file in files] == ["predict.jsonl", "predict.jsonl.1"]
    assert numbers == list(range(numbers[0], 105))
    assert all(file.stat().st_size < 1120 for file in files)


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--port-base", "70000"], ["--port-base", "x"], ["--only", "nonsense"], ["walk"]),
        *(["--duplicate", "1.5"], ["--duplicate", "-1"], ["--fail-first", "x"], ["--emulators", "--duplicate", "0.5"]),
    ],
)
def test_wrong_arguments_are_explained(arguments):
    """One line that names what was expected, and no traceback."""
    ended = subprocess.run(
        [sys.executable, "-m", "functions", *arguments], capture_output=True, text=True, check=False, timeout=60
    )

    assert ended.returncode in (1, 2)
    assert "expected" in ended.stderr or "invalid choice" in ended.stderr
    assert "Traceback" not in ended.stderr
