"""`python -m scheduler` against a real nightly-transform: what it prints, and what it answers to nonsense."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from scheduler.__main__ import main
from shared.jobs import read_jobs


@pytest.fixture
def nightly(serve, monkeypatch):
    """nightly-transform, empty, where the commands find it."""
    running = serve("nightly_transform", THREADS="2")
    monkeypatch.setenv("NIGHTLY_TRANSFORM_URL", running.url)
    return running


def said(capsys, *arguments, status=0):
    """Run a command, check its status, and return what it printed."""
    assert main(list(arguments)) == status
    printed = capsys.readouterr()
    return printed.err if status else printed.out


def rows(text):
    """Return a table's lines without the spaces between cells."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_next_shows_a_night_on_which_clocks_are_changed(monkeypatch, capsys):
    """Local time and UTC side by side, 25 hours in that day, and a word about it."""
    berlin = replace(read_jobs()["nightly"], time_zone="Europe/Berlin")
    monkeypatch.setattr("scheduler.upcoming.read_jobs", lambda: {"nightly": berlin})

    lines = rows(said(capsys, "next", "--after", "2026-10-24", "-n", "3"))

    covers = "2026-10-24 2026-10-23 22:00 2026-10-24 22:00 24"
    assert lines[0] == "job fires (local) fires (UTC) covers from (UTC) to (UTC) hours"
    changed = "clocks have changed in the day before"
    assert lines[2] == f"nightly 2026-10-25 02:10 CEST 2026-10-25 00:10 {covers}"
    assert lines[3].endswith(f"2026-10-26 01:10 2026-10-25 2026-10-24 22:00 2026-10-25 23:00 25 {changed}")


def test_next_shows_intervals_of_ten_minutes(capsys):
    """Each covers the time since the last; its key is when that began."""
    lines = rows(said(capsys, "next", "reconcile", "--after", "2026-12-31T23:45Z", "-n", "2"))

    assert [line.split(" UTC ", 1)[1] for line in lines[1:]] == [
        "2026-12-31 23:50 2026-12-31T23:40Z 2026-12-31 23:40 2026-12-31 23:50 0.1667",
        "2027-01-01 00:00 2026-12-31T23:50Z 2026-12-31 23:50 2027-01-01 00:00 0.1667",
    ]


def test_runs_are_triggered_listed_and_run_again(nightly, capsys):
    """The table has the newest first; a rerun is another attempt at the same run."""
    assert "nightly 2026-11-20: success, ran now" in said(capsys, "trigger", "nightly", "--date", "2026-11-20")
    assert "had run already" in said(capsys, "trigger", "nightly", "--date", "2026-11-20")
    said(capsys, "trigger", "nightly", "--date", "2026-11-21")
    assert "nightly 2026-11-20: success, ran now" in said(capsys, "rerun", "nightly", "2026-11-20")

    table = rows(said(capsys, "runs", "--job", "nightly"))
    some = rows(said(capsys, "runs", "--since", "2026-11-21", "--until", "2026-11-22"))

    assert [line.split()[:3] for line in table[1:]] == [
        ["nightly", "2026-11-21", "success"],
        ["nightly", "2026-11-20", "success"],
    ]
    assert len(some) == 2
    assert said(capsys, "runs", "--job", "nightly", "--state", "failed") == "no runs\n"
    assert len(rows(said(capsys, "runs", "-n", "1"))) == 2


def test_a_job_of_intervals_is_asked_for_by_its_key(nightly, capsys):
    """Colons and all."""
    assert "reconcile 2026-11-21T14:10Z: success" in said(capsys, "trigger", "reconcile", "--date", "2026-11-21T14:10Z")
    assert "reconcile 2026-11-21T14:10Z: success" in said(capsys, "rerun", "reconcile", "2026-11-21T14:10Z")


def test_a_job_that_comes_after_another_waits_for_it(nightly, capsys):
    """By hand it is refused, and told what for."""
    refused = said(capsys, "trigger", "drift", "--date", "2026-11-20", status=2)

    assert "drift comes after nightly" in refused


def test_pause_and_resume(nightly, capsys):
    """A paused job takes no backfill."""
    import httpx

    assert said(capsys, "pause", "export").startswith("export: paused")
    (job,) = [job for job in httpx.get(f"{nightly.url}/jobs").json()["jobs"] if job["id"] == "export"]
    assert job["paused"] is True

    assert said(capsys, "resume", "export") == "export: resumed\n"
    (job,) = [job for job in httpx.get(f"{nightly.url}/jobs").json()["jobs"] if job["id"] == "export"]
    assert job["paused"] is False


def test_a_dry_run_of_a_backfill_tells_what_it_would_do(nightly, capsys):
    """Each interval with its state, both ends included; nothing is started."""
    said(capsys, "trigger", "nightly", "--date", "2026-11-20")
    backfill = ("backfill", "nightly", "--from", "2026-11-19", "--to", "2026-11-21", "--dry-run")

    lines = rows(said(capsys, *backfill))
    again = rows(said(capsys, *backfill, "--reprocess", "completed"))

    assert lines == [
        *("key now would be", "2026-11-19 - queued", "2026-11-20 success left", "2026-11-21 - queued"),
        "nightly: 2 would be queued, 1 left as they are (1 success)",
    ]
    assert again[-1] == "nightly: 3 would be queued, 0 left as they are"
    assert len(rows(said(capsys, "runs"))) == 2


