"""What people ask of jobs: pause, resume, rerun, backfill; over HTTP, as `python -m scheduler` does."""

import json
from datetime import UTC, datetime

import pytest

from scheduler.broker import Broker
from shared.stores import open_store
from tests.contract.factories import a_run, claim

DAY = "2026-11-21"


class Kept(list):
    """A subscription that delivers nothing: what was published to it.

    Attributes:
        seen: How many of them a test has delivered.
    """

    seen = 0

    def publish(self, message):
        """Keep what a message says."""
        self.append(json.loads(message.data))


@pytest.fixture
def published(monkeypatch):
    """Give the function a topic, through Google's client, and return what is published there."""
    messages = Kept()
    broker = Broker("local", {"nightly": messages}, lambda: datetime.now(UTC))
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.listen())
    monkeypatch.setenv("PROJECT_ID", "local")
    yield messages
    broker.close()


@pytest.fixture
def nightly(client):
    """Return a caller of the function; it is made with the settings of the fixtures before it."""
    return client("nightly_transform")


def reason(answer):
    """Return an error's reason."""
    return answer.json["error"]["details"][0]["reason"]


def test_a_paused_job_takes_no_tick_until_it_is_resumed(nightly):
    """Its ticks are acknowledged and leave no run; by hand it runs all the same."""
    paused = nightly.post("/jobs/nightly:pause")
    tick = nightly.post("/", json={"message": {"attributes": {"job": "nightly", "key": DAY}, "messageId": "1"}})
    by_hand = nightly.post("/jobs/nightly:trigger", json={"key": "2026-11-20"})
    resumed = nightly.post("/jobs/nightly:resume")
    again = nightly.post("/", json={"message": {"attributes": {"job": "nightly", "key": DAY}, "messageId": "2"}})

    assert (paused.json["paused"], resumed.json["paused"], resumed.json["paused_at"]) == (True, False, None)
    assert (tick.status_code, tick.json["ran"]) == (200, False)
    assert by_hand.json["run"]["state"] == "success"
    assert again.json["ran"]
    assert [run["key"] for run in nightly.get("/runs?job=nightly").json["runs"]] == [DAY, "2026-11-20"]


def test_pausing_twice_keeps_the_first_time(nightly):
    """Since when it waits is what a person wants to know."""
    first, second = nightly.post("/jobs/nightly:pause").json, nightly.post("/jobs/nightly:pause").json

    assert first["paused_at"] == second["paused_at"] is not None


def test_a_rerun_runs_one_day_again_and_keeps_its_attempts(nightly):
    """Whatever came of it before; the new generation is the visible one."""
    first = nightly.post("/jobs/nightly:trigger", json={"key": DAY}).json["run"]

    again = nightly.post(f"/runs/nightly/{DAY}:rerun").json["run"]

    shown = nightly.get(f"/runs/nightly/{DAY}").json
    assert (first["generation"], again["generation"]) == (1, 2)
    assert [attempt["fence"] for attempt in shown["attempts"]] == [1, 2]
    assert len(nightly.get("/summaries").json["summaries"]) == 1


def test_runs_are_listed_by_state(nightly):
    """A state goes with a job."""
    nightly.post("/jobs/nightly:trigger", json={"key": DAY})

    assert len(nightly.get("/runs?job=nightly&state=success").json["runs"]) == 1
    assert nightly.get("/runs?job=nightly&state=failed").json["runs"] == []
    for query in ("state=success", "job=nightly&state=done"):
        assert reason(nightly.get(f"/runs?{query}")) == "INVALID_STATE"


def test_a_backfill_queues_both_ends_and_wakes_as_many_as_may_run(published, nightly):
    """Oldest first; the rest wait in the store for a place."""
    answer = nightly.post("/jobs/nightly:backfill", json={"from": "2026-11-01", "to": "2026-11-05", "max_active": 2})

    keys = [f"2026-11-0{day}" for day in range(1, 6)]
    assert answer.json["runs"] == [{"key": key, "state": None, "action": "queue"} for key in keys]
    assert [run["key"] for run in nightly.get("/runs?job=nightly&state=queued").json["runs"]] == keys[::-1]
    assert published == [{"job": "nightly", "key": key} for key in keys[:2]]


