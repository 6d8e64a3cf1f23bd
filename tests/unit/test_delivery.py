"""A message is delivered at least once, again after a refusal, and never lost."""

import json
import threading
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.broker_files import DeadLetters, PendingMessages
from scheduler.broker_messages import BrokerMessage
from scheduler.delivery import Faults, RetryPolicy, Subscription
from shared.events import parse_message
from tests.emulators.receiver import WAIT_SECONDS, answers, eventually, push_receiver

NOW = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
TICK = b'{"job": "nightly"}'
QUICK = RetryPolicy(min_backoff_seconds=0.01, max_backoff_seconds=0.02, max_delivery_attempts=3)


@pytest.fixture
def receiver():
    """Return a stand-in for nightly-transform."""
    with push_receiver() as receiver:
        yield receiver


@pytest.fixture
def subscribe(receiver, tmp_path):
    """Return a maker of subscriptions to the receiver, which are closed with the test and keep what they said."""
    made = []

    def subscribe(*, start=True, url=None, **settings):
        said = []
        settings = {"policy": QUICK, **settings}
        subscription = Subscription(
            "projects/local/subscriptions/nightly-transform",
            topic="nightly",
            push_url=url or receiver.url,
            pending=PendingMessages(tmp_path / "pending"),
            dead_letters=DeadLetters(tmp_path / "dead.jsonl"),
            say=said.append,
            **settings,
        )
        subscription.said = said
        made.append(subscription)
        if start:
            subscription.start()
        return subscription

    yield subscribe
    for subscription in made:
        subscription.close()


@pytest.fixture
def pending(tmp_path):
    """Return what is not acknowledged yet."""
    return PendingMessages(tmp_path / "pending")


@pytest.fixture
def dead(tmp_path):
    """Return a reader of the dead letters."""
    path = tmp_path / "dead.jsonl"
    return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def message(data=TICK, publish_time=NOW, **attributes):
    """Return a message that was published."""
    return BrokerMessage.new(data, attributes, publish_time)


def test_a_message_arrives_in_the_shape_that_pubsub_pushes(receiver, subscribe, pending):
    """nightly-transform parses the local broker's body as it would Google's; acknowledged, it is forgotten."""
    sent = message(publish_time=NOW + timedelta(microseconds=123_456), job="nightly", key="2026-11-21")

    subscribe().publish(sent)

    receiver.wait_for(1)
    body = json.loads(receiver.bodies[0])
    got = parse_message(receiver.bodies[0])
    assert body["message"]["messageId"] == body["message"]["message_id"] == sent.message_id
    assert body["message"]["publishTime"] == body["message"]["publish_time"] == "2026-11-22T02:10:00.123Z"
    assert body["subscription"] == "projects/local/subscriptions/nightly-transform"
    assert (dict(got.data), got.delivery_attempt) == ({"job": "nightly"}, 1)
    assert dict(got.attributes) == {"job": "nightly", "key": "2026-11-21"}
    eventually(lambda: not pending.names())


@pytest.mark.parametrize("data", [b"", b"\0\xff" * 500_000, b"[ 1e2, NaN]"])
def test_any_bytes_arrive_as_they_were(receiver, subscribe, data):
    """A broker does not look into messages."""
    subscribe().publish(message(data, some="attribute"))

    (delivery,) = receiver.wait_for(1)
    assert delivery.data == data


def test_a_refused_message_comes_again_with_the_same_id_and_time(receiver, subscribe, pending, dead):
    """Redeliveries count up, and differ in nothing else."""
    receiver.answer = answers(503, 500)

    subscribe().publish(message())

    came = receiver.wait_for(3)
    assert [delivery.delivery_attempt for delivery in came] == [1, 2, 3]
    assert len({(delivery.message_id, delivery.publish_time) for delivery in came}) == 1
    eventually(lambda: not pending.names())
    assert dead() == []


