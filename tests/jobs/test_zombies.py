"""Acceptance test 4: whoever wakes after another has taken over changes nothing any more, in one piece or in parts."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import count

import pytest

from functions.nightly_transform.transforms.daily_summary import transform as daily_summary
from shared.strict_json import canonical
from tests.contract.factories import in_parallel
from tests.jobs.harness.points import WatchedStore
from tests.jobs.harness.samples import DAY, LEASE, TICK, fill, job, reconcile
from tests.jobs.harness.world import World

on_sql = pytest.mark.parametrize(
    "database",
    ["sqlite", pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))],
    indirect=True,
)


@pytest.mark.parametrize(("name", "least"), [("inline", 9), ("fan-out", 30)])
def test_04_a_process_stopped_at_any_step_and_woken_later_changes_nothing(start_night, name, least):
    """SIGSTOP past the lease, another process does everything, SIGCONT: the night ends as one left undisturbed."""
    undisturbed = start_night(name)
    assert not undisturbed.run()
    expected = undisturbed.outcome()

    for step in count(1):
        night = start_night(name)
        stopped = night.run("stop", step)
        assert night.outcome() == expected, f"stopped at step {step}"
        if not stopped:
            break

    assert step > least


class _Asleep:
    """A transform whose first fold, or merge, sleeps until it is woken, and comes to something else than others."""

    def __init__(self, where):
        self.asleep, self.awake = threading.Event(), threading.Event()
        self._where = where

    def fold(self, documents):
        """Count, and add a thousand after having slept."""
        return sum(1 for _ in documents) + self._slept("fold")

    def merge(self, interval, partials):
        """Add up, and a thousand after having slept."""
        return [{"count": sum(partials) + self._slept("merge")}]

    def _slept(self, where):
        if where != self._where or self.asleep.is_set():
            return 0
        self.asleep.set()
        assert self.awake.wait(30)
        return 1000


@on_sql
@pytest.mark.parametrize(("where", "slices"), [("fold", 1), ("merge", 1), ("merge", 2)])
def test_04_whoever_sleeps_past_the_lease_cannot_commit(world, where, slices):
    """Another delivery takes the run over and ends it; the sleeper's rows are refused, its message comes in vain."""
    code = _Asleep(where)
    here = world(job(transform="asleep", slices=slices), reconcile(), code={"asleep": code})
    fill(here.store, [DAY], 10)
    here.tick("nightly")
    with ThreadPoolExecutor(1) as pool:
        sleeper = pool.submit(here.drain)
        assert code.asleep.wait(30)
        here.clock.advance(LEASE + timedelta(minutes=2))
        fresh = World(here.store, here.jobs.values(), here.clock, code={"asleep": code})
        fresh.reconcile()
        fresh.drain()
        assert here.rows()["nightly", DAY] == [{"count": 10}]

        code.awake.set()
        sleeper.result()

    assert here.rows()["nightly", DAY] == [{"count": 10}]
    run = here.run("nightly", DAY)
    assert (run.state, run.generation) == ("success", 2)
    assert [attempt.outcome for attempt in run.attempts] == ["lost", "success"]
    assert not here.broker.pending


def test_04_a_fold_that_slept_while_its_slice_was_done_is_left_out(world):
    """The first partial that is kept stays: what the sleeper came to is in no row."""
    code = _Asleep("fold")
    here = world(job(transform="asleep", slices=2), code={"asleep": code})
    fill(here.store, [DAY], 10)
    here.deliver(here.tick("nightly"))
    first, second = here.broker.take()
    with ThreadPoolExecutor(1) as pool:
        sleeper = pool.submit(here.push, first.body())
        assert code.asleep.wait(30)
        assert here.push(first.body()).status == 200

        code.awake.set()

        assert sleeper.result().status == 200
    assert here.push(second.body()).status == 200
    assert here.rows()["nightly", DAY] == [{"count": 10}]
    assert here.run("nightly", DAY).attempt == 1


def test_slices_of_an_old_plan_do_nothing(world):
    """A rerun plans anew: messages of the plan before are acknowledged, and neither fold nor end anything."""
    here = world(job(slices=3))
    fill(here.store, [DAY], 10)
    here.deliver(here.tick("nightly"))
    old = here.broker.take()
    for message in old[:2]:
        here.push(message.body())
    here.clock.advance(LEASE)
    assert here.trigger("nightly", key=DAY, force=True).status == 202
    here.clock.advance(LEASE)
    here.drain()
    assert here.rerun("nightly", DAY).status == 202
    before = here.run("nightly", DAY), here.store.list_parts(here.run("nightly", DAY), partials=True)

    statuses = [here.push(message.body()).status for message in old]

    assert statuses == [200, 200, 200]
    assert (here.run("nightly", DAY), here.store.list_parts(before[0], partials=True)) == before
    here.drain()
    assert here.run("nightly", DAY).state == "success"


