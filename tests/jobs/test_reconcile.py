"""What was lost is found again: each pass of the reconciler leaves what a second one, or one beside it, leaves too."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from functions.nightly_transform.orders import wanted_run
from shared.errors import InvalidRequestError
from tests.jobs.harness.samples import DAY, LEASE, TICK, Failing, Gauge, fill, following, job, reconcile

DAYS = [(datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=days)).date().isoformat() for days in range(40)]
MINUTE, ONE_DAY = timedelta(minutes=1), timedelta(days=1)
# A tick that passed this long ago counts as missed.
NOTICED = TICK + 20 * MINUTE
CODE = {"note": lambda context: [{"key": context.run.key}], "follow": following("nightly")}


def note(**changes):
    """Return a job whose runs write their key."""
    return job(transform="note", **changes)


def of_job(rows, name="nightly"):
    """Return the reconciler's row of a job; empty if it had nothing to do there."""
    return next((row for row in rows if row["job"] == name), {})


def known_since(here, days):
    """Have the jobs known for so many days, and come back to the present."""
    now = here.clock.now
    here.clock.now = TICK - timedelta(days=days) + MINUTE
    for name in here.jobs:
        here.store.touch_job(name, now=here.clock())
    here.clock.now = now


def wanted(here, name, key):
    """Return a run as the schedule asks for it."""
    return wanted_run(here.jobs[name], here.jobs[name].interval(key), "schedule", here.clock())


def test_a_run_whose_worker_is_gone_is_queued_and_woken(world):
    """Not before its lease has run out; then it goes on counting attempts, and the lost one is shown."""
    here = world(note(), reconcile(), code=CODE)
    here.store.claim_run(wanted(here, "nightly", DAY), now=TICK, lease=LEASE, max_active=1, reprocess="none")

    here.clock.now = TICK + 10 * MINUTE
    assert of_job(here.reconcile()) == {}
    here.clock.now = TICK + 20 * MINUTE
    assert of_job(here.reconcile()).items() >= {"requeued": 1, "woken": 1}.items()
    assert here.states("nightly") == {DAY: "queued"}
    here.drain()

    run = here.run("nightly", DAY)
    assert (run.state, run.attempt, run.trigger) == ("success", 2, "schedule")
    assert [attempt.outcome for attempt in run.attempts] == ["lost", "success"]
    here.check_settled()


def test_the_place_of_a_worker_that_is_gone_is_free_without_the_reconciler(world):
    """Its lease has run out: the next night's tick runs at once, and the lost one is still there to be made good."""
    here = world(note(), reconcile(), code=CODE)
    here.store.claim_run(wanted(here, "nightly", DAY), now=TICK, lease=LEASE, max_active=1, reprocess="none")
    here.clock.now = TICK + ONE_DAY

    assert here.deliver(here.tick("nightly")).value["ran"]

    assert here.states("nightly") == {DAY: "running", "2026-11-22": "success"}
    here.reconcile()
    here.drain()
    assert here.states("nightly") == {DAY: "success", "2026-11-22": "success"}


def test_a_run_that_loses_every_worker_fails_in_the_end(world):
    """Whatever kills its worker each time: after max_attempts it has failed, and its place is free."""
    here = world(note(max_attempts=3), reconcile(), code=CODE)
    for _ in range(3):
        here.store.claim_run(
            wanted(here, "nightly", DAY), now=here.clock(), lease=LEASE, max_active=1, reprocess="none"
        )
        here.clock.advance(20 * MINUTE)
        here.reconcile()
    here.drain()

    run = here.run("nightly", DAY)
    assert (run.state, [attempt.outcome for attempt in run.attempts[:3]]) == ("failed", ["lost"] * 3)
    here.check_settled()


@pytest.mark.parametrize("slices", [1, 4])
def test_a_fan_out_whose_messages_were_lost_goes_on(world, slices):
    """Its parts are published again, those that are done are not; the rows are those of a night left alone."""
    here = world(job(slices=4), reconcile())
    fill(here.store, [DAY], 12)
    here.deliver(here.tick("nightly"))
    for message in here.broker.take()[: slices - 1]:
        here.push(message.body())

    here.clock.now = TICK + 20 * MINUTE
    here.reconcile()
    here.drain()

    assert here.run("nightly", DAY).state == "success"
    published = [message["slice"] for message in here.broker.published if "slice" in message]
    assert published == [0, 1, 2, 3, *range(slices - 1, 4)]
    here.check_settled()


