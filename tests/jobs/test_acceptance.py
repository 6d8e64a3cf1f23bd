"""What regular jobs promise, a test for each promise, by its number.

Where one test is not enough, a file holds the rest: 3 test_crashes.py (a process killed at every step), 4
test_zombies.py, 5 test_nights.py, 9 test_reconcile.py. What 12 to 14 promise, the stores and lists keep: see the last
test here.
"""

import base64
import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from shared.config import ROOT
from shared.errors import InvalidRequestError, UnavailableError
from shared.strict_json import canonical
from tests.contract.factories import a_result, a_run, in_parallel
from tests.jobs.harness.points import WatchedStore, watched_publish
from tests.jobs.harness.samples import (
    DAY,
    LEASE,
    TICK,
    Failing,
    Gauge,
    Held,
    fill,
    job,
    reconcile,
)
from tests.jobs.harness.world import World

_POSTGRESQL = pytest.param("postgresql", marks=pytest.mark.xdist_group("postgresql"))
on_sql = pytest.mark.parametrize("database", ["sqlite", _POSTGRESQL], indirect=True)
on_every_store = pytest.mark.parametrize("database", ["sqlite", _POSTGRESQL, "firestore"], indirect=True)
EVENTS = ROOT / "tests" / "samples" / "events"
MINUTE = timedelta(minutes=1)


@on_every_store
def test_01_the_same_tick_published_twice_is_one_run_and_one_generation(world):
    """Two messages of one tick, of different ids, make one run of one attempt, whose rows are written once."""
    here = world(job())
    fill(here.store, [DAY], 20)
    here.tick("nightly", TICK)
    here.tick("nightly", TICK + timedelta(seconds=40))

    here.drain()

    run = here.run("nightly", DAY)
    assert (run.state, run.attempt, run.fence, run.generation) == ("success", 1, 1, 1)
    assert [status for _, status in here.broker.answers] == [200, 200]
    assert list(here.rows()) == [("nightly", DAY)]


def test_01_a_tick_at_the_very_end_of_its_interval_waits_until_that_has_settled(world):
    """A job that ticks every ten minutes: delivered at once, again and again, and twice, it is one final run."""
    here = world(job(schedule="*/10 * * * *"))
    here.store.create_results([a_result(created_at=TICK - timedelta(microseconds=1))])
    first, second = here.tick("nightly"), here.tick("nightly")
    refused = here.deliver(first)
    assert (refused.status, refused.value["reason"], refused.headers["Retry-After"]) == (
        503,
        "INTERVAL_UNSETTLED",
        "120",
    )

    here.drain(copies=2)

    (run,) = here.runs()
    assert (run.key, run.state, run.provisional, run.fence) == ("2026-11-22T02:00Z", "success", False, 1)
    assert run.output["documents"] == 1
    assert min(first.deliveries, second.deliveries) > 2


@on_every_store
def test_02_the_same_message_twice_at_once_has_one_worker(world):
    """The copy that comes while the first is at work is refused, and acknowledged once that has ended."""
    held = Held()
    here = world(job(transform="held"), code={"held": held})
    message = here.tick("nightly")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(here.push, message.body())
        assert held.entered.wait(30)

        copy = here.push(message.body())

        held.released.set()
        assert first.result().status == 200
    assert (copy.status, copy.value["reason"], "Retry-After" in copy.headers) == (503, "RUN_IN_PROGRESS", True)
    assert (here.deliver(message).status, held.calls) == (200, 1)
    assert here.run("nightly", DAY).fence == 1


@on_sql
def test_02_fifty_copies_at_once_have_one_worker(world):
    """Each is answered 2xx or 503 and, delivered again, 2xx; the work was done once."""
    gauge = Gauge(1)
    here = world(job(transform="gauge"), code={"gauge": gauge})
    message = here.tick("nightly")

    statuses = in_parallel(50, lambda _: here.push(message.body()).status)

    assert set(statuses) <= {200, 503}
    assert {here.push(message.body()).status for _ in range(3)} == {200}
    assert gauge.calls == [DAY]


class _Killed(BaseException):
    """Nothing catches it, as nothing catches the end of a process."""


def _until_step(world, number, nightly):
    """Return a function over the same store and broker that ends at its step of that number."""
    steps = []

    def point(name):
        steps.append(name)
        if len(steps) == number:
            raise _Killed(name)

    store, publish = WatchedStore(world.store, point), watched_publish(world.broker.publish, point)
    return World(store, [nightly], world.clock, publish=publish)


