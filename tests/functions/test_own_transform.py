"""README's "Write your own job", done as it says: its files laid into a copy of the repository, its command run."""

import json
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from shared.config import ROOT, child_environment
from shared.runs import RunQuery
from shared.stores import open_store
from shared.stores.objects import open_files
from tests.contract.factories import a_result

SECTION = (ROOT / "README.md").read_text("utf-8").partition("## Write your own job\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```([\w-]+)\n(.*?)```\n", SECTION, re.DOTALL)
TRANSFORMS = "functions/nightly_transform/transforms"


def blocks(language):
    """Return the section's blocks of one language, in order."""
    return [content for name, content in BLOCKS if name == language]


@pytest.fixture
def tree(tmp_path):
    """A copy of what the section changes, and of what it runs."""
    tree = tmp_path / "nightshift"
    for name in ("shared", "functions", "scheduler", "model/digits/1"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("__pycache__", "*.pb", "*.data-*"))
    return tree


def follow(tree):
    """Lay every file where the text before it says, and every entry at the end of jobs.yaml."""
    names = re.findall(rf"`({TRANSFORMS}/\w+\.py)`:\n", SECTION)
    for name, content in zip(names, blocks("python"), strict=True):
        assert not (tree / name).exists()
        (tree / name).write_text(content, "utf-8")
    jobs = tree / "scheduler" / "jobs.yaml"
    jobs.write_text(f"{jobs.read_text('utf-8').rstrip()}\n\n{''.join(blocks('yaml'))}", "utf-8")


def run(tree, state_dir, command):
    """Run one of the section's commands in the copied tree."""
    assert command.startswith(".venv/bin/python -m scheduler ")
    return subprocess.run(
        ["bash", "-c", command.replace(".venv/bin/python", sys.executable)],
        cwd=tree,
        env=child_environment({"STATE_DIR": str(state_dir)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def is_shown(shown, output):
    """Tell whether an output is as shown, where `...` stands for anything."""
    pattern = ".*".join(map(re.escape, shown.strip().split("...")))
    return re.fullmatch(pattern, output.strip(), re.DOTALL) is not None


def test_the_section_shows_two_jobs_whole():
    """A transform and a task, each a file and an entry."""
    assert [len(blocks(language)) for language in ("python", "yaml", "shell-session")] == [2, 2, 1]


def test_a_transform_of_ones_own_runs_as_the_section_shows(tree, state_dir):
    """One file, one entry, one command; its rows are those that are shown."""
    follow(tree)
    store = open_store(f"sqlite:///{state_dir}/nightshift.db")
    store.create_results(
        [a_result(created_at=datetime.now(UTC), summary='{"count":1,"classes":["3"],"scores":[0.84]}')]
    )
    [(command, shown), (_, shown_rows)] = re.findall(
        r"^\$ (.*?)\n(.*?)(?=^\$ |\Z)", blocks("shell-session")[0], re.M | re.S
    )

    done = run(tree, state_dir, command)

    assert done.returncode == 0, done.stdout + done.stderr
    # What the function logged comes before it.
    assert is_shown(shown, "\n".join(line for line in done.stdout.splitlines() if not line.startswith("{")))
    (summary,) = store.list_summaries(RunQuery("close-calls"), after=None, limit=9)
    store.close()
    rows = json.dumps([dict(sorted(row.items())) for row in summary.rows], separators=(",", ":"))
    assert is_shown(re.search(r"\[\{\"close_calls.*?\}\]", shown_rows)[0], rows)


def test_both_jobs_do_what_they_say(tree, state_dir):
    """Over a day with close calls of two models, and with a label on one result."""
    follow(tree)
    store = open_store(f"sqlite:///{state_dir}/nightshift.db")
    day = datetime(2026, 11, 21, tzinfo=UTC)
    scores = {"a": [0.59, 0.6, 0.1], "b": [1.0]}
    store.create_results(
        [
            a_result(
                id=f"{model}{n}",
                model=model,
                created_at=day + timedelta(hours=5 * n),
                labels={"who": "ada"} if n == 1 else {},
                summary=json.dumps({"count": 1, "classes": ["x"], "scores": [score]}),
            )
            for model in scores
            for n, score in enumerate(scores[model])
        ]
    )

    for job in ("close-calls", "labelled"):
        done = run(tree, state_dir, f".venv/bin/python -m scheduler test {job} --date 2026-11-21")
        assert done.returncode == 0, done.stdout + done.stderr

    found = {summary.job: list(summary.rows) for summary in store.list_summaries(RunQuery(), after=None, limit=9)}
    store.close()
    assert found == {
        "close-calls": [
            {"date": "2026-11-21", "model": "a", "predictions": 3, "close_calls": 2},
            {"date": "2026-11-21", "model": "b", "predictions": 1, "close_calls": 0},
        ],
        "labelled": [{"file": "labelled/2026-11-21.txt", "results": 1}],
    }
    with open_files(f"file://{state_dir}/objects").open("labelled/2026-11-21.txt") as file:
        assert file.read() == b"a1\n"


def test_slices_change_nothing(tree):
    """As the section says: the same rows for 1 and for 24 slices, in any order, after a trip through JSON."""
    follow(tree)
    code = """
import json, random
from datetime import timedelta
from functions.nightly_transform.transforms.close_calls import transform
from shared.jobs import Job
from shared.records import SummaryDocument
job = Job("close-calls", "15 2 * * *", "Etc/UTC", "close_calls", "")
interval, chance = job.interval("2026-11-21"), random.Random(1)
documents = [
    SummaryDocument(interval.start + timedelta(minutes=n), model, "1", {"count": 1, "scores": [chance.random()]})
    for n, model in enumerate(chance.choices("ab", k=1440))
]
rows = set()
for slices in (1, 24):
    size = len(documents) // slices
    partials = [json.loads(json.dumps(transform.fold(iter(documents[i : i + size])))) for i in range(0, 1440, size)]
    chance.shuffle(partials)
    rows.add(json.dumps(transform.merge(interval, partials)))
assert len(rows) == 1, rows
"""
    subprocess.run([sys.executable, "-c", code], cwd=tree, env=child_environment({}), check=True, timeout=60)