@pytest.mark.parametrize(
    ("policy", "created"),
    [("none", []), ("latest", [DAY]), ("all", ["2026-11-18", "2026-11-19", "2026-11-20", DAY])],
)
def test_runs_that_no_tick_made_are_made_up_for_by_policy(world, policy, created):
    """`none` leaves them, `latest` makes the last one, `all` each since the job is known; oldest first, once each."""
    gauge = Gauge(1)
    here = world(note(catch_up=policy), reconcile(), now=NOTICED, code={"note": gauge})
    known_since(here, 4)

    first, second = here.reconcile(), here.reconcile()
    here.drain()

    assert of_job(first).get("created", 0) == len(created)
    assert of_job(second).get("created", 0) == 0
    assert gauge.calls == created
    assert here.states("nightly") == dict.fromkeys(created, "success")
    assert {run.trigger for run in here.runs("nightly")} <= {"catch-up"}
    here.check_settled()


def test_no_more_runs_are_made_up_for_than_the_job_says(world):
    """Known for a month, with max_catch_up_runs of 5: the newest five."""
    here = world(note(catch_up="all", max_catch_up_runs=5), reconcile(), now=NOTICED, code=CODE)
    known_since(here, 30)

    here.reconcile()
    here.drain()

    assert list(here.states("nightly")) == DAYS[16:21]


def test_nothing_is_made_up_for_from_before_the_job_was_known(world):
    """A job that is new has no past; a tick that is on its way is not missed yet."""
    here = world(note(catch_up="all", deadline_minutes=1), reconcile(), now=NOTICED, code=CODE)
    assert here.reconcile() == []

    here.clock.now = TICK + ONE_DAY + 10 * MINUTE
    assert here.reconcile() == []
    here.clock.now = TICK + ONE_DAY + 20 * MINUTE
    assert of_job(here.reconcile())["created"] == 1
    assert list(here.states("nightly")) == ["2026-11-22"]


def test_a_night_that_has_only_a_provisional_run_is_made_up_for(world):
    """Someone looked before the night was over, and the tick never came: the whole day is run all the same."""
    here = world(note(catch_up="all"), reconcile(), now=NOTICED, code=CODE)
    known_since(here, 1)
    here.clock.now = TICK - 6 * timedelta(hours=1)
    assert here.trigger("nightly", key=DAY).value["run"]["provisional"]

    here.clock.now = NOTICED
    here.reconcile()
    here.drain()

    run = here.run("nightly", DAY)
    assert (run.state, run.provisional, run.trigger) == ("success", False, "catch-up")


def test_paused_jobs_are_left_alone_until_they_are_resumed(world):
    """No run is made, woken, queued again or marked; resumed, all that the policy asks for is made up for."""
    here = world(note(catch_up="all", deadline_minutes=60), reconcile(), now=NOTICED, code=CODE)
    known_since(here, 3)
    lost, waiting = wanted(here, "nightly", "2026-11-19"), wanted(here, "nightly", "2026-11-20")
    here.store.claim_run(lost, now=TICK - ONE_DAY, lease=LEASE, max_active=1, reprocess="none")
    here.store.enqueue_run(waiting, now=TICK - ONE_DAY, reprocess="none")
    here.pause("nightly")
    before = here.runs("nightly")

    assert of_job(here.reconcile()) == {}

    assert here.runs("nightly") == before
    assert [message for message in here.broker.published if message["job"] == "nightly"] == []
    here.resume("nightly")
    here.clock.advance(10 * MINUTE)
    here.reconcile()
    here.drain()
    assert here.states("nightly") == dict.fromkeys(["2026-11-19", "2026-11-20", DAY], "success")


def test_a_job_whose_file_says_paused_gets_no_runs_of_its_own_accord(world):
    """Its ticks are not missed, since it has none."""
    here = world(note(catch_up="all", paused=True, deadline_minutes=1), reconcile(), now=NOTICED, code=CODE)
    known_since(here, 3)

    assert of_job(here.reconcile()) == {}
    assert here.states("nightly") == {}


