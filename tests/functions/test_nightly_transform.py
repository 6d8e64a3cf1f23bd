"""nightly-transform runs one job over one interval, once, whatever is delivered how often."""

import base64
import json
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from functions.nightly_transform.api import Api
from functions.nightly_transform.dependencies import Dependencies
from functions.nightly_transform.transforms import find_code
from shared.config import ROOT
from shared.errors import ConfigurationError, ConflictError, InvalidRequestError, NotFoundError, UnavailableError
from shared.events import push_body
from shared.jobs import Job
from shared.paging import PageTokens
from shared.routing import Request
from shared.runs import RunQuery
from shared.stores import open_store
from tests.contract.factories import LEASE, a_result, a_run, claim

JOB = Job("nightly", "10 2 * * *", "Etc/UTC", "daily_summary", "", params={"unit": "day", "top": None})
# A push of the night between the 21st and the 22nd.
TICK = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
DAY = "2026-11-21"
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SUBSCRIPTION = "projects/p/subscriptions/nightly-push"


@pytest.fixture
def url(tmp_path):
    """Return the URL of a fresh store."""
    return f"sqlite:///{tmp_path}/runs.db"


@pytest.fixture
def store(url):
    """Return that store, open."""
    store = open_store(url)
    yield store
    store.close()


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


class Broken:
    """A transform that raises."""

    def __init__(self, error):
        self.error = error

    def fold(self, documents):
        raise self.error

    def merge(self, interval, partials):
        return []


@pytest.fixture
def api(store):
    """Return a maker of the function's inside: api(clock, transform=..., job=...)."""

    def make(clock=None, transform=None, job=JOB, publish=None):
        given = Dependencies(
            jobs={job.id: job},
            store=store,
            results=store,
            files=None,
            predict=None,
            now=clock or Clock(TICK),
            publish=publish,
        )
        return Api(given, PageTokens(b"k" * 32), find_code if transform is None else lambda _: transform)

    return make


def push(message, publish_time=TICK, attributes=None):
    """Return the request that Pub/Sub makes for a message."""
    body = json.loads(
        push_body(
            message, message_id="1", publish_time=publish_time, subscription="projects/p/subscriptions/s", attempt=1
        )
    )
    body["message"]["attributes"] = attributes or {}
    return Request("POST", "/", {}, {}, {}, json.dumps(body).encode())


def question(path="/", body=b"", query="", **values):
    """Return any other request."""
    pairs = [pair.split("=", 1) for pair in query.split("&") if pair]
    return Request("POST", path, values, {name: [value] for name, value in pairs}, {}, body)


def trigger(api, **order):
    """Trigger the job and return the answer's value."""
    return json.loads(api.jobs.trigger(question(body=json.dumps(order).encode(), job="nightly")).body)


def receive(api, *args, **kwargs):
    """Deliver a push and return the answer's value."""
    return json.loads(api.deliveries.receive(push(*args, **kwargs)).body)


def rows(store):
    """Return the rows that are visible."""
    return [list(summary.rows) for summary in store.list_summaries(RunQuery(), after=None, limit=9)]


def test_a_tick_runs_the_day_before_it(api, store):
    """The run covers the whole day before the tick and nothing else; its rows are what the issue asks for."""
    for moment, digit, score in ((NOON, "3", 0.5), (NOON + timedelta(minutes=59), "4", 0.25)):
        summary = json.dumps({"count": 2, "classes": [digit, "3"], "scores": [score, 1]})
        store.create_results([a_result(created_at=moment, summary=summary)])
    store.create_results([a_result(created_at=NOON + timedelta(days=1)), a_result(created_at=NOON - timedelta(days=1))])

    answer = receive(api(), {"job": "nightly"})

    assert answer["ran"]
    assert (answer["run"]["key"], answer["run"]["state"], answer["run"]["provisional"]) == (DAY, "success", False)
    assert answer["run"]["output"].items() >= {"rows": 1, "documents": 2}.items()
    assert answer["run"]["params"] == {"unit": "day", "top": None}
    assert rows(store) == [
        [
            {
                "date": DAY,
                "model": "digits",
                "version": "1",
                "results": 2,
                "predictions": 4,
                "classes": {"3": 3, "4": 1},
                "mean_top_score": 0.6875,
                "top_scores": {"0.2": 1, "0.5": 1, "0.99": 2},
                "busiest_hour": "2026-11-21T12:00+00:00",
            }
        ]
    ]


