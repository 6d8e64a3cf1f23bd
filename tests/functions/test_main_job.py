"""The main job, end to end: digits in, predictions kept, the day summarised, the counts compared."""

import re
import subprocess
import sys

import httpx

from shared.config import child_environment
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
    assert "expected one of the jobs nightly" in unknown.stderr
    assert "a day that exists" in no_day.stderr
    assert "nothing answers at http://127.0.0.1:9" in nobody.stderr
    assert "Traceback" not in unknown.stderr + no_day.stderr + nobody.stderr


def test_next_shows_when_jobs_fire_and_what_they_cover():
    """Three ticks, each covering the day before it."""
    ended = run("scheduler", "next", "nightly", "-n", "3")

    assert ended.returncode == 0
    assert len(re.findall(r"nightly +\d{4}-\d\d-\d\d 02:10 +\d{4}-\d\d-\d\d", ended.stdout)) == 3