def test_a_dependant_that_nobody_woke_is_woken(world):
    """What it comes after succeeded, and the message that should have followed was lost."""
    here = world(note(), job("drift", "follow", after=("nightly",)), reconcile(), code=CODE)
    here.deliver(here.tick("drift"))
    assert here.states("drift") == {DAY: "queued"}
    here.deliver(here.tick("nightly"))
    assert here.broker.take()[0].data == {"job": "drift", "key": DAY}  # lost

    here.reconcile()
    here.drain()

    assert here.rows()["drift", DAY] == [{"key": DAY, "seen": [1]}]
    here.check_settled()


def test_a_dependant_waits_for_what_it_comes_after(world):
    """It is not woken while that has not succeeded; when it does, one pass or none brings it about."""
    here = world(
        job(transform="failing", max_attempts=1),
        job("drift", "follow", after=("nightly",)),
        reconcile(),
        code={"failing": Failing(RuntimeError("broken"), times=1), "follow": CODE["follow"]},
    )
    here.tick("drift")
    here.tick("nightly")
    here.drain()
    for _ in range(3):
        here.clock.advance(10 * MINUTE)
        assert of_job(here.reconcile(), "drift") == {}
    assert (here.states("nightly"), here.states("drift")) == ({DAY: "failed"}, {DAY: "queued"})

    here.rerun("nightly", DAY)
    here.drain()

    assert here.states("drift") == {DAY: "success"}


def test_a_run_forced_by_hand_waits_for_a_place_and_for_nothing_else(world):
    """Its job's only place was taken; when that is free it runs, though what it comes after has not succeeded."""
    here = world(note(), job("drift", "follow", after=("nightly",)), reconcile(), code=CODE)
    here.store.claim_run(wanted(here, "drift", "2026-11-20"), now=TICK, lease=LEASE, max_active=1, reprocess="none")
    assert here.trigger("drift", key=DAY).value["reason"] == "DEPENDENCIES_NOT_MET"
    assert here.trigger("drift", key=DAY, force=True).status == 202

    here.clock.now = TICK + 20 * MINUTE
    here.reconcile()
    here.drain()

    assert here.states("drift") == {"2026-11-20": "queued", DAY: "success"}


def test_runs_older_than_they_are_kept_are_forgotten_for_good(world, capfd):
    """They are deleted with what they wrote, and neither made up for nor marked late because they are gone."""
    nightly = note(keep_days=5, catch_up="all", deadline_minutes=60)
    here = world(nightly, reconcile(keep_days=1), now=NOTICED, code=CODE)
    known_since(here, 20)
    for key in DAYS[5:21]:
        here.trigger("nightly", key=key)
    here.reconcile()
    here.drain()

    for _ in range(3):
        here.clock.advance(10 * MINUTE)
        assert of_job(here.reconcile()) == {}

    assert list(here.states("nightly")) == DAYS[16:21]
    assert [key for job_id, key in here.rows() if job_id == "nightly"] == DAYS[16:21][::-1]
    assert "deadline_missed" not in capfd.readouterr().out
    # The reconciler forgets its own as well.
    here.clock.advance(3 * ONE_DAY)
    here.reconcile()
    assert [run.key[:10] for run in here.runs("reconcile")] == ["2026-11-25"]


@pytest.mark.parametrize("state", ["never started", "queued", "running", "failed"])
def test_09_a_deadline_that_passes_is_marked_and_alerted_once(world, capfd, state):
    """Whatever became of the run, if it has not succeeded; late it may still succeed, and stays marked."""
    here = world(
        job(transform="failing", deadline_minutes=180, max_attempts=3, catch_up="none", owner="zoe"),
        reconcile(),
        now=TICK - MINUTE,
        code={"failing": Failing(InvalidRequestError("broken"), times=1 if state == "failed" else 0)},
    )
    here.reconcile()
    here.clock.now = TICK
    asked = wanted(here, "nightly", DAY)
    if state == "queued":
        here.store.enqueue_run(asked, now=TICK, reprocess="none")
    if state == "running":
        here.store.claim_run(asked, now=TICK, lease=3 * timedelta(hours=1), max_active=1, reprocess="none")
    if state == "failed":
        here.push(here.tick("nightly").body())
    # The deadline is 03:00.
    for minutes in (20, 40, 60, 70, 180):
        here.clock.now = TICK + minutes * MINUTE
        here.reconcile()

    run = here.run("nightly", DAY)
    assert run.deadline_missed_at == TICK + 60 * MINUTE
    assert (run.state == "missed") == (state == "never started")
    alerts = [
        line for line in map(json.loads, capfd.readouterr().out.splitlines()) if line.get("event") == "deadline_missed"
    ]
    assert [
        (line["severity"], line["late_job"], line["late_key"], line["owner"], line["deadline_at"]) for line in alerts
    ] == [("ERROR", "nightly", DAY, "zoe", "2026-11-22T03:00:00+00:00")]
    here.clock.advance(timedelta(hours=1))
    assert here.trigger("nightly", key=DAY).status == 200
    assert here.run("nightly", DAY).state == "success"
    assert here.run("nightly", DAY).deadline_missed_at == TICK + 60 * MINUTE