def test_running_a_day_twice_gives_the_same_rows_not_more(api, store):
    """A second tick, a trigger and a forced rerun leave one summary with the same rows."""
    store.create_results([a_result(created_at=NOON) for _ in range(5)])
    inside = api()
    receive(inside, {"job": "nightly"})
    first = rows(store)

    again, manual, forced = (
        receive(inside, {"job": "nightly"}),
        trigger(inside, key=DAY),
        trigger(inside, key=DAY, force=True),
    )

    assert [again["ran"], manual["ran"], forced["ran"]] == [False, False, True]
    assert manual["run"] == again["run"]
    assert rows(store) == first
    assert len(first) == 1


def test_a_manual_trigger_of_a_finished_run_changes_nothing(api, store):
    """Results that came late are not counted unless the run is forced."""
    inside = api()
    trigger(inside, key=DAY)
    store.create_results([a_result(created_at=NOON)])

    plain = trigger(inside, key=DAY)
    before = rows(store)
    forced = trigger(inside, key=DAY, force=True)

    assert (plain["ran"], plain["run"]["state"]) == (False, "success")
    assert before == [[]]
    assert forced["ran"]
    assert rows(store)[0][0]["results"] == 1


@pytest.mark.parametrize(
    ("published", "key"),
    [
        (TICK, "2026-11-21"),
        (TICK - timedelta(seconds=5), "2026-11-21"),
        (TICK - timedelta(seconds=6), "2026-11-20"),
        (TICK + timedelta(hours=23, minutes=59), "2026-11-21"),
        (TICK + timedelta(days=1), "2026-11-22"),
    ],
)
def test_without_a_key_the_tick_at_or_before_publishing_decides(api, published, key):
    """A tick belongs to the message's publish time, boundary included; clocks may differ by a few seconds."""
    assert receive(api(Clock(TICK + timedelta(days=3))), {"job": "nightly"}, published)["run"]["key"] == key


def test_a_message_redelivered_the_next_day_still_means_its_own_night(api):
    """The clock plays no part where there is a publish time."""
    clock = Clock(TICK)
    inside = api(clock)
    first = receive(inside, {"job": "nightly"})
    clock.now += timedelta(days=1, hours=5)

    second = receive(inside, {"job": "nightly"})

    assert second["run"]["key"] == first["run"]["key"] == DAY
    assert not second["ran"]


@pytest.mark.parametrize("path", sorted((ROOT / "tests" / "samples" / "events").glob("*.json")), ids=lambda p: p.stem)
def test_every_recorded_envelope_runs_its_night(api, path):
    """Whoever delivers, in whatever shape, the run is that of the message."""
    answer = api(Clock(datetime(2026, 11, 22, 15, 30, tzinfo=UTC))).deliveries.receive(
        Request("POST", "/", {}, {}, {}, path.read_bytes())
    )

    assert answer.status == 200
    assert json.loads(answer.body)["run"]["key"] == ("2026-11-20" if "attributes_only" in path.stem else DAY)


def test_attributes_may_carry_the_order_and_the_data_overrules(api):
    """Job, key and force are read from attributes; other attributes are somebody else's."""
    inside = api()

    from_attributes = receive(inside, {}, attributes={"job": "nightly", "key": "2026-11-19", "params": "x", "to": "y"})
    forced = receive(inside, {}, attributes={"job": "nightly", "key": "2026-11-19", "force": "true"})
    from_data = receive(inside, {"key": "2026-11-18"}, attributes={"job": "nightly", "key": "2026-11-19"})

    assert [answer["run"]["key"] for answer in (from_attributes, forced, from_data)] == [
        *("2026-11-19", "2026-11-19"),
        "2026-11-18",
    ]
    assert forced["ran"]


