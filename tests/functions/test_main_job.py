"""The main job, end to end: digits in, predictions kept, the day summarised, the counts compared."""

import json
import re
import signal
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import httpx

from shared.config import child_environment
from shared.jobs import read_jobs
from shared.runs import Run
from shared.stores import open_store
from tests.emulators.receiver import eventually
from tests.functions.test_local_stack import stack


def run(*arguments, **env):
    """Run a command of ours and return how it ended."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd="/",
        env=child_environment(env),
    )


def test_the_demo_loses_nothing_and_the_summary_counts_what_was_sent():
    """On a stack of its own: 360 images, 360 results, one summary that agrees class by class."""
    ended = run("functions", "demo")

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "360 stored, 0 lost" in ended.stdout
    assert re.search(r"all │ +360 │ +360 │ +360", ended.stdout)
    assert float(re.search(r"accuracy ([\d.]+)%", ended.stdout)[1]) >= 97


def test_the_demo_and_the_scheduler_work_on_a_running_stack(tmp_path):
    """Twice on one stack: each counts its own images; then the day runs again by hand and says so."""
    with stack(tmp_path, "--no-reload") as (_, base):
        first = run("functions", "demo", "--url", f"http://127.0.0.1:{base}")
        second = run("functions", "demo", "--url", f"http://127.0.0.1:{base}")
        nightly = f"http://127.0.0.1:{base + 4}"
        trigger = ("scheduler", "trigger", "nightly", "--date", "2026-11-21")
        night = run(*trigger, NIGHTLY_TRANSFORM_URL=nightly)
        again = run(*trigger, NIGHTLY_TRANSFORM_URL=nightly)
        forced = run(*trigger, "--force", NIGHTLY_TRANSFORM_URL=nightly)
        rows = httpx.get(f"{nightly}/summaries?job=nightly").json()["summaries"][0]["rows"]

    assert (first.returncode, second.returncode) == (0, 0), first.stdout + second.stdout + second.stderr
    assert sum(rows[0]["classes"].values()) == 720
    assert "nightly 2026-11-21: success, ran now" in night.stdout
    assert "had run already" in again.stdout
    assert "ran now" in forced.stdout


def test_the_scheduler_command_explains_what_is_wrong():
    """An unknown job, a day that does not exist, nobody at home: one line each."""
    unknown = run("scheduler", "trigger", "nonsense")
    no_day = run("scheduler", "trigger", "nightly", "--date", "2026-02-30")
    nobody = run("scheduler", "trigger", "nightly", NIGHTLY_TRANSFORM_URL="http://127.0.0.1:9")

    demo = run("functions", "demo", "--url", "http://127.0.0.1:9")
    future = run("scheduler", "trigger", "nightly", "--date", "20261121")

    assert demo.returncode == 1
    assert "nightly_transform does not answer at http://127.0.0.1:13: is `make run` running?" in demo.stderr
    assert future.returncode == 2
    assert (unknown.returncode, no_day.returncode, nobody.returncode) == (2, 2, 1)
    assert "expected one of the jobs drift, export, nightly, reconcile" in unknown.stderr
    assert "a day that exists" in no_day.stderr
    assert "nothing answers at http://127.0.0.1:9" in nobody.stderr
    assert "Traceback" not in unknown.stderr + no_day.stderr + nobody.stderr


def test_next_shows_when_jobs_fire_and_what_they_cover():
    """Three ticks, each covering the day before it."""
    ended = run("scheduler", "next", "nightly", "-n", "3")

    assert ended.returncode == 0
    assert len(re.findall(r"nightly +\d{4}-\d\d-\d\d 02:10 UTC +\d{4}-\d\d-\d\d 02:10 +\d{4}-", ended.stdout)) == 3


def test_days_are_filled_in_by_a_backfill_whose_progress_can_be_watched(tmp_path):
    """Both ends included, none twice, and every run ends; afterwards the runs and their lines can be read."""
    last = datetime.now(UTC).date() - timedelta(days=2)
    first = last - timedelta(days=4)
    span = ("--from", first.isoformat(), "--to", last.isoformat())
    with stack(tmp_path, "--no-reload", "--only", "nightly_transform") as (_, base):
        env = {"NIGHTLY_TRANSFORM_URL": f"http://127.0.0.1:{base + 4}", "STATE_DIR": str(tmp_path / "local")}
        told = run("scheduler", "backfill", "nightly", *span, "--dry-run", **env)
        filled = run("scheduler", "backfill", "nightly", *span, "--max-active", "3", **env)
        again = run("scheduler", "backfill", "nightly", *span, **env)
        anew = run("scheduler", "backfill", "nightly", *span, "--reprocess", "completed", **env)
        after = run("scheduler", "backfill", "drift", *span, **env)
        runs = run("scheduler", "runs", "--job", "nightly", **env)
        lines = run("scheduler", "logs", "nightly", last.isoformat(), **env)
        outside = ("--params", '{"prefix": "../outside"}')
        failed = run("scheduler", "backfill", "export", "--from", span[1], "--to", span[1], *outside, **env)
        run("scheduler", "pause", "nightly", **env)
        paused = run("scheduler", "backfill", "nightly", *span, **env)

    assert "5 would be queued, 0 left as they are" in told.stdout, told.stderr
    assert filled.returncode == 0, filled.stdout + filled.stderr
    assert "nightly: 5 queued, 0 left as they are" in filled.stdout
    assert re.search(r"5 success in [\d.]+ s \([\d.]+ intervals a minute, [\d,]+ documents a second\)", filled.stdout)
    assert "nightly: 0 queued, 5 left as they are (5 success)" in again.stdout
    assert "5 success" in anew.stdout
    assert "5 success" in after.stdout, after.stdout + after.stderr
    days = [(first + timedelta(days=n)).isoformat() for n in range(5)]
    assert sorted(re.findall(r"^nightly +(\S+) +success", runs.stdout, re.MULTILINE)) == days
    assert re.search(rf"{last}#1 .*nightly", lines.stdout), lines.stdout
    assert (failed.returncode, "1 failed in" in failed.stdout) == (1, True), failed.stdout + failed.stderr
    assert f"export {first}: failed: " in failed.stderr
    assert (paused.returncode, "paused" in paused.stderr) == (2, True)


def test_a_backfill_goes_on_when_its_watcher_leaves(tmp_path):
    """Ctrl-C ends the bar, not the work."""
    last = datetime.now(UTC).date() - timedelta(days=2)
    span = ("--from", (last - timedelta(days=60)).isoformat(), "--to", last.isoformat())
    with stack(tmp_path, "--no-reload", "--only", "nightly_transform") as (_, base):
        url = f"http://127.0.0.1:{base + 4}"
        watcher = subprocess.Popen(
            [sys.executable, "-m", "scheduler", "backfill", "nightly", *span, "--max-active", "1"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd="/",
            env=child_environment({"NIGHTLY_TRANSFORM_URL": url, "PYTHONUNBUFFERED": "1"}),
        )
        printed = watcher.stdout.readline()
        watcher.send_signal(signal.SIGINT)
        printed += watcher.communicate(timeout=60)[0]
        finished = run("scheduler", "backfill", "nightly", *span, NIGHTLY_TRANSFORM_URL=url)
        eventually(lambda: states(url), {"success": 61}.__eq__)

    assert "61 queued" in printed
    assert "The backfill goes on without you" in printed, printed
    assert watcher.returncode == 130
    assert "Traceback" not in printed
    assert "0 queued" in finished.stdout


def states(url):
    """Count the runs of the nightly job by state."""
    found = {}
    for entry in httpx.get(f"{url}/runs?job=nightly&page_size=500").json()["runs"]:
        found[entry["state"]] = found.get(entry["state"], 0) + 1
    return found


def test_one_day_runs_in_this_process_without_pubsub_or_a_server(tmp_path):
    """On the store at STORE_URL, through the same claim: it is in the history afterwards."""
    env = {"STATE_DIR": str(tmp_path), "PROJECT_ID": "somewhere", "NIGHTLY_TRANSFORM_URL": "http://127.0.0.1:9"}

    first = run("scheduler", "test", "nightly", "--date", "2026-11-20", **env)
    again = run("scheduler", "test", "nightly", "--date", "2026-11-20", **env)
    after = run("scheduler", "test", "drift", "--date", "2026-11-20", "--params", '{"days": 3}', **env)
    wrong = run("scheduler", "test", "drift", "--params", '{"day": 3}', **env)
    no_day = run("scheduler", "test", "nightly", "--date", "2026-02-30", **env)

    assert first.returncode == 0, first.stdout + first.stderr
    assert "nightly 2026-11-20: success, ran now" in first.stdout
    assert "nightly 2026-11-20: success, ran now" in again.stdout
    assert "drift 2026-11-20: success, ran now" in after.stdout, after.stdout + after.stderr
    assert (wrong.returncode, no_day.returncode) == (2, 2)
    assert "job drift declares days, job" in wrong.stderr
    assert "a day that exists" in no_day.stderr
    assert "Traceback" not in first.stderr + wrong.stderr


def test_a_run_in_this_process_that_has_to_wait_is_no_success(tmp_path):
    """Other runs of the job hold all of its places: this one is queued, and the status says that it was not made."""
    job, now = read_jobs()["nightly"], datetime.now(UTC)
    store = open_store(f"sqlite:///{tmp_path}/nightshift.db")
    for key in [f"2026-10-{day:02}" for day in range(1, job.max_active + 1)]:
        other = Run(job.id, job.interval(key), "manual", now)
        store.claim_run(other, now=now, lease=timedelta(hours=1), max_active=job.max_active, reprocess="none")

    ended = run("scheduler", "test", "nightly", "--date", "2026-11-20", STATE_DIR=str(tmp_path))

    assert ended.returncode == 1, ended.stderr
    assert "nightly 2026-11-20: queued" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_state_folder_that_cannot_be_is_named_before_a_run_in_this_process(tmp_path):
    """A file, a place where nothing can be made, a name that is too long: one line, and status 2."""
    (tmp_path / "file").touch()

    for place in ("file", "/proc/x", "x" * 300):
        ended = run("scheduler", "test", "nightly", "--date", "2026-11-20", STATE_DIR=str(tmp_path / place))

        assert ended.returncode == 2
        assert "STATE_DIR: expected a folder that can be written" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_a_dead_letter_of_the_local_stack_is_redriven(tmp_path):
    """From the file where its broker buried it, through the function, once."""
    day = date(2026, 11, 19)
    letter = {
        "topic": "nightly",
        "message": {"job": "nightly"},
        "message_id": "7",
        "publish_time": "2026-11-20T02:10:03.000+00:00",
        "failure": "503",
        "buried_at": "2026-11-20T04:10:03.000+00:00",
    }
    with stack(tmp_path, "--no-reload", "--only", "nightly_transform") as (_, base):
        url = f"http://127.0.0.1:{base + 4}"
        (tmp_path / "local" / "dead_letters.jsonl").write_text(json.dumps(letter) + "\n")
        env = {"NIGHTLY_TRANSFORM_URL": url, "STATE_DIR": str(tmp_path / "local")}
        redriven = run("scheduler", "redrive", **env)
        again = run("scheduler", "redrive", **env)
        found = httpx.get(f"{url}/runs?job=nightly").json()["runs"]

    assert "1 delivered again, 0 left" in redriven.stdout, redriven.stderr
    assert "0 delivered again, 0 left" in again.stdout
    assert [(entry["key"], entry["state"]) for entry in found] == [(day.isoformat(), "success")]