def test_a_backfill_that_nobody_would_deliver_is_refused(nightly, capsys):
    """Without a topic nothing wakes the runs: said before any is queued."""
    refused = said(capsys, "backfill", "nightly", "--from", "2026-11-19", "--to", "2026-11-21", status=2)

    assert "PROJECT_ID is not set" in refused
    assert said(capsys, "runs") == "no runs\n"


def test_what_is_wrong_is_named(nightly, capsys):
    """Status 2 and one line, here or at the function."""
    cases = [
        (("backfill", "nightly", "--from", "2026-11-21", "--to", "2026-11-19"), "expected `from` to be no later"),
        (("backfill", "nightly", "--from", "2026-02-30", "--to", "2026-03-01"), "a day that exists"),
        (("backfill", "nightly", "--from", "1990-01-01", "--to", "2026-03-01"), "at most 3700 intervals"),
        (("runs", "--state", "failed"), "expected a job beside it"),
        (("runs", "--since", "yesterday"), "since: expected a day"),
        (("runs", "--job", "nothing"), "expected one of the jobs"),
        (("rerun", "nightly", "2026-13-01"), "a day that exists"),
        (("trigger", "nightly", "--params", '{"unknown": 1}'), "params: job nightly declares"),
        (("pause", "nothing"), "expected one of the jobs drift, export, nightly, reconcile"),
    ]

    for arguments, words in cases:
        refused = said(capsys, *arguments, status=2)
        assert words in refused
        assert len(refused.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backfill", "nightly", "--from", "2026-11-19"), "required: --to"),
        (("backfill", "nightly", "--from", "a", "--to", "b", "--reprocess", "all"), "invalid choice: 'all'"),
        (("backfill", "nightly", "--from", "a", "--to", "b", "--max-active", "101"), "whole number from 1 to 100"),
        (("trigger", "nightly", "--params", "[1]"), "expected a JSON object"),
        (("trigger", "drift", "--params", '{"days":NaN}'), "NaN is not taken here"),
        (("trigger", "drift", "--params", '{"days":1e400}'), "1e400 is not taken here"),
        (("trigger", "drift", "--params", "[" * 30_000), "nested too deeply"),
        (("trigger", "drift", "--params", '{"days":1,"days":2}'), "is there twice"),
        (("trigger", "drift", "--params", '{"job":"\\ud800"}'), "a lone surrogate is no text"),
        (("trigger", "drift", "--params", '{"job":"\udcff"}'), "expected arguments in UTF-8"),
        (("runs", "--since", "\udcff"), "expected arguments in UTF-8"),
        (("next", "-n", "0"), "whole number from 1 to 1000"),
        (("next", "--after", "soon"), "expected a time such as"),
        (("runs", "--state", "done"), "invalid choice: 'done'"),
        ((), "required: COMMAND"),
    ],
)
def test_options_that_mean_nothing_are_refused(capsys, arguments, words):
    """Before anybody is asked."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))

    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert words in last
    assert len(last) < 300


def test_who_answers_something_else_is_told_from_us(monkeypatch, capsys, client, serve):
    """Another function at the address is no crash."""
    monkeypatch.setenv("NIGHTLY_TRANSFORM_URL", serve("list_results", THREADS="2").url)

    assert "answered 404" in said(capsys, "trigger", "nightly", status=2)


def events(state_dir, *lines, name="nightly_transform.jsonl"):
    """Write what a local stack would have logged."""
    folder = state_dir / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def event(key, message, severity="INFO", job="nightly", attempt=1):
    """Return one line."""
    moment = datetime(2026, 11, 22, 2, 10, tzinfo=UTC).isoformat()
    return json.dumps(
        {"job": job, "key": key, "attempt": attempt, "severity": severity, "message": message, "time": moment}
    )


def test_logs_shows_the_lines_of_a_job_or_of_one_run(state_dir, capsys):
    """From the file before this one on; what is half written, or another job's, is left out."""
    events(state_dir, event("2026-11-20", "first"), name="nightly_transform.jsonl.1")
    second = event("2026-11-21", "second\nline", "ERROR", attempt=2)
    events(state_dir, second, event("2026-11-21", "theirs", job="drift"), "[1]", '{"job": "nigh')

    assert said(capsys, "logs", "nightly").splitlines() == [
        "2026-11-22 2026-11-20#1   02:10:00+00: first",
        "2026-11-22 2026-11-21#2   02:10:00+00: ERROR second\\nline",
    ]
    assert "first" not in said(capsys, "logs", "nightly", "2026-11-21")
    assert said(capsys, "logs", "nightly", "-n", "1").count("\n") == 1
    assert said(capsys, "logs", "export") == "no lines about export\n"


def test_without_logs_it_says_where_they_would_be(capsys):
    """In the cloud they are elsewhere."""
    assert "where `make run` writes it" in said(capsys, "logs", "nightly", status=2)