def letters(store):
    """Return why messages were recorded as not understood."""
    return [letter.reason for letter in store.list_dead_letters(after=None, limit=99)]


POISON = [
    ({}, "INVALID_JOB"),
    ({"job": None}, "INVALID_JOB"),
    ({"job": ["nightly"]}, "INVALID_JOB"),
    ({"job": "nightlyy"}, "JOB_NOT_FOUND: expected one of the jobs nightly"),
    ({"job": "../x"}, "JOB_NOT_FOUND"),
    ({"job": "nightly", "keys": "2026-11-21"}, "UNKNOWN_MEMBER: expected some of force, job, key"),
    ({"job": "nightly", "plan": 1}, "INVALID_SLICE"),
    ({"job": "nightly", "slice": 1}, "INVALID_SLICE"),
    ({"job": "nightly", "key": "2026-11-21", "plan": 0, "slice": 0}, "INVALID_NUMBER: plan"),
    ({"job": "nightly", "key": "2026-11-21", "plan": 1, "slice": True}, "INVALID_NUMBER: slice"),
]


@pytest.mark.parametrize(("message", "reason"), POISON)
def test_a_message_that_cannot_be_understood_is_recorded_and_acknowledged(api, store, message, reason):
    """It would be no better understood the next time: it is kept with what is wrong, and nothing is started."""
    inside = api()

    first, again = receive(inside, message), receive(inside, message)

    assert first["reason"].startswith(reason)
    assert (first["recorded"], again["recorded"], first["dead_letter"]) == (True, False, again["dead_letter"])
    assert letters(store) == [first["reason"]]
    assert store.list_runs(RunQuery(), after=None, limit=9) == []


BAD_KEYS = [
    "",
    "2026-02-30",
    "0000-00-00",
    "../x",
    "2026-1-1",
    "2026-11-21T00",
    "٢٠٢٦-١١-٢١",
    "2026-11-21\n",
    "9999-12-31",
]


@pytest.mark.parametrize("key", [*BAD_KEYS, 20261121, ["2026-11-21"], {}, False])
def test_a_key_that_is_no_day_is_refused(api, store, key):
    """A push of it is recorded, a trigger 400, and no run is made."""
    with pytest.raises(InvalidRequestError) as raised:
        trigger(api(), key=key)
    pushed = receive(api(), {"job": "nightly", "key": key})

    assert raised.value.reason == "INVALID_KEY"
    assert pushed["reason"].startswith("INVALID_KEY")
    assert store.list_runs(RunQuery(), after=None, limit=9) == []


