"""Who may have a run, and what it then is: every state a run may be in, asked for in every way."""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import ConflictError
from shared.runs import KEPT_ATTEMPTS, Attempt, JobState
from shared.stores import claims, job_states, outcomes
from tests.contract.factories import LEASE, MICROSECOND, NOW, a_run, some_parts

JOB = JobState("nightly", first_seen_at=NOW)
PAUSED = replace(JOB, paused_at=NOW)
LATER = NOW + timedelta(hours=1)
BEGUN = Attempt(2, 5, "backfill", "old", NOW - LEASE)
FAILED = replace(BEGUN, outcome="failed", ended_at=NOW, error="broken")
# A run that somebody asked for before, in each state it may be in.
BEFORE = a_run(
    trigger="backfill", params={"of": "before"}, max_active=7, code_version="old", attempt=2, fence=5, plan=5, parts=3
)
STATES = {
    "none": None,
    "queued": replace(BEFORE, state="queued", error="broken", attempts=(FAILED,)),
    "backing off": replace(BEFORE, state="queued", not_before=NOW + MICROSECOND, attempts=(FAILED,)),
    "due": replace(BEFORE, state="queued", not_before=NOW, attempts=(FAILED,)),
    "running": replace(BEFORE, state="running", lease_expires_at=NOW + MICROSECOND, attempts=(BEGUN,)),
    "lost": replace(BEFORE, state="running", lease_expires_at=NOW, attempts=(BEGUN,)),
    "success": replace(BEFORE, state="success", attempts=(replace(FAILED, outcome="success", error=None),)),
    "failed": replace(BEFORE, state="failed", error="broken", attempts=(FAILED,)),
    "provisional success": replace(BEFORE, state="success", provisional=True),
    "provisional failed": replace(BEFORE, state="failed", provisional=True),
    "missed": replace(a_run(state="missed"), deadline_missed_at=NOW),
}
STATES = {name: run and replace(run, generation=4, created_at=NOW - LEASE) for name, run in STATES.items()}
GOES_ON = ("queued", "due", "lost")
MANUAL = a_run(trigger="manual", params={"by": "hand"}, max_active=3, code_version="new", created_at=LATER)
SCHEDULED = replace(MANUAL, trigger="schedule")
G = None  # granted

# For each state: what a claim is answered for reprocess none, failed and completed, by the schedule and by hand, and
# on a job that is paused.
CLAIMS = {
    #                       schedule                       by hand                        paused, by the schedule
    "none": ((G, G, G), (G, G, G), ("paused",) * 3),
    "queued": ((G, G, G), (G, G, G), ("paused",) * 3),
    "backing off": (("backing-off",) * 3, (G, G, G), ("paused",) * 3),
    "due": ((G, G, G), (G, G, G), ("paused",) * 3),
    "running": (("running",) * 3, ("running",) * 3, ("running",) * 3),
    "lost": ((G, G, G), (G, G, G), ("paused",) * 3),
    "success": (("ended", "ended", G), ("ended", "ended", G), ("ended", "ended", "paused")),
    "failed": (("ended", G, G), ("ended", G, G), ("ended", "paused", "paused")),
    "provisional success": ((G, G, G), (G, G, G), ("paused",) * 3),
    "provisional failed": ((G, G, G), (G, G, G), ("paused",) * 3),
    "missed": ((G, G, G), (G, G, G), ("paused",) * 3),
}
WAYS = [
    (job, wanted, reprocess, row, column)
    # By hand it makes no difference whether the job is paused.
    for row, job, wanted in [(0, JOB, SCHEDULED), (1, JOB, MANUAL), (2, PAUSED, SCHEDULED), (1, PAUSED, MANUAL)]
    for column, reprocess in enumerate(["none", "failed", "completed"])
]


def claim(present, job=JOB, wanted=SCHEDULED, *, reprocess="completed", max_active=1, now=NOW):
    """Decide a claim with the usual lease."""
    return claims.claim(present, job, wanted, now=now, lease=LEASE, max_active=max_active, reprocess=reprocess)


def enqueue(present, job=JOB, wanted=SCHEDULED, *, reprocess="completed", now=NOW):
    """Decide what is asked to wait."""
    return claims.enqueue(present, job, wanted, now=now, reprocess=reprocess)


def test_every_state_is_in_the_table():
    """None was forgotten."""
    assert set(CLAIMS) == set(STATES)


