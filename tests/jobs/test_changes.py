"""A deployment in the midst: another schedule, other code, and what was queued or half done under the one before."""

from dataclasses import replace
from datetime import timedelta

from tests.jobs.harness.samples import DAY, fill, job, reconcile
from tests.jobs.harness.world import World

MINUTE = timedelta(minutes=1)


class Tally:
    """Counts each document as so many."""

    def __init__(self, worth):
        self.worth = worth

    def fold(self, documents):
        return self.worth * sum(1 for _ in documents)

    def merge(self, interval, partials):
        return [{"count": sum(partials)}]


def test_a_queue_of_a_schedule_that_is_no_more_stands_in_nobodys_way(world):
    """What was queued under the old one ends as failed and says why; the new one's runs begin."""
    old = job(schedule="*/10 * * * *", transform="tally", settle_minutes=0)
    here = world(old, reconcile(), code={"tally": Tally(1)})
    here.backfill("nightly", **{"from": "2026-11-21T01:10Z", "to": "2026-11-21T01:50Z"})
    here.broker.take()
    here.jobs["nightly"] = replace(old, schedule="*/15 * * * *")

    here.reconcile()
    here.drain()

    states = here.states("nightly")
    assert states["2026-11-21T01:10Z"] == states["2026-11-21T01:20Z"] == "failed"
    assert states["2026-11-21T01:30Z"] in ("success", "failed")  # a time of both, if of another length
    assert "queued" not in states.values()
    assert "schedule was changed" in here.run("nightly", "2026-11-21T01:10Z").error
    assert here.store.list_dead_letters(after=None, limit=9) == []


def test_parts_of_two_versions_are_not_added_up(world):
    """Half of the parts were folded by the code before: the run is planned anew by the code that takes it over."""
    daily = job(transform="tally", slices=4, max_attempts=3)
    here = world(daily, reconcile(), code={"tally": Tally(1)})
    fill(here.store, [DAY], 20)
    here.deliver(here.tick("nightly"))
    slices = [message for message in here.broker.take() if "slice" in message.data]
    newer = World(
        here.store,
        here.jobs.values(),
        here.clock,
        code={"tally": Tally(2)},
        publish=here.broker.publish,
        code_version="newer",
    )
    for message in slices[:2]:
        here.deliver(message)

    refused = [newer.deliver(message).status for message in slices[2:]]
    here.clock.advance(20 * MINUTE)
    newer.reconcile()
    here.broker.drain(newer.receive)

    assert len(slices) == 4
    assert refused == [503, 503]
    assert here.rows()["nightly", DAY] == [{"count": 40}]
