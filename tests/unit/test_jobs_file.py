"""Everything wrong with a jobs file is told at once, each with its line."""

import pytest

from shared.errors import ConfigurationError
from shared.jobs import read_jobs

GOOD = """
jobs:
  nightly:
    schedule: "10 2 * * *"
    time_zone: Etc/UTC
    transform: daily_summary
    description: x
"""
EVERYTHING = GOOD + (
    """
    owner: somebody
    params: {bins: 20, "deep": {"list": [1, 2.5, null, true, "x"]}}
    max_attempts: 20
    backoff_seconds: 3600
    deadline_minutes: 10080
    catch_up: all
    max_catch_up_runs: 366
    max_active: 100
    slices: 1000
    keep_days: 3650
    paused: true
  drift:
    schedule: "40 2 * * 1"
    time_zone: Etc/UTC
    transform: drift
    description: y
    after: [nightly]
  hourly:
    schedule: "0 * * * *"
    time_zone: Etc/UTC
    transform: drift
    description: y
  hourly-too:
    schedule: "0  * * * *"
    time_zone: Etc/UTC
    transform: drift
    description: y
    after: [hourly]
"""
)


def problems(tmp_path, text):
    """Return what is wrong with a jobs file of this text."""
    path = tmp_path / "jobs.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError) as raised:
        read_jobs(path)
    return raised.value.problems


def test_every_member_is_read(tmp_path):
    """As it stands there; those left out have their defaults."""
    path = tmp_path / "jobs.yaml"
    path.write_text(EVERYTHING)

    jobs = read_jobs(path)

    nightly, drift = jobs["nightly"], jobs["drift"]
    assert nightly.params == {"bins": 20, "deep": {"list": [1, 2.5, None, True, "x"]}}
    assert (nightly.owner, nightly.catch_up, nightly.max_catch_up_runs) == ("somebody", "all", 366)
    assert (nightly.max_attempts, nightly.backoff_seconds, nightly.deadline_minutes) == (20, 3600, 10080)
    assert (nightly.max_active, nightly.slices, nightly.keep_days, nightly.paused) == (100, 1000, 3650, True)
    assert (drift.after, drift.paused, drift.deadline_minutes, drift.catch_up) == (("nightly",), False, None, "latest")
    assert (drift.max_attempts, drift.backoff_seconds, drift.slices, drift.keep_days) == (3, 60, 1, None)
    assert list(jobs) == ["nightly", "drift", "hourly", "hourly-too"]
    assert [jobs[name].daily for name in jobs] == [True, True, False, False]