@on_sql
@pytest.mark.parametrize("slices", [1, 2])
def test_03_a_crash_after_any_step_leaves_the_same_bytes(world, slices):
    """Wherever the function ends, the deliveries that follow come to the rows of a run that nothing disturbed."""
    # A job for each step: the same data, and nothing done yet.
    jobs = [job(f"nightly-{number}", slices=slices) for number in range(100)]
    here = world(*jobs)
    fill(here.store, [DAY], 6)
    here.tick("nightly-0")
    here.drain()
    undisturbed = canonical(here.rows()["nightly-0", DAY])
    for number, nightly in enumerate(jobs[1:], 1):
        here.clock.now = TICK
        here.tick(nightly.id)
        try:
            here.broker.drain(_until_step(here, number, nightly).receive)
            break
        except _Killed:
            here.clock.advance(LEASE)
            here.drain()
        assert canonical(here.rows()[nightly.id, DAY]) == undisturbed, f"ended at step {number}"
    assert 12 < number < 99
    assert [(run.job, run.state) for run in here.runs() if run.state != "success"] == []
    here.check_settled()


@on_sql
def test_04_a_worker_that_wakes_after_its_lease_cannot_commit(world):
    """The first attempt sleeps, the second succeeds; what the first then brings is refused and seen by nobody."""
    asleep, awake = threading.Event(), threading.Event()

    def slow_at_first(context):
        if context.run.attempt == 1:
            asleep.set()
            assert awake.wait(30)
        return [{"attempt": context.run.attempt}]

    here = world(job(transform="slow"), code={"slow": slow_at_first})
    message = here.tick("nightly")
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(here.push, message.body())
        assert asleep.wait(30)
        here.clock.advance(LEASE)

        assert here.push(message.body()).status == 200

        awake.set()
        assert (first.result().status, first.result().value["reason"]) == (409, "FENCE_LOST")
    assert here.rows() == {("nightly", DAY): [{"attempt": 2}]}
    run = here.run("nightly", DAY)
    assert (run.state, run.generation) == ("success", 2)
    assert [attempt.outcome for attempt in run.attempts] == ["lost", "success"]
    # Delivered again, the first one's message finds that all is done.
    assert here.deliver(message).status == 200


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", "2024-03-10", 23),
        ("America/New_York", "2024-11-03", 25),
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("Europe/Berlin", "2028-02-29", 24),
    ],
)
def test_05_the_days_on_which_clocks_are_changed_are_whole(world, zone, day, hours):
    """The tick after such a day makes one run of 23 or 25 hours, which sees a result of each hour once."""
    nightly = job(time_zone=zone)
    interval = nightly.interval(day)
    here = world(nightly, now=nightly.next_tick(interval.end))
    for hour in range(-1, hours + 1):
        here.store.create_results([a_result(created_at=interval.start + timedelta(hours=hour))])
    here.tick("nightly")

    here.drain()

    assert here.states("nightly") == {day: "success"}
    assert interval.end - interval.start == timedelta(hours=hours)
    assert [row["results"] for row in here.rows()["nightly", day]] == [hours]


@pytest.mark.parametrize(
    ("reprocess", "again"), [("none", []), ("failed", ["2026-11-04"]), ("completed", ["2026-11-03", "2026-11-04"])]
)
def test_06_a_backfill_takes_both_ends_and_reprocesses_as_it_is_told(world, reprocess, again):
    """Days without a run are queued; those that ended are by choice; those that wait or run are left alone."""
    calls = []
    here = world(job(transform="note"), code={"note": lambda context: calls.append(context.run.key) or []})
    _make_days(here)

    dry = here.backfill("nightly", **{"from": "2026-11-01", "to": "2026-11-06"}, reprocess=reprocess, dry_run=True)
    before = here.runs()
    answer = here.backfill("nightly", **{"from": "2026-11-01", "to": "2026-11-06"}, reprocess=reprocess)

    queued = sorted(["2026-11-01", "2026-11-06", *again])
    kept = {"2026-11-02": "queued", "2026-11-03": "success", "2026-11-04": "failed", "2026-11-05": "running"}
    assert [(run["key"], run["state"], run["action"]) for run in answer.value["runs"]] == [
        (day, kept.get(day), "queue" if day in queued else "skip")
        for day in (f"2026-11-0{number}" for number in range(1, 7))
    ]
    assert dry.value == answer.value
    assert [run.key for run in before] == sorted(kept)  # the dry run had queued nothing
    # The day that runs has the only place until it is lost.
    here.clock.advance(LEASE)
    here.broker.publish({"job": "nightly", "key": "2026-11-05"})
    here.drain()
    assert sorted(calls) == sorted([*queued, "2026-11-02", "2026-11-05"])
    here.check_settled()