@pytest.mark.parametrize("zone", ["Etc/UTC", "Asia/Kolkata", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("key", ["0001-01-01", "0001-01-02", "9999-12-30", "9999-12-31", "2999-01-01"])
def test_a_day_at_the_edge_of_time_is_run_or_refused(api, zone, key):
    """Years 1 and 9999 are no crash: either the day has both its midnights or the key is refused."""
    inside = api(job=replace(JOB, time_zone=zone))
    if (key, zone) == ("0001-01-01", "Asia/Kolkata") or key == "9999-12-31":
        with pytest.raises(InvalidRequestError, match="a day that exists"):
            trigger(inside, key=key)
        return
    if key > "2026":
        with pytest.raises(InvalidRequestError, match="an interval that has begun"):
            trigger(inside, key=key)
        return

    answer = trigger(inside, key=key)

    assert answer["run"]["state"] == "success"
    assert answer["run"]["key"] == key
    assert json.loads(inside.jobs.list_runs(question()).body)["runs"] == [answer["run"]]


@pytest.mark.parametrize(
    ("order", "reason"),
    [
        ({"params": []}, "INVALID_PARAMS"),
        ({"params": None}, "INVALID_PARAMS"),
        ({"params": {"top": "y" * 20_000}}, "INVALID_PARAMS"),
        ({"params": {"topp": 1}}, "INVALID_PARAMS"),
        ({"params": {"unit": 1}}, "INVALID_PARAMS"),
        ({"force": "yes"}, "INVALID_FLAG"),
        ({"force": 1}, "INVALID_FLAG"),
        ({"force": None}, "INVALID_FLAG"),
        ({"force": []}, "INVALID_FLAG"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(api, order, reason):
    """Parameters are a small object of declared names and kinds, force is true or false, pushed or triggered."""
    with pytest.raises(InvalidRequestError) as raised:
        trigger(api(), **order)

    assert raised.value.reason == reason
    assert receive(api(), {"job": "nightly", **order})["reason"].startswith(reason)


def test_a_trigger_takes_nothing_it_does_not_know(api):
    """A misspelt member is not ignored."""
    with pytest.raises(InvalidRequestError, match="expected some of force, key, params, got 'keys'"):
        trigger(api(), keys=DAY)
    with pytest.raises(InvalidRequestError, match="expected an object, got array"):
        api().jobs.trigger(question(body=b"[]", job="nightly"))


def test_a_trigger_without_a_body_runs_the_last_day_that_ended(api):
    """The key defaults to that of the last tick."""
    answer = json.loads(api(Clock(TICK - timedelta(seconds=10))).jobs.trigger(question(job="nightly")).body)

    assert (answer["ran"], answer["run"]["key"], answer["run"]["trigger"]) == (True, "2026-11-20", "manual")


def test_parameters_are_laid_over_the_jobs_own(api):
    """A message may change one parameter and keep the others."""
    assert trigger(api(), key=DAY, params={"top": 3})["run"]["params"] == {"unit": "day", "top": 3}


@pytest.mark.parametrize("transform", [None, Broken(ValueError("no"))], ids=["success", "failure"])
def test_the_scheduled_run_supersedes_a_provisional_one(api, store, transform):
    """A look at a day that is still open never costs the day its real run, even if the look failed."""
    store.create_results([a_result(created_at=NOON)])
    early = trigger(api(Clock(NOON + timedelta(minutes=1)), transform), key=DAY)
    store.create_results([a_result(created_at=NOON + timedelta(hours=1))])

    final = receive(api(), {"job": "nightly"})
    again = receive(api(), {"job": "nightly"})

    assert early["run"]["provisional"]
    assert (final["ran"], final["run"]["provisional"], again["ran"]) == (True, False, False)
    assert rows(store)[0][0]["results"] == 2


@pytest.mark.parametrize(("after_end", "provisional"), [(-1, True), (0, True), (119, True), (120, False)])
def test_a_day_is_open_until_its_results_have_settled(api, after_end, provisional):
    """A result may take a moment from its time stamp into the store, so midnight itself is too early."""
    midnight = datetime(2026, 11, 22, tzinfo=UTC)

    answer = trigger(api(Clock(midnight + timedelta(seconds=after_end))), key=DAY)

    assert answer["run"]["provisional"] is provisional


def test_a_failing_transform_is_retried_until_its_attempts_are_spent(api, store):
    """503 asks Pub/Sub to deliver again; the last failure is acknowledged and stays to be seen."""
    clock = Clock(TICK)
    inside = api(clock, transform=Broken(ValueError("no bread")))

    for attempt, backoff_seconds in ((1, 60), (2, 120)):
        # What comes before its time is sent away too, and costs no attempt.
        for _ in range(2):
            with pytest.raises(UnavailableError) as raised:
                receive(inside, {"job": "nightly"})
            assert raised.value.reason == "RUN_FAILED"
        run = store.get_run("nightly", DAY)
        assert (run.state, run.attempt) == ("queued", attempt)
        assert run.not_before == clock.now + timedelta(seconds=backoff_seconds)
        clock.now = run.not_before
    last = receive(inside, {"job": "nightly"})
    duplicate = receive(inside, {"job": "nightly"})

    assert (last["run"]["state"], last["run"]["attempt"], last["run"]["error"]) == ("failed", 3, "ValueError: no bread")
    assert (duplicate["ran"], duplicate["run"]) == (False, last["run"])


def test_a_retry_that_succeeds_clears_the_error(api, store):
    """What was only a bad moment leaves no trace in the run's answer."""
    store.create_results([a_result(created_at=NOON)])
    with pytest.raises(UnavailableError):
        receive(api(transform=Broken(OSError("away"))), {"job": "nightly"})

    answer = receive(api(Clock(TICK + timedelta(minutes=1))), {"job": "nightly"})

    assert (answer["run"]["state"], answer["run"]["attempt"], answer["run"]["error"]) == ("success", 2, None)


def test_a_manual_run_fails_at_once_and_may_be_asked_for_again(api):
    """A person sees the failure instead of a retry, and asking again is a new attempt."""
    failed = trigger(api(transform=Broken(ValueError("no"))), key=DAY)

    again = trigger(api(), key=DAY)

    assert (failed["ran"], failed["run"]["state"]) == (True, "failed")
    assert (again["ran"], again["run"]["state"], again["run"]["attempt"]) == (True, "success", 1)


@pytest.mark.parametrize("error", [InvalidRequestError("params: expected top"), ConflictError("no")])
def test_a_failure_that_will_not_pass_is_not_retried(api, error):
    """What a transform itself calls a bad request is bad the next time too: failed at once, acknowledged."""
    answer = receive(api(transform=Broken(error)), {"job": "nightly"})

    assert answer["run"]["state"] == "failed"
    assert answer["run"]["error"].endswith(error.message)


def test_an_error_is_kept_short_and_storable(api):
    """Whatever a transform says as it dies can be recorded."""
    answer = receive(api(transform=Broken(InvalidRequestError("\ud800" + "x" * 10_000))), {"job": "nightly"})

    assert answer["run"]["error"].startswith("InvalidRequestError: \\ud800x")
    assert len(answer["run"]["error"]) < 2100


class Wrong(Broken):
    """A transform whose rows are no JSON."""

    def fold(self, documents):
        return None

    def merge(self, interval, partials):
        return [self.error]


@pytest.mark.parametrize("row", [{"mean": float("nan")}, {"when": NOON}])
def test_rows_that_are_no_json_fail_the_run(api, store, row):
    """The run does not stay under way until its lease ends."""
    answer = trigger(api(transform=Wrong(row)), key=DAY)

    assert answer["run"]["state"] == "failed"
    assert rows(store) == []


def test_a_store_that_went_away_during_a_run_leaves_it_queued(api, store):
    """A read that failed is an attempt that failed: the next delivery need not wait for the lease."""
    with pytest.raises(UnavailableError):
        receive(api(transform=Broken(UnavailableError("away"))), {"job": "nightly"})

    assert store.get_run("nightly", DAY).state == "queued"
    assert receive(api(Clock(TICK + timedelta(minutes=1))), {"job": "nightly"})["run"]["state"] == "success"


def test_workers_that_die_without_a_word_spend_attempts_too(api, store):
    """A run that kills its worker every time ends as failed instead of going round for ever."""
    now = TICK
    for _ in range(3):
        assert claim(store, a_run(DAY), now=now).granted
        now += LEASE

    answer = receive(api(Clock(now)), {"job": "nightly"})

    assert answer["run"]["state"] == "failed"
    assert "attempts ended without an outcome" in answer["run"]["error"]
    assert trigger(api(Clock(now)), key=DAY)["run"]["state"] == "success"


def test_a_run_under_way_is_503_to_a_push_and_409_to_a_person(api, store):
    """Pub/Sub is asked to come again later; a person is told."""
    claim(store, a_run(DAY), now=TICK)

    with pytest.raises(UnavailableError) as pushed:
        receive(api(), {"job": "nightly"})
    with pytest.raises(ConflictError) as triggered:
        trigger(api(), key=DAY, force=True)

    assert (pushed.value.reason, pushed.value.headers) == ("RUN_IN_PROGRESS", {"Retry-After": "30"})
    assert triggered.value.reason == "RUN_IN_PROGRESS"


class Stolen(Broken):
    """A transform during which another worker takes the run over."""

    def fold(self, documents):
        self.error()

    def merge(self, interval, partials):
        return [{"from": "zombie"}]


def test_a_worker_that_was_overtaken_writes_nothing(api, store):
    """The run belongs to the newest fence; the older worker answers 409 and leaves the rows alone."""
    later = TICK + LEASE

    def steal():
        other = claim(store, a_run(DAY), now=later)
        store.finish_run(other.run, [{"from": "winner"}], now=later)

    with pytest.raises(ConflictError) as raised:
        receive(api(transform=Stolen(steal)), {"job": "nightly"})

    assert raised.value.reason == "FENCE_LOST"
    assert rows(store) == [[{"from": "winner"}]]


def test_runs_and_summaries_are_listed_newest_first_in_pages(api):
    """Pages of runs and of summaries follow each other; since and until are half open days."""
    inside = api()
    for day in range(10, 15):
        trigger(inside, key=f"2026-11-{day}")

    for name, listing in (("runs", inside.jobs.list_runs), ("summaries", inside.jobs.list_summaries)):
        first = json.loads(listing(question(query="page_size=2&since=2026-11-11&until=2026-11-14")).body)
        second = json.loads(
            listing(question(query=f"since=2026-11-11&until=2026-11-14&page_token={first['next_page_token']}")).body
        )
        assert [item["key"][-2:] for item in first[name] + second[name]] == ["13", "12", "11"]
        assert second["next_page_token"] == ""


@pytest.mark.parametrize("query", ["since=yesterday", "until=2026-02-30", "since=", "until=2026-11-21T00:00:00Z"])
def test_runs_since_something_that_is_no_day_are_refused(api, query):
    """A filter that could match nothing is a mistake, not an empty list."""
    for listing in (api().jobs.list_runs, api().jobs.list_summaries):
        with pytest.raises(InvalidRequestError) as raised:
            listing(question(query=query))
        assert raised.value.reason == "INVALID_TIME"


def test_a_token_of_runs_is_none_of_summaries(api):
    """A token belongs to the very list it came from."""
    inside = api()
    for key in ("2026-11-10", "2026-11-11"):
        trigger(inside, key=key)
    token = json.loads(inside.jobs.list_runs(question(query="page_size=1")).body)["next_page_token"]

    with pytest.raises(InvalidRequestError) as raised:
        inside.jobs.list_summaries(question(query=f"page_token={token}"))

    assert raised.value.reason == "INVALID_PAGE_TOKEN"


def test_one_run_is_shown_or_404(api):
    """A run is named by its job and key."""
    inside = api()
    ran = trigger(inside, key=DAY)["run"]

    shown = json.loads(inside.jobs.get_run(question(job="nightly", key=DAY)).body)

    assert shown.items() >= ran.items()
    assert [(each["number"], each["outcome"]) for each in shown["attempts"]] == [(1, "success")]
    assert shown["parts"] == []
    with pytest.raises(NotFoundError, match="no run of this key"):
        inside.jobs.get_run(question(job="nightly", key="2026-11-20"))


def test_jobs_are_listed_with_their_next_tick(api):
    """The next tick is after now, never now."""
    (job,) = json.loads(api(Clock(TICK)).jobs.list_jobs(question()).body)["jobs"]

    assert (job["id"], job["schedule"], job["next_tick"]) == ("nightly", "10 2 * * *", "2026-11-23T02:10:00Z")


def test_the_shipped_job_works_over_http(client):
    """The function as it is deployed: push, then jobs, runs and summaries; errors of Google's shape."""
    nightly = client("nightly_transform")
    # The function has the clock of this machine, and runs no tick after which another has come.
    now = datetime.now(UTC)
    tick = now.replace(hour=2, minute=10, second=0, microsecond=0)
    tick -= timedelta(days=int(tick > now))
    day = (tick - timedelta(days=1)).date().isoformat()
    body = push_body({"job": "nightly"}, message_id="1", publish_time=tick, subscription=SUBSCRIPTION, attempt=1)

    pushed = nightly.post("/", data=body, content_type="application/json")
    triggered = nightly.post("/jobs/nightly:trigger", json={"key": day})
    unknown = nightly.post("/jobs/daily:trigger")

    assert (pushed.status_code, pushed.json["ran"]) == (200, True)
    assert (triggered.status_code, triggered.json["ran"]) == (200, False)
    assert nightly.get(f"/runs/nightly/{day}").json.items() >= pushed.json["run"].items()
    assert [run["key"] for run in nightly.get("/runs?job=nightly").json["runs"]] == [day]
    assert nightly.get("/summaries").json["summaries"][0]["rows"] == []
    assert {job["id"] for job in nightly.get("/jobs").json["jobs"]} >= {"nightly"}
    assert (unknown.status_code, unknown.json["error"]["details"][0]["reason"]) == (404, "JOB_NOT_FOUND")


@pytest.mark.parametrize("content_type", ["application/json", "application/cloudevents+json", "text/plain", None])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"[]",
        b"{",
        b'"a"',
        b"\xff\x00",
        b"[" * 999,
        b'{"message":{"data":"!"}}',
        b'{"message":{"data":"W10="}}',
    ],
)
def test_a_push_that_is_no_message_is_recorded_and_acknowledged(client, body, content_type):
    """Whatever it says it is: refused, it would come again for days."""
    nightly = client("nightly_transform")

    answer = nightly.post("/", data=body, content_type=content_type)

    (letter,) = nightly.get("/dead-letters").json["dead_letters"]
    assert answer.status_code == 200
    assert (answer.json["dead_letter"], answer.json["reason"]) == (letter["id"], letter["reason"])
    assert letter["body_bytes"] == len(body)


def test_a_push_of_nine_megabytes_is_recorded_by_its_beginning(client):
    """The largest message there can be fills no store."""
    nightly = client("nightly_transform")
    data = base64.b64encode(json.dumps({"job": "nightly", "params": {"x": "y" * 9_000_000}}).encode()).decode()

    answer = nightly.post("/", json={"message": {"data": data, "messageId": "7"}})

    (letter,) = nightly.get("/dead-letters").json["dead_letters"]
    assert (answer.status_code, letter["id"]) == (200, "message-7")
    assert len(letter["body"]) == 65_536
    assert letter["body_bytes"] > 12_000_000


def test_a_locked_store_is_503_with_retry_after(client, state_dir, monkeypatch):
    """While another process holds the store's lock, pushes are asked to come again."""
    nightly = client("nightly_transform")
    assert nightly.get("/runs").status_code == 200
    monkeypatch.setattr("shared.stores.sql.sqlite._BUSY_TIMEOUT_MS", 50)
    nightly = client("nightly_transform")
    blocker = sqlite3.connect(state_dir / "nightshift.db", isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    data = base64.b64encode(b'{"job": "nightly"}').decode()

    answer = nightly.post("/", json={"message": {"data": data, "messageId": "1"}})
    reading = nightly.get("/runs")
    blocker.close()

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json["error"]["details"][0]["reason"] == "STORE_UNAVAILABLE"
    assert reading.status_code == 200


@pytest.mark.parametrize("name", ["daily_sumary", "exact", "../exact", "__init__", "os"])
def test_a_transform_that_is_not_there_is_a_configuration_error(name):
    """A misspelt transform is found when the function starts, not at night."""
    with pytest.raises(ConfigurationError, match="job nightly: "):
        find_code(replace(JOB, transform=name))


def test_a_tick_waits_until_its_interval_has_settled(api):
    """Of a job that ticks when its interval ends: sent away until then, for as long as it takes, then run for good."""
    job = replace(JOB, schedule="*/10 * * * *")
    clock = Clock(TICK + timedelta(seconds=1))
    inside = api(clock, job=job)

    with pytest.raises(UnavailableError) as raised:
        receive(inside, {"job": "nightly"})
    clock.now = TICK + timedelta(minutes=2)
    run = receive(inside, {"job": "nightly"})["run"]

    assert (raised.value.reason, raised.value.headers) == ("INTERVAL_UNSETTLED", {"Retry-After": "119"})
    assert (run["key"], run["state"], run["provisional"]) == ("2026-11-22T02:00Z", "success", False)


def test_a_job_that_reads_nothing_need_not_wait(api):
    """settle_minutes: 0, as reconcile has it."""
    job = replace(JOB, schedule="*/10 * * * *", settle_minutes=0)

    assert not receive(api(Clock(TICK), job=job), {"job": "nightly"})["run"]["provisional"]