def more(member):
    """Return a change that adds a member."""
    return ("description: x", f"description: x\n    {member}")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("nightly:", "Nightly:", 3, "job Nightly: expected an id"),
        ("nightly:", "7:", 3, "job 7: expected an id"),
        ("nightly:", f"{'a' * 64}:", 3, "expected an id"),
        ("10 2 * * *", "10 2 * *", 4, "schedule: expected a cron expression of five fields"),
        ("10 2 * * *", "0 10 2 * * *", 4, "schedule: expected a cron expression of five fields"),
        ("10 2 * * *", "@daily", 4, "schedule: expected a cron expression of five fields"),
        ("10 2 * * *", "10 2 30 2 *", 4, "schedule: expected a cron expression of five fields"),
        ("10 2 * * *", "61 2 * * *", 4, "schedule: expected a cron expression of five fields"),
        ("10 2 * * *", "10 2 L * *", 4, "schedule: expected a cron expression of five fields"),
        ("10 2 * * *", "10 2 * * 5#3", 4, "schedule: expected a cron expression of five fields"),
        ("10 2 * * *", "1 0 * * *", 4, "schedule: expected 2 minutes after midnight or later; at 2026-01-01T00:01:00"),
        ("10 2 * * *", "0 0 29 2 *", 4, "schedule: expected 2 minutes after midnight or later; at 2028-02-29T00:00:00"),
        ("10 2 * * *", "0 0 29 2 */7", 4, "schedule: expected 2 minutes after midnight or later; at 2032-02-29T00:00"),
        (
            '10 2 * * *"',
            '10 0 * * *"\n    settle_minutes: 60',
            4,
            "expected 60 minutes after midnight or later",
        ),
        ('"10 2 * * *"', "7", 4, "schedule: expected text, got a whole number"),
        ("Etc/UTC", "Mars/Olympus", 5, "time_zone: expected an IANA name"),
        ("Etc/UTC", "../../etc/passwd", 5, "time_zone: expected an IANA name"),
        ("Etc/UTC", "Europe", 5, "time_zone: expected an IANA name"),
        ("Etc/UTC", '""', 5, "time_zone: expected an IANA name"),
        ("Etc/UTC", "localtime", 5, "time_zone: expected an IANA name"),
        ("Etc/UTC", "posixrules", 5, "time_zone: expected an IANA name"),
        ("daily_summary", "../x", 6, "transform: expected the name of a module"),
        ("    description: x\n", "", 3, "description: expected, not there"),
        ("description: x", "description: [x]", 7, "description: expected text, got a list"),
        ("description: x", f"description: {'x' * 401}", 7, "description: expected at most 400 characters, got 401"),
        (*more("retries: 3"), 8, "unknown key 'retries'"),
        (*more("max_attempts: 0"), 8, "max_attempts: expected 1 to 20, got 0"),
        (*more("max_attempts: 21"), 8, "max_attempts: expected 1 to 20, got 21"),
        (*more("max_attempts: true"), 8, "max_attempts: expected a whole number, got true or false"),
        (*more("max_attempts: 3.0"), 8, "max_attempts: expected a whole number, got something else"),
        (*more("backoff_seconds: 0"), 8, "backoff_seconds: expected 1 to 3600, got 0"),
        (*more("backoff_seconds: 3601"), 8, "backoff_seconds: expected 1 to 3600, got 3601"),
        (*more("deadline_minutes: 10081"), 8, "deadline_minutes: expected 1 to 10080, got 10081"),
        (*more("max_catch_up_runs: 367"), 8, "max_catch_up_runs: expected 1 to 366, got 367"),
        (*more("max_active: 101"), 8, "max_active: expected 1 to 100, got 101"),
        (*more("slices: 1001"), 8, "slices: expected 1 to 1000, got 1001"),
        (*more("keep_days: 3651"), 8, "keep_days: expected 1 to 3650, got 3651"),
        (*more("keep_days:"), 8, "keep_days: expected a whole number, got something else"),
        (*more("catch_up: some"), 8, "catch_up: expected none, latest or all, got 'some'"),
        (*more("paused: 1"), 8, "paused: expected true or false, got a whole number"),
        (*more("params: [1]"), 8, "params: expected a mapping, got a list"),
        (*more("params: {day: 2026-11-21}"), 8, "params: expected JSON values only; a date, for one, needs quotes"),
        (*more("params: {1: x}"), 8, "params: expected JSON values only"),
        (*more("params: {x: .nan}"), 8, "params: expected JSON values only"),
        (*more(f"params: {{x: {'[' * 300}{']' * 300}}}"), 8, "params: "),
        (*more(f"params: {{x: {'[' * 2000}{']' * 2000}}}"), 8, "cannot be read: expected less nesting"),
        (*more("params: {x: 1, x: 2}"), 8, "params: the key 'x' is there twice"),
        (*more("params: {x: [{y: 1, y: 2}]}"), 8, "params: the key 'y' is there twice"),
        (*more("params: &a {x: *a}"), 8, "params: found unconstructable recursive node"),
        (*more("params: !!python/name:os.getcwd ''"), 8, "params: could not determine a constructor"),
        (*more("after: nightly"), 8, "after: expected a list, got text"),
        (*more("after: [[nightly]]"), 8, "after: expected ids of jobs, each once"),
        (*more("after: [nothing]"), 8, "after: expected one of the jobs nightly, got 'nothing'"),
        (*more("after: [nightly]"), 8, "after: nightly after nightly would wait for ever"),
        (*more("description: y"), 8, "the key 'description' is there twice"),
        (*more("? [a]\n    : b"), 8, "expected a key that is text"),
        ("jobs:", "jobs: {}\nother:", 2, "expected a mapping `jobs:`"),
        ("jobs:", "extra: 1\njobs:", 2, "unknown key 'extra': expected jobs"),
        (GOOD, "", 1, "expected a mapping `jobs:`"),
        (GOOD, "[jobs]", 1, "expected a mapping `jobs:`"),
        (GOOD, "jobs: {nightly: 7}", 1, "job nightly: expected a mapping"),
        (GOOD, "\n\njobs: {", 3, "cannot be read"),
        (GOOD, "jobs: *nothing", 1, "cannot be read"),
    ],
)
def test_each_kind_of_wrong_entry_is_named_with_its_line(tmp_path, old, new, line, words):
    """The message says where, what was expected and what stood there."""
    found = problems(tmp_path, GOOD.replace(old, new))

    assert words in found[0]
    assert found[0].startswith(f"jobs.yaml line {line}: ")
    assert len(found) == (2 if "other:" in new else 1)