def _make_days(here):
    """Have 2 November queued, 3 successful, 4 failed and 5 running; of 1 and 6 nothing is known."""
    nightly, now = here.jobs["nightly"], here.clock()
    for number, state in ((3, "success"), (4, "failed"), (5, "running")):
        wanted = a_run(f"2026-11-0{number}", interval=nightly.interval(f"2026-11-0{number}"), params={})
        run = here.store.claim_run(wanted, now=now, lease=LEASE, max_active=1, reprocess="none").run
        if state == "success":
            here.store.finish_run(run, [], now=now)
        if state == "failed":
            here.store.fail_run(run, "broken", retry_at=None, now=now)
    wanted = a_run("2026-11-02", interval=nightly.interval("2026-11-02"), params={})
    assert here.store.enqueue_run(wanted, now=now, reprocess="none").granted


@on_every_store
@pytest.mark.parametrize("asked", [None, 3])
def test_06_no_more_runs_are_under_way_than_may(world, database, asked):
    """Eight deliveries at once, and never more runs than the job allows, or the backfill if it says so."""
    most = asked or 2
    gauge = Gauge(most)
    here = world(job(transform="gauge", max_active=2), code={"gauge": gauge})
    days = 6 if database.startswith("firestore") else 20
    order = {"from": "2026-10-01", "to": f"2026-10-{days:02}", **({"max_active": asked} if asked else {})}
    assert here.backfill("nightly", **order).status == 200
    # As if every message came at once, and some twice.
    for run in [*here.runs(), *here.runs()[:5]]:
        here.broker.publish({"job": "nightly", "key": run.key})

    here.broker.drain_at_once(here.receive, threads=8)

    assert gauge.most == most
    assert sorted(gauge.calls) == [f"2026-10-{day:02}" for day in range(1, days + 1)]
    here.check_settled()


@pytest.mark.parametrize(
    ("policy", "made_up_for"), [("none", []), ("latest", []), ("all", ["2026-11-19", "2026-11-20"])]
)
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_07_an_outage_of_three_ticks_starts_no_storm(world, policy, made_up_for, order):
    """All three ticks are delivered at once: the newest is not late; of the others the policy makes up for all or none,
    one at a time.
    """
    gauge = Gauge(1)
    here = world(job(transform="gauge", catch_up=policy), reconcile(), code={"gauge": gauge})
    here.reconcile()
    ticks = [here.tick("nightly", TICK - timedelta(days=days)) for days in (2, 1, 0)]
    here.broker.take()
    here.broker.pending = [ticks[index] for index in order]
    here.clock.now = TICK + 20 * MINUTE

    here.broker.drain_at_once(here.receive, threads=3)

    assert here.states("nightly") == dict.fromkeys([*made_up_for, DAY], "success")
    assert (sorted(gauge.calls), gauge.most) == ([*made_up_for, DAY], 1)
    assert len(here.broker.published) <= 4 + 2 * len(made_up_for)
    here.check_settled()


def test_08_a_message_nobody_understands_is_a_dead_letter_and_later_ticks_run(world):
    """Poison is recorded once and acknowledged; two hundred good messages beside it all succeed."""
    calls = []
    nightly = job(transform="note", max_active=300)
    here = world(nightly, code={"note": lambda context: calls.append(context.run.key) or []})
    keys = [(TICK - timedelta(days=days)).date().isoformat() for days in range(1, 201)]
    poison = [here.broker.publish({"job": "nightly", "key": f"2026-02-{day}"}) for day in (29, 30, 31)]
    for key in keys:
        here.broker.publish({"job": "nightly", "key": key})
    random.Random(8).shuffle(here.broker.pending)

    here.drain(copies=2)

    assert sorted(calls) == sorted(keys)
    assert [message.deliveries for message in poison] == [2, 2, 2]
    letters = here.store.list_dead_letters(after=None, limit=9)
    assert sorted(letter.id for letter in letters) == ["message-m0", "message-m1", "message-m2"]
    assert all("INVALID_KEY" in letter.reason for letter in letters)