def test_a_backfill_never_doubles_what_is_there(published, nightly, state_dir):
    """Queued, running and finished days are left; with `failed` and `completed` those that ended so are not."""
    store = open_store(f"sqlite:///{state_dir}/nightshift.db")
    nightly.post("/jobs/nightly:trigger", json={"key": "2026-11-02"})
    order = {"from": "2026-11-01", "to": "2026-11-02"}

    first = nightly.post("/jobs/nightly:backfill", json=order).json["runs"]
    again = nightly.post("/jobs/nightly:backfill", json=order).json["runs"]
    planned = nightly.post("/jobs/nightly:backfill", json={**order, "reprocess": "completed", "dry_run": True})
    completed = nightly.post("/jobs/nightly:backfill", json={**order, "reprocess": "completed"}).json["runs"]
    store.close()

    assert [run["action"] for run in first] == ["queue", "skip"]
    assert [(run["state"], run["action"]) for run in again] == [("queued", "skip"), ("success", "skip")]
    assert planned.json["runs"] == completed
    assert [run["action"] for run in completed] == ["skip", "queue"]


def test_a_dry_run_changes_nothing_and_needs_no_topic(nightly):
    """It says what would be done."""
    answer = nightly.post("/jobs/nightly:backfill", json={"from": DAY, "to": DAY, "dry_run": True})

    assert answer.json["runs"] == [{"key": DAY, "state": None, "action": "queue"}]
    assert nightly.get("/runs").json["runs"] == []


def test_without_a_topic_a_backfill_is_refused(nightly):
    """Nobody would deliver what wakes the runs: said at once, and nothing is queued."""
    answer = nightly.post("/jobs/nightly:backfill", json={"from": DAY, "to": DAY})

    assert (answer.status_code, reason(answer)) == (409, "NO_TOPIC")
    assert nightly.get("/runs").json["runs"] == []


def test_a_paused_job_is_not_backfilled(published, nightly):
    """It would only wait."""
    nightly.post("/jobs/nightly:pause")

    answer = nightly.post("/jobs/nightly:backfill", json={"from": DAY, "to": DAY})

    assert (answer.status_code, reason(answer)) == (409, "JOB_PAUSED")


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ({"from": "2026-11-05", "to": "2026-11-01"}, "INVALID_RANGE"),
        ({"from": "2026-02-30", "to": "2026-11-01"}, "INVALID_KEY"),
        ({"from": "2026-11-01"}, "INVALID_KEY"),
        ({"from": "2026-11-01", "to": None}, "INVALID_KEY"),
        ({"from": "2026-11-01", "to": "2999-01-01"}, "INVALID_RANGE"),
        ({"from": "2999-01-01", "to": "2999-01-02"}, "INVALID_KEY"),
        ({"from": "1900-01-01", "to": "2026-11-01"}, "INVALID_RANGE"),
        ({"from": DAY, "to": DAY, "reprocess": "all"}, "INVALID_REPROCESS"),
        ({"from": DAY, "to": DAY, "max_active": 0}, "INVALID_NUMBER"),
        ({"from": DAY, "to": DAY, "max_active": "2"}, "INVALID_NUMBER"),
        ({"from": DAY, "to": DAY, "max_active": True}, "INVALID_NUMBER"),
        ({"from": DAY, "to": DAY, "params": {"x": 1}}, "INVALID_PARAMS"),
        ({"from": DAY, "to": DAY, "dry_run": "maybe"}, "INVALID_FLAG"),
        ({"from": DAY, "to": DAY, "until": DAY}, "UNKNOWN_MEMBER"),
    ],
)
def test_a_backfill_that_makes_no_sense_starts_nothing(published, nightly, order, expected):
    """A named 400."""
    answer = nightly.post("/jobs/nightly:backfill", json=order)

    assert (answer.status_code, reason(answer)) == (400, expected)
    assert nightly.get("/runs").json["runs"] == []
    assert published == []


@pytest.mark.parametrize("verb", ["pause", "resume", "backfill", "trigger"])
def test_a_job_that_is_not_there_is_404(nightly, verb):
    """It names those there are."""
    answer = nightly.post(f"/jobs/nightlyy:{verb}", json={})

    assert (answer.status_code, reason(answer)) == (404, "JOB_NOT_FOUND")