@on_sql
def test_two_last_slices_at_once_end_the_run_once(world):
    """Both are kept before either looks whether one is left, so both merge: one commits, both are acknowledged."""
    here = world(job(slices=2))
    fill(here.store, [DAY], 10)
    here.deliver(here.tick("nightly"))
    messages = here.broker.take()
    both_kept, both_looked = threading.Barrier(2), threading.Barrier(2)

    def point(name):
        if name == "after finish_part":
            both_kept.wait(30)
        if name == "before finish_run":
            both_looked.wait(30)

    racing = World(WatchedStore(here.store, point), here.jobs.values(), here.clock)

    answers = in_parallel(2, lambda index: racing.push(messages[index].body()))

    assert [answer.status for answer in answers] == [200, 200]
    assert sorted(answer.value["ran"] for answer in answers) == [False, True]
    run = here.run("nightly", DAY)
    assert (run.state, run.generation, run.output["documents"]) == ("success", 1, 10)
    assert len(here.rows()) == 1
    here.check_settled()


@pytest.mark.parametrize("attempts", [1, 3])
def test_a_slice_that_always_fails_fails_the_run_and_frees_its_place(world, attempts):
    """It is tried as often as the job allows; then the run has failed, its other slices are left, the next one runs."""
    broken = _Breaking(fold=10**6)
    here = world(job(transform="broken", slices=3, max_attempts=attempts), code={"broken": broken})
    fill(here.store, [DAY, "2026-11-20"], 9)
    here.tick("nightly")
    here.deliver(here.broker.pending[0])
    here.broker.publish({"job": "nightly", "key": "2026-11-20"})  # it waits for the place
    broken.key = DAY

    here.drain()

    run = here.run("nightly", DAY)
    assert (run.state, run.error) == ("failed", "RuntimeError: broken on purpose")
    assert max(part.attempt for part in here.store.list_parts(run, partials=False)) == attempts
    assert broken.failures == 3 * (attempts - 1) + 1
    assert here.run("nightly", "2026-11-20").state == "success"
    here.check_settled()


@pytest.mark.parametrize("slices", [1, 3])
def test_a_merge_that_fails_is_tried_again_and_ends_well(world, slices):
    """The slices that are done stay done; the last one's message brings the next attempt."""
    undisturbed = world(job(slices=1))
    fill(undisturbed.store, [DAY], 30)
    undisturbed.tick("nightly")
    undisturbed.drain()
    broken = _Breaking(merge=2)
    here = World(undisturbed.store, [job("again", "broken", slices=slices)], undisturbed.clock, code={"broken": broken})
    here.tick("again", TICK)

    here.drain()

    run = here.run("again", DAY)
    assert (run.state, run.attempt, broken.failures) == ("success", 3, 2)
    # In one piece each attempt folds anew; in parts each is folded once.
    assert broken.folds == 3
    assert canonical(here.rows()["again", DAY]) == canonical(here.rows()["nightly", DAY])
    here.check_settled()


def test_a_merge_that_always_fails_fails_the_run(world):
    """Each attempt merges once; when they are spent the run has failed and no message is left."""
    broken = _Breaking(merge=10**6)
    here = world(job(transform="broken", slices=3, max_attempts=3), code={"broken": broken})
    fill(here.store, [DAY], 9)
    here.tick("nightly")

    here.drain()

    run = here.run("nightly", DAY)
    assert (run.state, run.attempt, broken.failures) == ("failed", 3, 3)
    here.check_settled()


class _Breaking:
    """daily_summary, that raises in the first so many folds of documents of one day, or merges."""

    def __init__(self, fold=0, merge=0):
        self.failures = self.folds = 0
        self.key = None
        self._fold, self._merge = fold, merge

    def fold(self, documents):
        """Fold, or raise."""
        self.folds += 1
        found = list(documents)
        if self._fold and (self.key is None or str(found[0].created_at.date()) == self.key):
            self._break("_fold")
        return daily_summary.fold(iter(found))

    def merge(self, interval, partials):
        """Merge, or raise."""
        if self._merge:
            self._break("_merge")
        return daily_summary.merge(interval, partials)

    def _break(self, name):
        setattr(self, name, getattr(self, name) - 1)
        self.failures += 1
        raise RuntimeError("broken on purpose")