@pytest.mark.parametrize(
    ("error", "attempts"), [(RuntimeError("broken"), 3), (InvalidRequestError("no such column"), 1)]
)
def test_08_a_run_that_always_fails_is_tried_max_attempts_times_and_later_ticks_run(world, error, attempts):
    """A failure that may pass is tried again, one that cannot pass is not; either way the next day runs."""
    failing = Failing(error, times=attempts)
    here = world(job(transform="failing", max_attempts=3), code={"failing": failing})
    here.tick("nightly")

    here.drain()

    run = here.run("nightly", DAY)
    assert (run.state, run.attempt, failing.calls) == ("failed", attempts, attempts)
    assert type(error).__name__ in (run.error or "")
    assert [attempt.outcome for attempt in run.attempts] == ["failed"] * attempts
    here.clock.now = TICK + timedelta(days=1)
    here.tick("nightly")
    here.drain()
    assert here.states("nightly") == {DAY: "failed", "2026-11-22": "success"}


def test_08_deliveries_cost_no_attempts(world):
    """A run that waits for its next attempt is delivered often; it fails after as many attempts, not deliveries."""
    failing = Failing(UnavailableError("away"), times=2)
    here = world(job(transform="failing", max_attempts=3, backoff_seconds=600), code={"failing": failing})
    message = here.tick("nightly")

    here.drain(copies=4)

    assert (here.run("nightly", DAY).state, here.run("nightly", DAY).attempt) == ("success", 3)
    assert message.deliveries > 20


def test_09_a_run_that_never_started_raises_one_alert(world, capfd):
    """Nothing ever came of the tick: past the deadline there is one line to alert on, and a mark on the run."""
    here = world(job(deadline_minutes=180), reconcile(), now=TICK - MINUTE)
    here.reconcile()  # the job is known from here on

    for minutes in (20, 40, 51, 60, 80, 24 * 60):
        here.clock.now = TICK + minutes * MINUTE
        here.reconcile()

    run = here.run("nightly", DAY)
    assert run.deadline_missed_at == TICK + 51 * MINUTE
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    alerts = [line for line in lines if line.get("event") == "deadline_missed"]
    assert [(line["severity"], line["late_job"], line["late_key"]) for line in alerts] == [("ERROR", "nightly", DAY)]


class _Sharded:
    """A store whose results are spread over shards, as Firestore's may be."""

    def __init__(self, inner, shards):
        self.shards = shards
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def read_summaries(self, start, end, *, shard=None):
        """Yield the results of one shard, or all."""
        for document in self._inner.read_summaries(start, end):
            if shard in (None, document.created_at.microsecond % self.shards):
                yield document


@pytest.mark.parametrize("topic", [False, True])
@pytest.mark.parametrize(("shards", "counts"), [(1, (1, 7, 24, 240)), (3, (1, 24))])
def test_10_any_number_of_slices_in_any_order_gives_the_same_bytes(world, tmp_path, topic, shards, counts):
    """Values of mixed magnitude, in 1 to 240 slices, inline or fanned out, each message twice and shuffled."""
    chance = random.Random(10)
    written = set()
    for slices in counts:
        here = world(job(slices=slices), url=f"sqlite:///{tmp_path}/{slices}.db", topic=topic)
        fill(here.store, [DAY], 200)
        here = World(_Sharded(here.store, shards), [job(slices=slices)], here.clock, topic=topic)
        message = here.tick("nightly")

        assert here.deliver(message).status == 200
        here.drain(choose=chance.choice, copies=2)

        written.add(canonical(here.rows()["nightly", DAY]))
        fanned_out = topic and slices * shards > 1
        assert here.run("nightly", DAY).parts == (slices * shards if fanned_out else 0)
        assert here.run("nightly", DAY).output["documents"] == 200
    assert len(written) == 1


@pytest.mark.parametrize("sample", sorted(path.stem for path in EVENTS.iterdir()))
def test_11_an_envelope_of_any_recorded_shape_runs_the_job(world, sample):
    """Attributes alone, no data, snake case, no publish time or that of 1970: each makes the run it means."""
    body = (EVENTS / f"{sample}.json").read_bytes()
    here = world(job(), now=datetime(2026, 11, 22, 15, 30, tzinfo=UTC))

    answer = here.push(body)

    expected = "2026-11-20" if "attributes_only" in sample else DAY
    assert (answer.status, answer.value["ran"], here.states("nightly")) == (200, True, {expected: "success"})


def _envelope(**message):
    return json.dumps({"message": {"messageId": "7", **message}, "subscription": "s"}).encode()


def _data(value):
    return base64.b64encode(value if isinstance(value, bytes) else json.dumps(value).encode()).decode()