@pytest.mark.parametrize(("job", "wanted", "reprocess", "row", "column"), WAYS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_and_every_way_of_claiming(state, job, wanted, reprocess, row, column):
    """The table of claims: granted or refused, and nothing written where it is refused."""
    decision = claim(STATES[state], job, wanted, reprocess=reprocess)

    refusal = CLAIMS[state][row][column]
    assert (decision.refusal, decision.changed) == (refusal, refusal is None)
    if refusal:
        assert (decision.run, decision.job) == (STATES[state] or wanted, job)
    else:
        assert decision.run.state == "running"
        assert decision.job.active == {"2026-11-21": NOW + LEASE}


@pytest.mark.parametrize(("job", "wanted", "reprocess", "row", "column"), WAYS)
@pytest.mark.parametrize("state", STATES)
def test_every_state_and_every_way_of_enqueueing(state, job, wanted, reprocess, row, column):
    """As claims have it, but that what waits already is refused as such."""
    decision = enqueue(STATES[state], job, wanted, reprocess=reprocess)

    waits = state in ("queued", "backing off", "due")
    refusal = (
        "paused"
        if job is PAUSED and wanted is SCHEDULED and waits
        else "queued"
        if waits
        else CLAIMS[state][row][column]
    )
    assert (decision.refusal, decision.changed) == (refusal, refusal is None)
    if refusal:
        assert (decision.run, decision.job) == (STATES[state] or wanted, job)
    else:
        assert (decision.run.state, decision.run.not_before, decision.run.lease_expires_at) == ("queued", None, None)
        assert decision.job.active == {}


@pytest.mark.parametrize("state", [name for name in STATES if name not in ("running", "backing off")])
def test_too_many_under_way_queue_what_may_begin(state):
    """It waits as if it had been asked to wait; what waits already stays as it is."""
    present = STATES[state]
    busy = replace(JOB, active={"2026-11-20": NOW + MICROSECOND})

    decision = claim(present, busy, replace(SCHEDULED, max_active=None), max_active=1 if state not in GOES_ON else 9)
    if state in GOES_ON:
        assert decision.refusal is None  # as many as it was itself asked for with
        present = replace(present, max_active=1)
        decision = claim(present, busy, SCHEDULED, max_active=9)

    assert decision.refusal == "max-active"
    if state in ("queued", "due"):
        assert (decision.run, decision.job, decision.changed) == (present, busy, False)
    else:
        waiting = enqueue(present, busy, replace(SCHEDULED, max_active=None))
        assert (decision.run, decision.job) == (waiting.run, waiting.job)
        assert decision.changed


def test_who_waits_for_a_slot_is_paused_or_backing_off_first():
    """The refusals come in the order that the protocol names."""
    busy = replace(PAUSED, active={"2026-11-20": LATER})

    assert claim(STATES["backing off"], busy, max_active=1).refusal == "paused"
    assert claim(STATES["backing off"], replace(busy, paused_at=None), max_active=1).refusal == "backing-off"
    assert claim(None, replace(busy, paused_at=None), replace(MANUAL, max_active=None)).refusal == "max-active"


@pytest.mark.parametrize(
    ("active", "max_active", "refusal"),
    [
        ({}, 1, None),
        ({"a": NOW}, 1, None),  # its lease ran out
        ({"2026-11-21": LATER}, 1, None),  # the very run
        ({"a": NOW + MICROSECOND}, 1, "max-active"),
        ({"a": LATER}, 2, None),
        ({"a": LATER, "b": LATER}, 2, "max-active"),
        ({"a": LATER, "b": NOW}, 2, None),
        ({}, 0, "max-active"),
    ],
)
def test_only_other_runs_whose_lease_lasts_count(active, max_active, refusal):
    """A worker that died takes nobody's place for longer than its lease."""
    job = replace(JOB, active=active)

    assert claim(None, job, a_run(), max_active=max_active).refusal == refusal


@pytest.mark.parametrize(("own", "given", "refusal"), [(2, 1, None), (1, 2, "max-active"), (None, 2, None)])
def test_what_the_run_itself_was_asked_for_with_counts_first(own, given, refusal):
    """A backfill may be let run wider, or narrower, than the job."""
    job = replace(JOB, active={"a": LATER})

    assert claim(None, job, a_run(max_active=own), max_active=given).refusal == refusal


@pytest.mark.parametrize("ask", [claim, enqueue])
@pytest.mark.parametrize("state", GOES_ON)
def test_what_waited_or_was_lost_is_still_what_was_asked_for(state, ask):
    """A tick or a message wakes it and changes nothing; its attempts, and what its parts came to, count on."""
    present = STATES[state]
    if ask is enqueue and state != "lost":
        return

    run = ask(present, wanted=replace(SCHEDULED, code_version="old")).run

    assert (run.trigger, run.params, run.max_active) == ("backfill", {"of": "before"}, 7)
    assert (run.attempt, run.plan, run.parts) == (2 + (ask is claim), 5, 3)


def test_by_hand_it_is_what_the_hand_asks_for():
    """Whoever triggers it gives it params, which its parts were not made with, and its attempts begin anew."""
    by_hand = replace(MANUAL, code_version="old")
    run = claim(STATES["lost"], wanted=by_hand).run

    assert (run.trigger, run.params, run.max_active, run.attempt) == ("manual", {"by": "hand"}, 3, 1)
    assert (run.plan, run.parts) == (None, 0)
    same = claim(STATES["lost"], wanted=replace(by_hand, params={"of": "before"})).run
    assert (same.plan, same.parts) == (5, 3)


def test_a_plan_of_other_code_is_dropped():
    """What two versions counted is not added up; who only has it wait knows of no version."""
    assert claim(STATES["lost"], wanted=replace(SCHEDULED, code_version="new")).run.plan is None
    assert enqueue(STATES["lost"], wanted=replace(SCHEDULED, code_version="")).run.plan == 5


@pytest.mark.parametrize("ask", [claim, enqueue])
def test_what_was_asked_for_by_hand_goes_on_while_its_job_is_paused(ask):
    """The message that wakes it is nobody's hand."""
    present = replace(STATES["lost"], trigger="manual")

    assert ask(present, PAUSED).refusal is None
    assert ask(replace(present, state="success"), PAUSED).refusal == "paused"


def test_a_plan_of_another_interval_is_dropped():
    """A zone that moved, for one: the parts cover what the run no longer does."""
    wanted = replace(SCHEDULED, interval=replace(SCHEDULED.interval, end=SCHEDULED.interval.end + LEASE))

    assert claim(STATES["lost"], wanted=wanted).run.plan is None


@pytest.mark.parametrize("ask", [claim, enqueue])
@pytest.mark.parametrize("state", [name for name in STATES if name not in (*GOES_ON, "running", "backing off")])
def test_what_is_asked_for_anew_begins_anew(state, ask):
    """Its attempts are counted from one, nothing is left of its parts, and it is what is asked for now."""
    same = STATES[state].params if STATES[state] else {}

    for params in ({"by": "hand"}, same):
        run = ask(STATES[state], wanted=replace(SCHEDULED, params=params)).run

        assert (run.trigger, run.params, run.max_active) == ("schedule", params, 3)
        assert (run.attempt, run.plan, run.parts, run.error) == (int(ask is claim), None, 0, None)
        assert (run.output, run.ended_at) == ({}, None)


@pytest.mark.parametrize("ask", [claim, enqueue])
@pytest.mark.parametrize("state", [name for name in STATES if name not in ("none", "running", "backing off")])
def test_what_a_run_keeps_for_ever(state, ask):
    """When it was first asked for, what is visible, its fence, that it was late, and its attempts."""
    present = replace(STATES[state], deadline_missed_at=LATER)
    if ask is enqueue and state in ("queued", "due"):
        return

    run = ask(present).run

    assert (run.created_at, run.generation, run.deadline_missed_at) == (NOW - LEASE, 4, LATER)
    assert run.fence == present.fence + (ask is claim)
    assert [each.fence for each in run.attempts[: len(present.attempts)]] == [each.fence for each in present.attempts]


def test_a_claim_is_the_run_with_its_lease_fence_and_attempt():
    """What a first claim of a new run makes of it."""
    decision = claim(None, JobState("nightly"), SCHEDULED)

    assert decision.run == replace(
        SCHEDULED,
        state="running",
        attempt=1,
        fence=1,
        lease_expires_at=NOW + LEASE,
        started_at=NOW,
        attempts=(Attempt(1, 1, "schedule", "new", NOW),),
    )
    assert decision.job == JobState("nightly", NOW, None, {"2026-11-21": NOW + LEASE})


def test_what_never_began_has_nobodys_code():
    """The version of the code is that of whoever claimed the run last."""
    assert enqueue(None).run.code_version == ""
    assert enqueue(STATES["failed"]).run.code_version == "old"
    assert claim(STATES["failed"]).run.code_version == "new"


@pytest.mark.parametrize("ask", [claim, enqueue])
def test_taking_over_closes_the_attempt_that_was_lost(ask):
    """Nobody knows when it ended."""
    run = ask(STATES["lost"]).run

    assert (run.attempts[0].outcome, run.attempts[0].ended_at) == ("lost", None)
    begun = Attempt(3, 6, "backfill", "new", NOW)
    assert run.attempts[1:] == ((begun,) if ask is claim else ())


def test_the_newest_attempts_are_kept():
    """Counting goes on beyond."""
    run = STATES["lost"]
    for _ in range(KEPT_ATTEMPTS + 5):
        run = replace(claim(run, max_active=9).run, lease_expires_at=NOW)

    assert len(run.attempts) == KEPT_ATTEMPTS
    assert [each.number for each in run.attempts] == list(range(8, 28))
    assert (run.attempt, run.fence) == (27, 30)


# --- The holder


HELD = claim(None).run
BUSY = replace(JOB, active={"2026-11-21": NOW + LEASE, "other": LATER})
NOT_HELD = {
    "gone": None,
    "claimed again": replace(HELD, fence=2),
    "queued": replace(HELD, state="queued"),
    "success": replace(HELD, state="success"),
    "failed": replace(HELD, state="failed"),
}
STEPS = {
    "renew": lambda present, run: outcomes.renew(present, BUSY, run, now=NOW, lease=LEASE),
    "requeue": lambda present, run: outcomes.requeue(present, BUSY, run),
    "finish": lambda present, run: outcomes.finish(present, BUSY, run, now=LATER),
    "fail": lambda present, run: outcomes.fail(present, BUSY, run, "no", retry_at=None, now=LATER),
    "retry": lambda present, run: outcomes.fail(present, BUSY, run, "no", retry_at=LATER, now=LATER),
    "plan": lambda present, run: outcomes.plan(present, run, 3),
}


@pytest.mark.parametrize("state", NOT_HELD)
@pytest.mark.parametrize("step", STEPS)
def test_who_holds_a_run_no_longer_can_do_nothing_with_it(step, state):
    """The fence, and the state, say who does."""
    with pytest.raises(ConflictError) as raised:
        STEPS[step](NOT_HELD[state], HELD)

    assert raised.value.reason == "FENCE_LOST"


@pytest.mark.parametrize("step", ["requeue", "finish", "fail", "retry"])
def test_a_run_that_is_no_longer_under_way_leaves_its_place(step):
    """To others of its job, at once."""
    decision = STEPS[step](HELD, HELD)

    assert decision.job.active == {"other": LATER}
    assert decision.run.lease_expires_at is None


def test_renewing_moves_the_lease_alone():
    """In the run and in the job."""
    decision = outcomes.renew(HELD, BUSY, HELD, now=LATER, lease=LEASE)

    assert decision.run == replace(HELD, lease_expires_at=LATER + LEASE)
    assert decision.job.active == {"2026-11-21": LATER + LEASE, "other": LATER}


@pytest.mark.parametrize("step", STEPS)
def test_what_came_between_is_kept(step):
    """The holder's copy is old: what was noted on the run since stays, and only the output is the holder's to say."""
    noted = replace(HELD, deadline_missed_at=LATER, plan=1, parts=9)

    made = STEPS[step](noted, replace(HELD, output={"n": 1}, params={"mine": True}))

    run = made if step == "plan" else made.run
    assert (run.deadline_missed_at, run.params) == (LATER, HELD.params)
    assert run.output == ({} if step in ("plan", "renew") else {"n": 1})
    assert (run.plan, run.parts) == (1, 3 if step == "plan" else 9)


def test_an_attempt_that_goes_on_is_not_counted_again():
    """A task that is not done in time goes on under a new fence, in the attempt that it began."""
    waiting = outcomes.requeue(HELD, BUSY, HELD).run
    again = claim(waiting, now=LATER).run

    assert (waiting.state, waiting.attempt, waiting.fence, waiting.not_before) == ("queued", 0, 1, None)
    assert (again.attempt, again.fence) == (1, 2)
    assert again.attempts == (replace(HELD.attempts[0], fence=2),)
    done = outcomes.finish(again, BUSY, again, now=LATER).run
    assert [(each.outcome, each.started_at, each.ended_at) for each in done.attempts] == [("success", NOW, LATER)]


def test_finishing_makes_its_fence_the_visible_one():
    """And closes its attempt."""
    done = outcomes.finish(replace(HELD, error="old"), BUSY, HELD, now=LATER).run

    assert (done.state, done.generation, done.ended_at, done.error) == ("success", 1, LATER, None)
    assert done.attempts == (replace(HELD.attempts[0], outcome="success", ended_at=LATER),)


@pytest.mark.parametrize(("retry_at", "state", "ended_at"), [(None, "failed", LATER), (LATER, "queued", None)])
def test_a_failure_ends_the_run_or_has_it_wait(retry_at, state, ended_at):
    """The attempt failed either way."""
    failed = outcomes.fail(HELD, BUSY, HELD, "no \0", retry_at=retry_at, now=LATER).run

    assert (failed.state, failed.not_before, failed.ended_at, failed.error) == (state, retry_at, ended_at, "no \ufffd")
    (attempt,) = failed.attempts
    assert (attempt.outcome, attempt.ended_at, attempt.error) == ("failed", LATER, "no \ufffd")


def test_a_long_error_is_cut():
    """A run holds its own and those of twenty attempts."""
    assert len(outcomes.fail(HELD, BUSY, HELD, "x" * 10_000, retry_at=None, now=NOW).run.error) == 4000


# --- Deadlines


DAY_OVER = a_run().interval.end
SEEN_OPEN = Attempt(1, 4, "manual", "", DAY_OVER - MICROSECOND, NOW, "success")
SEEN_WHOLE = replace(SEEN_OPEN, started_at=DAY_OVER)


@pytest.mark.parametrize(
    ("present", "noted"),
    [
        (None, True),
        (STATES["missed"], False),  # it was noted already
        (a_run(state="missed"), True),
        (a_run(state="queued"), True),
        (a_run(state="running", lease_expires_at=LATER), True),
        (a_run(state="failed"), True),
        (a_run(state="success", generation=4), False),
        (a_run(state="success", generation=4, provisional=True), True),
        # Run again after it had succeeded, which it had in time for all we know.
        (a_run(state="running", generation=4, attempts=(SEEN_WHOLE,)), False),
        (a_run(state="failed", generation=4), False),
        # What is visible is of the time before the day was over.
        (a_run(state="failed", generation=4, attempts=(SEEN_OPEN,)), True),
    ],
)
def test_a_deadline_is_missed_by_what_has_not_succeeded(present, noted):
    """Once; a look at an open day is no success, and a rerun takes none away."""
    decision = outcomes.mark_deadline_missed(present, JOB, a_run(deadline_at=LATER), now=NOW)

    assert decision.changed is noted
    if noted:
        assert (decision.run.deadline_missed_at, decision.run.deadline_at) == (NOW, LATER)
        assert decision.run.state == (present.state if present else "missed")
        assert not outcomes.mark_deadline_missed(decision.run, JOB, a_run(), now=LATER).changed
    else:
        assert decision.run == present


# --- Jobs and parts


def test_a_job_is_seen_and_paused_once():
    """The first time counts, until it is resumed."""
    new = JobState("nightly")
    first = job_states.with_pause(new, paused=True, now=NOW)

    assert job_states.seen(new, NOW).first_seen_at == NOW
    assert job_states.seen(JOB, LATER) == JOB
    assert first == PAUSED
    assert job_states.with_pause(first, paused=True, now=LATER) == first
    assert job_states.with_pause(first, paused=False, now=LATER) == JOB
    assert job_states.with_pause(JOB, paused=False, now=LATER) == JOB


def test_a_part_is_finished_with_a_partial():
    """Without one it would not be done."""
    part, *_ = some_parts()
    done = outcomes.finished_part(replace(part, attempt=1, error="once"), replace(part, partial="[]", documents=7))

    assert done == replace(part, attempt=1, error="once", partial="[]", documents=7)
    with pytest.raises(ValueError, match="part 0: expected a partial"):
        outcomes.finished_part(part, part)
