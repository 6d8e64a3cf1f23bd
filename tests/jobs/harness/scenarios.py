"""What happens in the tests that kill, stop and wake the function: which jobs, what is there, what is asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from functions.nightly_transform.orders import wanted_run
from shared.jobs import Job
from shared.runs import Run

from .samples import DAY, LEASE, TICK, fill, following, job, reconcile
from .world import World

# What is called: a message's data, or the order of a backfill of `nightly`.
Call = tuple[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Scenario:
    """One of them.

    Attributes:
        calls: What is delivered, or asked by a person, in order; each until it is answered.
        prepare: Makes what is there before.
        code: Of the jobs that are not shipped ones.
        later: Whether deliveries after the first have steps too that are worth failing at.
    """

    jobs: tuple[Job, ...]
    calls: tuple[Call, ...]
    prepare: Callable[[World], None] = lambda world: None
    code: Mapping[str, Any] = field(default_factory=dict)
    later: bool = True


_CODE = {"follow": following("nightly")}
_FOLLOWER = job("drift", "follow", after=("nightly",), catch_up="all", max_catch_up_runs=5)


def _a_night_of_losses(world: World) -> None:
    """Leave a run whose worker is gone, one in parts whose messages are lost, days without a run, a run that nobody
    woke, deadlines that passed, and runs that are old.
    """
    world.clock.now = TICK - timedelta(days=3, hours=1)
    for name in world.jobs:
        world.store.touch_job(name, now=world.clock())
    world.clock.now = TICK - 2 * LEASE
    for days in (40, 41):
        world.trigger("old", key=(TICK - timedelta(days=days)).date().isoformat())
    world.trigger("nightly", key="2026-11-19")
    world.trigger("wide", key="2026-11-20")
    now = world.clock()
    lost, waiting = _wanted(world, "nightly", "2026-11-20"), _wanted(world, "drift", "2026-11-19")
    world.store.claim_run(lost, now=now, lease=LEASE, max_active=1, reprocess="none")
    world.store.enqueue_run(waiting, now=now, reprocess="none")
    world.broker.take()


def _wanted(world: World, name: str, key: str) -> Run:
    wanted = world.jobs[name]
    return wanted_run(wanted, wanted.interval(key), "schedule", world.clock())


SCENARIOS = {
    "inline": Scenario((job(),), (("push", {"job": "nightly"}),)),
    "fan-out": Scenario((job(slices=2),), (("push", {"job": "nightly"}),)),
    "chain": Scenario((job(), _FOLLOWER), (("push", {"job": "drift"}), ("push", {"job": "nightly"})), code=_CODE),
    "backfill": Scenario((job(),), (("backfill", {"from": "2026-11-20", "to": DAY}),)),
    "reconcile": Scenario(
        (
            job(catch_up="all", max_catch_up_runs=5, deadline_minutes=60),
            _FOLLOWER,
            job("wide", slices=2, catch_up="none"),
            job("old", keep_days=30, catch_up="none"),
        ),
        (("push", {"job": "reconcile"}),),
        _a_night_of_losses,
        _CODE,
        later=False,
    ),
}
DAYS = ("2026-11-18", "2026-11-19", "2026-11-20", DAY)


def jobs_of(scenario: Scenario) -> tuple[Job, ...]:
    """Return a scenario's jobs, and the reconciler, which ticks after all else."""
    return (*scenario.jobs, reconcile())


def prepared(scenario: Scenario, world: World) -> None:
    """Make what is there before a scenario begins."""
    fill(world.store, DAYS, 3)
    scenario.prepare(world)