POISON = {
    "an empty body": b"",
    "not JSON": b"job=nightly",
    "not UTF-8": b"\xff\xfe\x00",
    "a NUL": b"\x00",
    "a list": b"[]",
    "a string": b'"nightly"',
    "no message": b'{"subscription": "s"}',
    "a message that is a string": b'{"message": "nightly"}',
    "too deep": b'{"message":' * 9000,
    "no data and no attributes": _envelope(),
    "data that is null": _envelope(data=None, attributes=None),
    "data of no base64": _envelope(data="{job: nightly}"),
    "data that is a number": _envelope(data=7),
    "data that is not JSON": _envelope(data=_data(b"job=nightly")),
    "data that is not UTF-8": _envelope(data=_data(b"\xff")),
    "data that is a JSON string": _envelope(data=_data('{"job": "nightly"}')),
    "data that is a list": _envelope(data=_data([{"job": "nightly"}])),
    "no job": _envelope(data=_data({"key": DAY})),
    "a job that is a number": _envelope(data=_data({"job": 7})),
    "a job that is not there": _envelope(data=_data({"job": "weekly"})),
    "a member that is not there": _envelope(data=_data({"job": "nightly", "day": DAY})),
    "a day that does not exist": _envelope(data=_data({"job": "nightly", "key": "2026-02-30"})),
    "a day that has not begun": _envelope(data=_data({"job": "nightly", "key": "2026-11-30"})),
    "a key that is a number": _envelope(data=_data({"job": "nightly", "key": 20261121})),
    "a parameter that is not there": _envelope(data=_data({"job": "nightly", "params": {"unit": "day"}})),
    "a force that is text": _envelope(data=_data({"job": "nightly", "force": "yes"})),
    "a slice without a plan": _envelope(data=_data({"job": "nightly", "slice": 1})),
    "a slice below zero": _envelope(data=_data({"job": "nightly", "plan": 1, "slice": -1})),
    "a slice that is true": _envelope(data=_data({"job": "nightly", "plan": 1, "slice": True})),
    "attributes that are a list": _envelope(data=_data({"job": "nightly"}), attributes=["job"]),
    "an attribute that is a number": _envelope(attributes={"job": 7}),
    "a publish time that is none": _envelope(data=_data({"job": "nightly"}), publishTime="yesterday"),
    "nine megabytes": _envelope(data=_data(b"x" * 9_000_000)),
    "nine megabytes of parameters": _envelope(data=_data({"job": "nightly", "params": {"x": "y" * 9_000_000}})),
}


@pytest.mark.parametrize("name", POISON)
def test_11_an_envelope_that_cannot_be_meant_is_recorded_and_nothing_started(world, name):
    """It is answered 2xx, since it would come again for days, and is there to be looked at; twice makes one letter."""
    here = world(job(), now=datetime(2026, 11, 22, 15, 30, tzinfo=UTC))

    first, second = here.push(POISON[name]), here.push(POISON[name])

    assert (first.status, second.status) == (200, 200)
    assert (first.value["recorded"], second.value["recorded"]) == (True, False)
    (letter,) = here.store.list_dead_letters(after=None, limit=9)
    assert letter.body_bytes == len(POISON[name])
    assert letter.reason.split(":")[0].isupper()
    assert here.runs() == []


def test_11_a_letter_that_cannot_be_recorded_is_refused_and_comes_again(world):
    """The store is away: the message is not lost, and a later delivery records it."""
    here = world(job())

    def away(name):
        if name == "before record_dead_letter":
            raise UnavailableError("away")

    behind = World(WatchedStore(here.store, away), [job()], here.clock)
    assert behind.push(b"poison").status == 503
    assert here.push(b"poison").value["recorded"]


ELSEWHERE = {
    12: (
        ("contract/result_contract.py", "test_pages_with_equal_times_neither_skip_nor_repeat_while_rows_arrive"),
        ("contract/result_contract.py", "test_what_has_expired_is_hidden"),
        ("functions/test_list_results.py", "test_a_token_with_a_character_changed_is_refused"),
        ("functions/test_list_results.py", "test_a_token_of_another_deployment_is_refused"),
    ),
    13: (
        ("contract/test_firestore_store.py", "test_a_create_whose_answer_was_lost_is_recognised"),
        ("contract/result_contract.py", "test_the_same_id_with_another_payload_is_refused_and_nothing_is_kept"),
    ),
    14: (("repo/test_firestore_indexes.py", "test_every_shape_has_its_index_and_every_index_its_shape"),),
}


@pytest.mark.parametrize("number", ELSEWHERE)
def test_12_to_14_are_kept_by_the_stores_and_lists(number):
    """The tests that hold them to it are there."""
    for file, test in ELSEWHERE[number]:
        assert f"def {test}(" in (ROOT / "tests" / file).read_text("utf-8")