def test_09_a_run_that_succeeded_in_time_raises_no_alert(world, capfd):
    """Nor one that succeeded too late, but before anybody looked; nor a job without a deadline."""
    here = world(note(deadline_minutes=131), job("free", "note"), reconcile(), now=TICK - MINUTE, code=CODE)
    here.reconcile()
    here.clock.now = TICK
    here.tick("nightly")
    here.clock.now = TICK + 30 * MINUTE
    here.drain()

    here.clock.now = TICK + 40 * MINUTE
    here.reconcile()

    assert "deadline_missed" not in capfd.readouterr().out
    assert here.run("nightly", DAY).deadline_missed_at is None


def test_t5_three_missed_nights_are_run_oldest_first_and_once(world):
    """Of `all`, one at a time, in the order of the nights, whatever order the late ticks come in."""
    gauge = Gauge(1)
    here = world(note(catch_up="all"), reconcile(), now=NOTICED, code={"note": gauge})
    known_since(here, 3)
    for days in (0, 2, 1):
        here.tick("nightly", TICK - timedelta(days=days))
    late = here.broker.take()

    here.reconcile()
    here.drain()
    for message in late:
        here.deliver(message)
    here.drain()

    assert gauge.calls == ["2026-11-19", "2026-11-20", DAY]


def _a_mess(world, **how):
    here = world(
        note(catch_up="all", deadline_minutes=60, max_active=2, keep_days=30),
        job("drift", "follow", after=("nightly",), catch_up="all"),
        reconcile(max_active=20),
        now=NOTICED,
        code=CODE,
        **how,
    )
    known_since(here, 5)
    past = TICK - 2 * LEASE
    lost, waiting = wanted(here, "nightly", "2026-11-19"), wanted(here, "drift", "2026-11-18")
    here.store.claim_run(lost, now=past, lease=LEASE, max_active=1, reprocess="none")
    here.store.enqueue_run(waiting, now=past, reprocess="none")
    return here


def test_two_passes_are_as_one(world, tmp_path):
    """A second pass changes no run, and finds nothing that it would do but wake once more."""
    here = _a_mess(world)
    here.reconcile()
    before = here.runs("nightly"), here.runs("drift")

    rows = here.reconcile()

    assert (here.runs("nightly"), here.runs("drift")) == before
    assert {name: value for name, value in of_job(rows).items() if value and name != "job"} == {"woken": 2}
    assert of_job(rows, "drift") == {}


@pytest.mark.parametrize(
    "database",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))],
    indirect=True,
)
def test_reconcilers_and_ticks_at_once_end_as_one_after_the_other(world, capfd):
    """Eight passes beside the very ticks they make up for: each night once, each deadline alerted once."""
    here = _a_mess(world)
    ticks = [here.tick("nightly", TICK - timedelta(days=days)) for days in range(4)]
    passes = [here.broker.publish({"job": "reconcile", "key": f"2026-11-22T0{n}:00Z"}) for n in range(2)]
    passes += [here.broker.publish({"job": "reconcile", "key": f"2026-11-21T0{n}:00Z"}) for n in range(6)]
    here.broker.pending = [message for pair in zip(passes, ticks * 2, strict=True) for message in pair]

    here.broker.drain_at_once(here.receive, threads=8)
    here.reconcile()
    here.drain()

    nights = ["2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20", DAY]
    assert here.states("nightly") == dict.fromkeys(nights, "success")
    assert here.states("drift") == dict.fromkeys(nights, "success")
    assert all(
        [attempt.outcome for attempt in run.attempts].count("success") == 1
        for run in [*here.runs("nightly"), *here.runs("drift")]
    )
    alerts = [line["late_key"] for line in map(json.loads, capfd.readouterr().out.splitlines()) if "late_key" in line]
    assert len(alerts) == len(set(alerts))
    here.check_settled()
