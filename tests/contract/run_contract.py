"""What every store must do with runs and jobs, whichever database is behind it.

The table of who may have what is held to in tests/unit/test_claims.py; here it is shown that each store keeps to it,
and to what it was told.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import ConflictError
from shared.runs import KEPT_ATTEMPTS, Attempt, JobState, RunQuery
from tests.contract.factories import LEASE, MICROSECOND, NOW, a_run, claim, enqueue

LATER = NOW + timedelta(hours=1)
# Everything that a caller may ask for.
WHOLE = a_run(
    trigger="backfill",
    params={"deep": [1, {"a": None}], "ü 🙂": '"\\'},
    provisional=True,
    max_active=3,
    deadline_at=NOW + MICROSECOND,
    code_version="v1.2-é",
)


def rows_of(store):
    """Return the rows of every visible summary."""
    return [summary.rows for summary in store.list_summaries(RunQuery(), after=None, limit=99)]


class RunContract:
    """Runs: claimed with a lease, made to wait, finished under a fence."""

    def test_a_first_claim_makes_the_run(self, store):
        """A run begins running, with its first attempt and fence, and comes back whole."""
        granted = claim(store, WHOLE)

        assert granted.granted
        assert granted.run == replace(
            WHOLE,
            state="running",
            attempt=1,
            fence=1,
            lease_expires_at=NOW + LEASE,
            started_at=NOW,
            attempts=(Attempt(1, 1, "backfill", "v1.2-é", NOW),),
        )
        assert store.get_run("nightly", "2026-11-21") == granted.run
        assert store.get_run("nightly", "2026-11-20") is None
        assert store.get_run("other", "2026-11-21") is None

    @pytest.mark.parametrize("trigger", ["schedule", "manual"])
    def test_a_live_lease_refuses_everybody_else(self, store, trigger):
        """Nobody takes a run from a worker that is alive."""
        first = claim(store)

        second = claim(store, a_run(trigger=trigger), now=NOW + LEASE - MICROSECOND, reprocess="completed")

        assert (second.refusal, second.run) == ("running", first.run)

    def test_a_dead_lease_is_taken_over_under_a_new_fence(self, store):
        """When the lease has run out the next claim counts a further attempt, and the old one is lost."""
        claim(store, WHOLE)

        second = claim(store, now=NOW + LEASE)

        assert second.granted
        assert (second.run.fence, second.run.attempt) == (2, 2)
        assert second.run.lease_expires_at == NOW + 2 * LEASE
        assert (second.run.trigger, second.run.params, second.run.max_active) == ("backfill", WHOLE.params, 3)
        assert [attempt.outcome for attempt in second.run.attempts] == ["lost", "running"]
        assert store.get_run("nightly", "2026-11-21") == second.run

    def test_a_worker_that_lost_its_lease_can_do_nothing(self, store):
        """The fence keeps a worker that woke up late from writing anything, whoever has the run now."""
        zombie = claim(store).run
        winner = claim(store, now=NOW + LEASE).run
        before = store.touch_job("nightly", now=NOW)

        for step in _steps(zombie):
            with pytest.raises(ConflictError, match="nothing was written") as raised:
                step(store)
            assert raised.value.reason == "FENCE_LOST"

        assert store.get_run("nightly", "2026-11-21") == winner
        assert store.touch_job("nightly", now=NOW) == before
        assert rows_of(store) == []

    @pytest.mark.parametrize("waits", [True, False])
    def test_an_ended_run_cannot_be_ended_again(self, store, waits):
        """One claim has one outcome, whether another is waited for or not."""
        run = claim(store).run
        ended = store.fail_run(run, "no", retry_at=NOW, now=NOW) if waits else store.finish_run(run, [{}], now=NOW)

        for step in _steps(run):
            with pytest.raises(ConflictError):
                step(store)

        assert store.get_run("nightly", "2026-11-21") == ended

    def test_a_run_that_nobody_claimed_is_nobodys(self, store):
        """Nor is one that is not there."""
        waiting = enqueue(store).run

        for run in (waiting, a_run("2026-11-20", fence=1, state="running")):
            for step in _steps(run):
                with pytest.raises(ConflictError):
                    step(store)

    def test_finishing_shows_the_rows(self, store):
        """Rows come back in order with the types JSON has; the run says success."""
        rows = [{"model": "b", "n": 2, "mean": 0.1, "classes": {"z": 1, "a": 2}}, {"model": "a", "none": None}]
        run = claim(store).run

        done = store.finish_run(replace(run, output={"rows": 2}), rows, now=NOW + MICROSECOND)

        assert (done.state, done.generation, done.lease_expires_at, done.ended_at, done.output) == (
            *("success", 1, None),
            NOW + MICROSECOND,
            {"rows": 2},
        )
        assert store.get_run("nightly", "2026-11-21") == done
        (summary,) = store.list_summaries(RunQuery(), after=None, limit=9)
        assert (summary.job, summary.key, summary.provisional, list(summary.rows)) == (
            *("nightly", "2026-11-21", False),
            rows,
        )
        assert summary.created_at == NOW + MICROSECOND

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
    def test_rows_that_json_cannot_hold_are_refused_whole(self, store, value):
        """NaN in a row is the transform's fault; the run stays held, so that its failure can be recorded."""
        run = claim(store).run
        job = store.touch_job("nightly", now=NOW)

        with pytest.raises((ValueError, TypeError), match="JSON"):
            store.finish_run(run, [{"mean": value}], now=NOW)

        assert store.get_run("nightly", "2026-11-21") == run
        assert store.touch_job("nightly", now=NOW) == job
        assert rows_of(store) == []

    @pytest.mark.parametrize(
        ("provisional", "failed", "reprocess", "refusal"),
        [
            (False, False, "none", "ended"),
            (False, False, "failed", "ended"),
            (False, False, "completed", None),
            (False, True, "none", "ended"),
            (False, True, "failed", None),
            (False, True, "completed", None),
            (True, False, "none", None),
            (True, True, "none", None),
        ],
    )
    def test_a_run_that_ended_is_run_again_as_asked_or_if_it_was_provisional(
        self, store, provisional, failed, reprocess, refusal
    ):
        """A tick that comes again finds the work done; a failed look at an open day does not cost the day its run."""
        run = claim(store, a_run(provisional=provisional)).run
        ended = store.fail_run(run, "no", retry_at=None, now=NOW) if failed else store.finish_run(run, [], now=NOW)

        again = claim(store, reprocess=reprocess)

        assert again.refusal == refusal
        assert again.run == ended if refusal else again.run.state == "running"

    def test_a_failed_attempt_is_tried_again_when_it_is_time(self, store):
        """Queued, the next claim counts on; the error stays until then, and nobody but a person comes sooner."""
        failed = store.fail_run(claim(store).run, "Broken: pipe", retry_at=LATER, now=NOW)

        early = claim(store, now=LATER - MICROSECOND)
        again = claim(store, now=LATER)

        assert (failed.state, failed.error, failed.lease_expires_at, failed.not_before) == (
            *("queued", "Broken: pipe"),
            *(None, LATER),
        )
        assert (early.refusal, early.run) == ("backing-off", failed)
        assert (again.granted, again.run.attempt, again.run.fence, again.run.error) == (True, 2, 2, None)
        assert [(each.number, each.outcome, each.error) for each in again.run.attempts] == [
            (1, "failed", "Broken: pipe"),
            (2, "running", None),
        ]

    def test_by_hand_a_run_is_tried_sooner(self, store):
        """Whoever asks for it does not want to wait."""
        store.fail_run(claim(store).run, "no", retry_at=LATER, now=NOW)

        again = claim(store, a_run(trigger="manual", params={"by": "hand"}))

        assert again.granted
        assert (again.run.attempt, again.run.trigger, again.run.params) == (1, "manual", {"by": "hand"})

    def test_an_error_of_any_characters_is_recorded(self, store):
        """Text that a database cannot keep must not hinder a failure from being recorded."""
        failed = store.fail_run(
            claim(store).run, "bad byte \0 and \ud800 half a pair" + "💥" * 9000, retry_at=None, now=NOW
        )

        assert failed.error.startswith("bad byte ")
        assert store.get_run("nightly", "2026-11-21") == failed

    def test_twenty_long_errors_are_kept(self, store):
        """Everything fits into one row or document; older attempts are dropped."""
        for number in range(KEPT_ATTEMPTS + 2):
            failed = store.fail_run(claim(store).run, f"{number} " + "💥" * 9000, retry_at=NOW, now=NOW)

        kept = store.get_run("nightly", "2026-11-21")

        assert kept == failed
        assert [each.number for each in kept.attempts] == list(range(3, KEPT_ATTEMPTS + 3))

    def test_a_rerun_counts_attempts_from_one_again(self, store):
        """The fence only ever grows; attempts belong to one asking."""
        store.finish_run(claim(store).run, [], now=NOW)

        again = claim(store, reprocess="completed")

        assert (again.run.attempt, again.run.fence, again.run.generation) == (1, 2, 1)
        assert [(each.number, each.fence, each.outcome) for each in again.run.attempts] == [
            (1, 1, "success"),
            (1, 2, "running"),
        ]

    def test_old_rows_stay_visible_until_a_rerun_succeeds(self, store):
        """Readers never see half a rerun, nor lose the rows of a good run to a bad one."""
        store.finish_run(claim(store).run, [{"n": 1}], now=NOW)
        seen = []

        rerun = claim(store, reprocess="completed").run
        seen.append(rows_of(store))
        store.fail_run(rerun, "no", retry_at=NOW, now=NOW)
        seen.append(rows_of(store))
        store.finish_run(claim(store).run, [{"n": 3}], now=NOW)
        seen.append(rows_of(store))

        assert seen == [[({"n": 1},)], [({"n": 1},)], [({"n": 3},)]]

    def test_a_final_run_supersedes_a_provisional_one(self, store):
        """The summary says whether the day was still open when it was made."""
        store.finish_run(claim(store, a_run(provisional=True, trigger="manual")).run, [{"n": 1}], now=NOW)
        (before,) = store.list_summaries(RunQuery(), after=None, limit=9)

        store.finish_run(claim(store).run, [{"n": 2}], now=NOW)
        (after,) = store.list_summaries(RunQuery(), after=None, limit=9)

        assert (before.provisional, after.provisional) == (True, False)
        assert after.rows == ({"n": 2},)
        assert not claim(store).granted

    def test_renewing_keeps_a_run_from_others(self, store):
        """For a further lease from now on."""
        run = claim(store).run

        renewed = store.renew_run(run, now=NOW + LEASE, lease=LEASE)

        assert renewed == replace(run, lease_expires_at=NOW + 2 * LEASE)
        assert store.get_run("nightly", "2026-11-21") == renewed
        assert claim(store, now=NOW + 2 * LEASE - MICROSECOND).refusal == "running"
        assert store.touch_job("nightly", now=NOW).active == {"2026-11-21": NOW + 2 * LEASE}

    def test_a_run_that_is_not_done_in_time_goes_on(self, store):
        """In the attempt that it began, whoever claims it next; the one who put it back has it no more."""
        run = claim(store).run

        waiting = store.requeue_run(run, now=NOW)
        again = claim(store, now=LATER)

        assert (waiting.state, waiting.attempt, waiting.lease_expires_at) == ("queued", 0, None)
        assert (again.granted, again.run.attempt, again.run.fence) == (True, 1, 2)
        assert [(each.number, each.fence, each.started_at) for each in again.run.attempts] == [(1, 2, NOW)]
        with pytest.raises(ConflictError):
            store.finish_run(run, [], now=LATER)
        done = store.finish_run(again.run, [], now=LATER)
        assert [(each.outcome, each.started_at, each.ended_at) for each in done.attempts] == [("success", NOW, LATER)]

    def test_the_holder_of_an_old_copy_undoes_nothing(self, store):
        """What was noted on a run while it was worked on stays, whatever its worker then makes of it."""
        old = claim(store).run
        store.mark_deadline_missed(a_run(deadline_at=NOW), now=LATER)

        renewed = store.renew_run(old, now=NOW, lease=LEASE)
        done = store.finish_run(old, [], now=NOW)

        assert renewed.deadline_missed_at == done.deadline_missed_at == LATER
        assert store.get_run("nightly", "2026-11-21") == done