def test_a_message_that_is_never_acknowledged_goes_to_the_dead_letters(receiver, subscribe, pending, dead):
    """After the last attempt the file holds the message and why it failed; others go their way."""
    receiver.answer = lambda body: 418 if b"poison" in parse_message(body).data.get("job", "").encode() else 200
    subscription = subscribe()

    subscription.publish(message(b'{"job": "poison"}'))
    subscription.publish(message())

    (letter,) = eventually(dead)
    assert (letter["topic"], letter["message"], letter["failure"]) == ("nightly", {"job": "poison"}, "status 418")
    assert letter["publish_time"] == NOW.isoformat()
    assert datetime.fromisoformat(letter["buried_at"]).tzinfo
    assert len([d for d in receiver.deliveries() if b"poison" in d.data]) == QUICK.max_delivery_attempts
    eventually(lambda: not pending.names())


@pytest.mark.parametrize(
    ("data", "member"),
    [
        (b'{"job":"nightly","key":"2026-11-21"}', {"message": {"job": "nightly", "key": "2026-11-21"}}),
        (b'{"p": [0.1, NaN]}', None),
        (b'{"p": 1e2}', {"data": "eyJwIjogMWUyfQ=="}),
        (b'{"a": 1, "a": 2}', {"data": "eyJhIjogMSwgImEiOiAyfQ=="}),
        (b"\xff", {"data": "/w=="}),
        (b"[" * 100_000, None),
    ],
)
def test_a_dead_letter_can_be_published_again_to_the_character(data, member):
    """JSON for people to read, where writing it gives the text that came; else base64."""
    letter = json.loads(json.dumps(message(data).dead_letter("nightly", "status 500", NOW)))

    if member is not None:
        assert letter.items() >= member.items()
    again = json.dumps(letter["message"]).encode() if "message" in letter else None
    compact = json.dumps(letter["message"], separators=(",", ":")).encode() if "message" in letter else None
    assert ("data" in letter) != ("message" in letter)
    assert "data" in letter or data in (again, compact)


def test_a_receiver_that_is_away_is_tried_again(subscribe, dead):
    """No connection is a refusal like any other."""
    with push_receiver() as gone:
        url = gone.url

    subscribe(url=url).publish(message())

    (letter,) = eventually(dead)
    assert letter["failure"] == "ConnectError"


def test_what_was_not_acknowledged_is_delivered_after_the_next_start(receiver, subscribe, pending, dead):
    """Stopping does not sit out the pause, loses nothing, and buries nothing that may go well yet."""
    receiver.answer = answers(503)
    first = subscribe(policy=RetryPolicy())
    sent = message()
    first.publish(sent)
    eventually(lambda: first.said)

    first.close()
    kept = [pending.read(name).data for name in pending.names()]
    subscribe()

    came = receiver.wait_for(2)
    assert kept == [TICK]
    assert {delivery.message_id for delivery in came} == {sent.message_id}
    assert came[1].publish_time == NOW
    eventually(lambda: not pending.names())
    assert dead() == []


def test_a_message_is_kept_before_it_is_delivered_by_anyone(receiver, subscribe, pending):
    """Published, it survives this process, whose end may be a kill: the next one delivers in order of publishing."""
    killed = subscribe(start=False)
    for seconds in (2, 0, 1):
        killed.publish(message(str(seconds).encode(), NOW + timedelta(seconds=seconds)))
    kept = [pending.read(name).data for name in pending.names()]

    subscribe(at_once=1)

    assert kept == [b"0", b"1", b"2"]
    assert [delivery.data for delivery in receiver.wait_for(3)] == [b"0", b"1", b"2"]


def test_a_push_under_way_at_the_end_counts_for_nothing_yet(receiver, subscribe, pending):
    """Closing waits for its answer; one that fails then is delivered again at the next start, not buried."""
    answered = threading.Event()
    receiver.answer = lambda body: 503 if answered.wait(WAIT_SECONDS) else 500
    subscription = subscribe(policy=RetryPolicy(max_delivery_attempts=1))
    subscription.publish(message())
    receiver.wait_for(1)

    subscription.stop()
    answered.set()
    subscription.close()

    (name,) = pending.names()
    assert pending.read(name).data == TICK