def second(**members):
    """Return a file of two jobs, the second with changes."""
    job = {"schedule": '"40 2 * * *"', "time_zone": "Etc/UTC", "transform": "drift", "description": "y"} | members
    return GOOD + "  drift:\n" + "".join(f"    {name}: {value}\n" for name, value in job.items())


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"time_zone": "Europe/Paris"}, "after: expected the time zone of nightly, Etc/UTC"),
        ({"schedule": '"*/10 * * * *"'}, "after: expected a schedule whose intervals nightly has as well"),
    ],
)
def test_who_follows_a_job_has_the_same_intervals(tmp_path, members, words):
    """Else it would wait for a run that never comes."""
    (problem,) = problems(tmp_path, second(**members, after="[nightly]"))

    assert problem.startswith(f"jobs.yaml line 13: job drift: {words}")


def test_every_day_cannot_follow_mondays_alone(tmp_path):
    """The other days have nothing to wait for; the other way round is fine."""
    text = second(after="[nightly]").replace("10 2 * * *", "10 2 * * 1")

    (problem,) = problems(tmp_path, text)

    assert "after: expected a schedule whose intervals nightly has as well" in problem


def test_jobs_that_tick_often_follow_the_very_same_schedule_only(tmp_path):
    """Intervals that begin at other minutes have other keys."""
    text = EVERYTHING.replace('"0  * * * *"', '"5 * * * *"')

    (problem,) = problems(tmp_path, text)

    assert "job hourly-too: after: expected a schedule whose intervals hourly has" in problem


def test_a_circle_is_told_once(tmp_path):
    """With everyone who is in it."""
    third = second(after="[nightly]").replace("drift:", "more:", 1).split("\n", 7)[7]
    text = second(after="[more]").replace("description: x", "description: x\n    after: [drift]") + third

    assert problems(tmp_path, text) == [
        "jobs.yaml line 8: job nightly: after: nightly after drift after more after nightly would wait for ever"
    ]


def test_everything_wrong_is_told_at_once_from_the_first_line_to_the_last(tmp_path):
    """One read lists the problems of every job, not just the first."""
    text = GOOD.replace("10 2 * * *", "x").replace("Etc/UTC", "Etc/UTC\n    max_attempts: -1\n    retry: 1")
    text += second(time_zone="Nowhere", slices=0).removeprefix(GOOD)

    found = [problem.split(": expected")[0] for problem in problems(tmp_path, text)]

    assert found == [
        "jobs.yaml line 4: job nightly: schedule",
        "jobs.yaml line 6: job nightly: max_attempts",
        "jobs.yaml line 7: job nightly: unknown key 'retry'",
        "jobs.yaml line 12: job drift: time_zone",
        "jobs.yaml line 15: job drift: slices",
    ]


def test_a_job_that_is_there_twice_is_named(tmp_path):
    """The last would silently win."""
    (problem,) = problems(tmp_path, second().replace("drift:", "nightly:"))

    assert problem == "jobs.yaml line 8: the key 'nightly' is there twice"


def test_a_tick_at_a_midnight_that_is_skipped_is_too_early(tmp_path):
    """In Havana 00:30 on the day of the change is the very moment the day before ends."""
    (problem,) = problems(tmp_path, GOOD.replace("10 2", "30 0").replace("Etc/UTC", "America/Havana"))

    expected = "schedule: expected 2 minutes after midnight or later; at 2026-03-08T01:00:00-04:00 the day before has"
    assert expected in problem


def test_a_job_without_time_to_settle_may_tick_at_midnight(tmp_path):
    """How long a day needs is the job's own word."""
    path = tmp_path / "jobs.yaml"
    path.write_text(GOOD.replace("10 2", "0 0") + "    settle_minutes: 0\n")

    assert read_jobs(path)["nightly"].settle_minutes == 0


def test_a_file_that_is_not_there_is_named(tmp_path):
    """No file is a configuration problem like any other; so is one that is no text."""
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")

    for name in ("jobs.yaml", "binary.yaml"):
        with pytest.raises(ConfigurationError, match=f"{name}: cannot be read"):
            read_jobs(tmp_path / name)


@pytest.mark.parametrize(
    "schedule", ["2 0 * * *", "10 2 * * 1", "0 3 29 2 *", "59 23 31 12 *", "10 2 * JAN mon-fri", "*/1 * * * *"]
)
def test_rare_and_frequent_schedules_are_taken(tmp_path, schedule):
    """From every minute to every leap day; a daily one from two minutes past midnight on."""
    path = tmp_path / "jobs.yaml"
    path.write_text(GOOD.replace("10 2 * * *", schedule))

    assert read_jobs(path)["nightly"].schedule == schedule