class QueueContract:
    """Runs that wait for their turn, and what is known of a job."""

    def test_a_run_is_made_to_wait_once(self, store):
        """It comes back as it was asked for, and whoever claims it does the work."""
        first = enqueue(store, WHOLE)
        second = enqueue(store, a_run())

        assert first.granted
        assert first.run == replace(WHOLE, state="queued", code_version="")
        assert (second.refusal, second.run) == ("queued", first.run)
        assert store.get_run("nightly", "2026-11-21") == first.run
        taken = claim(store, a_run(code_version="v2"))
        assert (taken.granted, taken.run.trigger, taken.run.params) == (True, "backfill", WHOLE.params)
        assert taken.run.code_version == "v2"

    def test_what_is_under_way_or_ended_is_not_made_to_wait(self, store):
        """Unless it is to be run again."""
        running = claim(store).run
        assert (enqueue(store).refusal, enqueue(store, now=NOW + LEASE).refusal) == ("running", None)
        taken = claim(store).run
        done = store.finish_run(taken, [{"n": 1}], now=NOW)

        refused = [enqueue(store, reprocess=reprocess) for reprocess in ("none", "failed")]
        again = enqueue(store, reprocess="completed")

        assert {(answer.refusal, answer.run) == ("ended", done) for answer in refused} == {True}
        assert (again.granted, again.run.attempt, again.run.fence, again.run.generation) == (True, 0, 2, 2)
        assert rows_of(store) == [({"n": 1},)]
        assert running.fence == 1

    def test_no_more_run_at_once_than_may(self, store):
        """The others wait, and one more begins when one ends, fails, is put back, or dies."""
        runs = [claim(store, a_run(f"2026-11-1{n}"), max_active=2) for n in range(4)]
        others = claim(store, a_run(job="drift"), max_active=1)

        assert [answer.refusal for answer in runs] == [None, None, "max-active", "max-active"]
        assert others.granted
        assert store.get_run("nightly", "2026-11-12").state == "queued"
        assert store.touch_job("nightly", now=NOW).active == dict.fromkeys(["2026-11-10", "2026-11-11"], NOW + LEASE)

        for n, give_up in enumerate(
            [
                lambda run: store.finish_run(run, [], now=NOW),
                lambda run: store.fail_run(run, "no", retry_at=None, now=NOW),
                lambda run: store.requeue_run(run, now=NOW),
            ]
        ):
            assert claim(store, a_run("2026-11-20"), max_active=2).refusal == "max-active"
            give_up(store.get_run("nightly", f"2026-11-1{n}"))
            assert claim(store, a_run(f"2026-11-1{n + 2}"), max_active=2).granted
        assert claim(store, a_run("2026-11-20"), max_active=2, now=NOW + LEASE - MICROSECOND).refusal == "max-active"
        assert claim(store, a_run("2026-11-20"), max_active=2, now=NOW + LEASE).granted

    def test_what_a_run_was_asked_for_with_bounds_it(self, store):
        """A backfill's own bound goes before the job's, for whoever claims it."""
        enqueue(store, a_run("2026-11-10", max_active=1))
        enqueue(store, a_run("2026-11-11", max_active=3))
        claim(store, a_run("2026-11-12"), max_active=9)

        assert claim(store, a_run("2026-11-10"), max_active=9).refusal == "max-active"
        assert claim(store, a_run("2026-11-11"), max_active=1).granted

    def test_a_lost_run_that_may_not_begin_waits(self, store):
        """Its worker has it no more, and its place is somebody else's."""
        lost = claim(store, WHOLE).run
        claim(store, a_run("2026-11-20"), now=NOW + LEASE)

        waiting = claim(store, replace(WHOLE, trigger="manual", max_active=1), now=NOW + LEASE)

        assert (waiting.refusal, waiting.run.state) == ("max-active", "queued")
        assert [each.outcome for each in waiting.run.attempts] == ["lost"]
        assert store.touch_job("nightly", now=NOW).active == {"2026-11-20": NOW + 2 * LEASE}
        with pytest.raises(ConflictError):
            store.finish_run(lost, [], now=NOW + LEASE)

    def test_a_paused_job_waits_but_for_people(self, store):
        """Nothing is kept of what is asked of it meanwhile; what is under way may end."""
        running = claim(store).run
        paused = store.set_paused("nightly", paused=True, now=NOW)

        for trigger in ("schedule", "catch-up", "backfill"):
            wanted = a_run("2026-11-20", trigger=trigger)
            for answer in (claim(store, wanted), enqueue(store, wanted)):
                assert (answer.refusal, answer.run) == ("paused", wanted)
        assert store.get_run("nightly", "2026-11-20") is None
        assert claim(store, a_run("2026-11-20", job="drift")).granted
        assert store.finish_run(running, [], now=NOW).state == "success"
        assert enqueue(store, a_run("2026-11-19", trigger="manual")).granted
        assert claim(store, a_run("2026-11-20", trigger="manual")).granted
        assert paused.paused_at == NOW

    def test_a_job_is_paused_and_resumed_once(self, store):
        """Pausing it again changes nothing, and a resumed one goes on."""
        assert store.touch_job("nightly", now=NOW) == JobState("nightly", NOW)
        assert store.set_paused("nightly", paused=True, now=NOW) == JobState("nightly", NOW, NOW)
        assert store.set_paused("nightly", paused=True, now=LATER) == JobState("nightly", NOW, NOW)
        assert store.touch_job("nightly", now=LATER) == JobState("nightly", NOW, NOW)
        assert claim(store).refusal == "paused"
        assert store.set_paused("nightly", paused=False, now=LATER) == JobState("nightly", NOW)
        assert claim(store).granted
        assert store.set_paused("new", paused=False, now=LATER) == JobState("new", LATER)

    @pytest.mark.parametrize(
        "ask",
        [
            lambda store: claim(store),
            lambda store: enqueue(store),
            lambda store: store.mark_deadline_missed(a_run(), now=NOW),
            lambda store: store.touch_job("nightly", now=NOW),
            lambda store: store.set_paused("nightly", paused=True, now=NOW),
        ],
    )
    def test_a_job_is_seen_when_it_is_first_asked_for(self, store, ask):
        """Whatever was asked: nothing before that is caught up."""
        ask(store)

        assert store.touch_job("nightly", now=LATER).first_seen_at == NOW
        assert store.touch_job("drift", now=LATER) == JobState("drift", LATER)

    def test_a_missed_deadline_is_noted_once(self, store):
        """On a run that is not there as on one that is under way; it stays when the run succeeds later."""
        running = claim(store, a_run("2026-11-20")).run

        first = [store.mark_deadline_missed(a_run(key, deadline_at=NOW), now=LATER) for key in _TWO_DAYS]
        second = [store.mark_deadline_missed(a_run(key, deadline_at=NOW), now=NOW) for key in _TWO_DAYS]

        assert (first, second) == ([True, True], [False, False])
        missed = store.get_run("nightly", "2026-11-21")
        assert missed == a_run(state="missed", deadline_at=NOW, deadline_missed_at=LATER)
        assert store.finish_run(running, [], now=NOW).deadline_missed_at == LATER
        assert claim(store).run.deadline_missed_at == LATER

    def test_what_succeeded_missed_nothing(self, store):
        """Nor is it noted afterwards, while it is run again."""
        store.finish_run(claim(store).run, [], now=NOW)
        assert not store.mark_deadline_missed(a_run(), now=NOW)

        claim(store, reprocess="completed")

        assert not store.mark_deadline_missed(a_run(), now=NOW)
        assert store.get_run("nightly", "2026-11-21").deadline_missed_at is None


_TWO_DAYS = ["2026-11-20", "2026-11-21"]


def _steps(run):
    """Return everything that only the holder of a run may do."""
    return [
        lambda store: store.renew_run(run, now=NOW, lease=LEASE),
        lambda store: store.requeue_run(run, now=NOW),
        lambda store: store.finish_run(run, [{"from": "zombie"}], now=NOW),
        lambda store: store.fail_run(run, "zombie", retry_at=NOW, now=NOW),
        lambda store: store.fail_run(run, "zombie", retry_at=None, now=NOW),
        lambda store: store.plan_parts(run, []),
    ]