def test_many_messages_are_delivered_a_few_at_a_time(receiver, subscribe):
    """A backfill of a year asks for a year of runs, and not for a year of threads."""
    threads = threading.active_count()
    gate = threading.Event()
    receiver.answer = lambda body: 200 if gate.wait(WAIT_SECONDS) else 500
    subscription = subscribe(at_once=4)

    for number in range(365):
        subscription.publish(message(str(number).encode()))
    receiver.wait_for(4)
    working = threading.active_count() - threads
    gate.set()

    came = receiver.wait_for(365)
    assert receiver.at_once == 4
    assert working <= 2 * 4, "four deliver, and four answer here"
    assert {delivery.data for delivery in came} == {str(number).encode() for number in range(365)}


def test_a_message_that_waits_for_its_turn_is_not_held_up_by_one_that_lasts(receiver, subscribe):
    """While one worker is busy for long, others still know when the next is due."""
    ended = threading.Event()
    refused = threading.Event()

    def answer(body):
        data = parse_message(body).data["job"]
        if data == "lasts":
            return 200 if ended.wait(WAIT_SECONDS) else 500
        if refused.is_set():
            return 200
        refused.set()
        return 503

    receiver.answer = answer
    subscription = subscribe(policy=RetryPolicy(0.3, 0.3, 5), at_once=3)
    subscription.publish(message(b'{"job": "again"}'))
    eventually(lambda: subscription.said)
    subscription.publish(message(b'{"job": "lasts"}'))

    assert len(receiver.wait_for(3)) == 3
    ended.set()


def test_a_message_that_somebody_spoiled_stops_no_other(receiver, subscribe, tmp_path, pending):
    """It is named and left where it is."""
    waiting = subscribe(start=False)
    waiting.publish(message())
    (file,) = (tmp_path / "pending").iterdir()
    (tmp_path / "pending" / "20200101T000000000000-1.json").write_text('{"data": 1}')

    subscription = subscribe(at_once=1)

    receiver.wait_for(1)
    eventually(lambda: not file.exists())
    assert any("20200101T000000000000-1.json is left where it is" in line for line in subscription.said)
    assert (tmp_path / "pending" / "20200101T000000000000-1.json").exists()


def test_a_duplicate_is_the_same_message_at_the_same_time(receiver, subscribe, pending):
    """--duplicate 1: both are under way at once, with one id, and the first answer settles it."""
    both = threading.Barrier(2)
    receiver.answer = lambda body: 200 if both.wait(WAIT_SECONDS) >= 0 else 500

    subscribe(faults=Faults(duplicate=1.0)).publish(message())

    first, second = receiver.wait_for(2)
    assert (first.message_id, first.publish_time, first.data) == (second.message_id, second.publish_time, second.data)
    eventually(lambda: not pending.names())


def test_a_share_of_duplicates_is_a_share(receiver, subscribe):
    """Of 300 messages at 0.5, neither few nor nearly all: six standard deviations either way."""
    subscription = subscribe(faults=Faults(duplicate=0.5))
    for _ in range(300):
        subscription.publish(message())

    receiver.wait_for(300 + 98)
    subscription.close()

    assert 98 <= len(receiver.bodies) - 300 <= 202


def test_first_deliveries_fail_on_request(receiver, subscribe):
    """--fail-first 2: the function is called with the third, as though it had refused two."""
    subscribe(faults=Faults(fail_first=2)).publish(message())

    (only,) = receiver.wait_for(1)
    assert only.delivery_attempt == 3


def test_the_publish_time_is_left_out_on_request(receiver, subscribe):
    """--drop-publish-time: as some emulators push."""
    subscribe(faults=Faults(drop_publish_time=True)).publish(message())

    (only,) = receiver.wait_for(1)
    assert only.publish_time is None
    assert b"publish" not in receiver.bodies[0]


def test_the_pause_doubles_up_to_its_limit():
    """Ten seconds to ten minutes, as the subscription in the cloud is set, for two hours at least."""
    policy = RetryPolicy()

    assert [policy.backoff_seconds(attempt) for attempt in (1, 2, 3, 10)] == [10, 20, 40, 600]
    assert sum(policy.backoff_seconds(attempt) for attempt in range(1, policy.max_delivery_attempts)) > 7200