def test_a_job_after_another_waits_for_it(published, nightly):
    """Its tick is kept; by hand it is refused unless forced; the other's success wakes it."""
    tick = {"message": {"attributes": {"job": "drift", "key": DAY}, "messageId": "1"}}

    early = nightly.post("/", json=tick)
    refused = nightly.post("/jobs/drift:trigger", json={"key": DAY})
    nightly.post("/jobs/nightly:trigger", json={"key": DAY})

    assert (early.status_code, early.json["ran"], early.json["waiting_for"]) == (200, False, ["nightly"])
    assert (refused.status_code, reason(refused)) == (409, "DEPENDENCIES_NOT_MET")
    assert published == [{"job": "drift", "key": DAY}]
    assert nightly.post("/", json=tick).json["run"]["state"] == "success"


def test_a_run_that_finds_no_place_waits_for_one(published, nightly, state_dir):
    """A person gets 202 and the queued run."""
    store = open_store(f"sqlite:///{state_dir}/nightshift.db")
    (job,) = (job for job in nightly.get("/jobs").json["jobs"] if job["id"] == "nightly")
    for day in range(1, job["max_active"] + 1):
        assert claim(store, a_run(f"2026-11-{day:02}"), now=datetime.now(UTC)).granted
    store.close()

    answer = nightly.post("/jobs/nightly:trigger", json={"key": "2026-11-20"})

    assert (answer.status_code, answer.json["ran"], answer.json["run"]["state"]) == (202, False, "queued")
    assert json.loads(answer.data)["run"]["trigger"] == "manual"


def test_a_delivery_that_is_to_come_again_alarms_nobody(nightly, state_dir, capfd):
    """503 has Pub/Sub come again, and is no error: a copy of a message that is being worked on."""
    nightly.get("/jobs")
    store = open_store(f"sqlite:///{state_dir}/nightshift.db")
    assert claim(store, a_run(DAY), now=datetime.now(UTC)).granted
    store.close()
    capfd.readouterr()

    answer = nightly.post("/", json={"message": {"attributes": {"job": "nightly", "key": DAY}, "messageId": "1"}})

    (line,) = (json.loads(line) for line in capfd.readouterr().out.splitlines())
    assert answer.status_code == 503
    assert (line["severity"], line["outcome"], line["key"]) == ("INFO", "RUN_IN_PROGRESS", DAY)


def test_a_run_that_ends_wakes_one_more_and_no_storm(published, nightly):
    """For the other places messages are on their way already: each day of a backfill is woken about once."""
    order = {"from": "2026-10-01", "to": "2026-10-20", "max_active": 10}
    nightly.post("/jobs/nightly:backfill", json=order)
    for message in iter(lambda: published.pop(0) if published.seen < 60 and published else None, None):
        published.seen += 1
        nightly.post("/", json={"message": {"attributes": message, "messageId": str(published.seen)}})

    runs = nightly.get("/runs?job=nightly&page_size=50").json["runs"]
    assert {run["state"] for run in runs} == {"success"}
    assert len(runs) == 20
    assert published.seen < 50


def test_tonight_does_not_wait_for_a_backfill(published, nightly):
    """What the schedule or a person asked for goes first."""
    nightly.post("/jobs/nightly:backfill", json={"from": "2026-10-01", "to": "2026-10-09", "max_active": 1})
    nightly.post("/jobs/export:trigger", json={"key": DAY})
    tick = nightly.post("/", json={"message": {"attributes": {"job": "nightly", "key": DAY}, "messageId": "1"}})

    assert tick.json["ran"]
    assert published[-1] == {"job": "nightly", "key": "2026-10-01"}


@pytest.mark.parametrize("published_at", ["2030-01-01T00:00:00Z", "9998-12-31T23:59:59Z"])
def test_a_tick_from_the_future_starts_nothing(nightly, published_at):
    """It is a mistake of somebody's clock, and recorded."""
    message = {"attributes": {"job": "nightly"}, "messageId": "1", "publishTime": published_at}

    answer = nightly.post("/", json={"message": message})

    assert (answer.status_code, answer.json["recorded"]) == (200, True)
    assert nightly.get("/runs").json["runs"] == []


def test_a_tick_of_long_ago_is_left(nightly):
    """No policy makes up for what lies farther back than max_catch_up_runs."""
    message = {"attributes": {"job": "nightly"}, "messageId": "1", "publishTime": "1971-06-01T02:10:00Z"}

    answer = nightly.post("/", json={"message": message})

    assert (answer.status_code, answer.json["late"]) == (200, True)
    assert nightly.get("/runs").json["runs"] == []
