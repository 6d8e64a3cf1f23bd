"""The local broker takes messages from Google's own client, as Pub/Sub does."""

from datetime import UTC, datetime

import grpc
import pytest
from google.api_core.exceptions import InvalidArgument, MethodNotImplemented, NotFound, ServiceUnavailable
from google.pubsub_v1 import PublisherClient, PubsubMessage

from scheduler.broker import MAX_REQUEST_BYTES, Broker
from scheduler.broker_files import DeadLetters, PendingMessages
from scheduler.delivery import Subscription
from shared.errors import ServiceError
from shared.topics import Topic
from tests.emulators.receiver import eventually, push_receiver

NOW = datetime(2026, 11, 22, 2, 10, 0, 123_000, tzinfo=UTC)
NIGHTLY = "projects/local/topics/nightly"


@pytest.fixture
def receivers():
    """Return a stand-in for the function behind each topic."""
    with push_receiver() as nightly, push_receiver() as predictions:
        yield {"nightly": nightly, "predictions": predictions}


@pytest.fixture
def broker(receivers, tmp_path, monkeypatch):
    """Return a broker with both topics, where Google's clients find it."""
    subscriptions = {
        topic: Subscription(
            f"projects/local/subscriptions/{topic}",
            topic=topic,
            push_url=receiver.url,
            pending=PendingMessages(tmp_path / "pending" / topic),
            dead_letters=DeadLetters(tmp_path / "dead.jsonl"),
            say=lambda line: None,
        )
        for topic, receiver in receivers.items()
    }
    broker = Broker("local", subscriptions, lambda: NOW)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", broker.listen())
    for subscription in subscriptions.values():
        subscription.start()
    yield broker
    broker.close()
    for subscription in subscriptions.values():
        subscription.close()


@pytest.fixture
def client(broker):
    """Return Google's client."""
    with PublisherClient() as client:
        yield client


def test_a_topic_of_ours_publishes_to_it(broker, receivers, tmp_path):
    """shared.topics finds it by PUBSUB_EMULATOR_HOST; each topic has its own function."""
    nightly, predictions = Topic("local", "nightly"), Topic("local", "predictions")

    connected = nightly.connect(10)
    ids = [nightly.publish(b'{"job": "nightly"}', 10), predictions.publish(b"\0\xff", 10)]

    came = [receivers["nightly"].wait_for(1)[0], receivers["predictions"].wait_for(1)[0]]
    assert connected
    assert [(d.data, d.message_id, d.publish_time) for d in came] == [
        (b'{"job": "nightly"}', ids[0], NOW),
        (b"\0\xff", ids[1], NOW),
    ]
    eventually(lambda: not list((tmp_path / "pending").rglob("*.json")))


def test_messages_of_one_request_are_messages_of_their_own(client, receivers):
    """Each has an id, attributes reach the function, and data may be left out then."""
    sent = [PubsubMessage(data=b"a"), PubsubMessage(attributes={"job": "nightly"}), PubsubMessage(data=b"a")]

    answer = client.publish(topic=NIGHTLY, messages=sent, retry=None, timeout=10)

    came = {delivery.message_id: delivery for delivery in receivers["nightly"].wait_for(3)}
    assert [came[i].data for i in answer.message_ids] == [b"a", b"", b"a"]
    assert dict(came[answer.message_ids[1]].attributes) == {"job": "nightly"}


def test_the_schedule_publishes_without_a_call(broker, receivers):
    """In the same process, at the time that its clock shows."""
    tick = datetime(2026, 11, 1, 2, 10, 0, 7, tzinfo=UTC)

    message_id = broker.publish("nightly", b'{"job": "nightly"}', tick)

    (came,) = receivers["nightly"].wait_for(1)
    assert (came.message_id, came.publish_time) == (message_id, tick.replace(microsecond=0))


@pytest.mark.parametrize("topic", ["projects/local/topics/nightly2", "projects/other/topics/nightly", "nightly", ""])
def test_a_topic_that_is_not_there_is_not_found(client, topic):
    """As in Pub/Sub: none is made by publishing to it."""
    with pytest.raises(NotFound):
        client.publish(topic=topic, messages=[PubsubMessage(data=b"x")], retry=None, timeout=10)
    with pytest.raises(NotFound):
        client.get_topic(topic=topic, retry=None, timeout=10)


def test_a_topic_that_is_there_is_found(client):
    """Which is how a client warms its connection."""
    assert client.get_topic(topic=NIGHTLY, retry=None, timeout=10).name == NIGHTLY


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [PubsubMessage()],
        [PubsubMessage(data=b"x"), PubsubMessage()],
        [PubsubMessage(data=b"x")] * 1001,
        [PubsubMessage(data=bytes(MAX_REQUEST_BYTES))],
    ],
    ids=["none", "empty", "one empty", "1001", "too large"],
)
def test_what_pubsub_refuses_is_refused(client, receivers, messages):
    """Whole requests: nothing of them is kept."""
    with pytest.raises(InvalidArgument, match="expected"):
        client.publish(topic=NIGHTLY, messages=messages, retry=None, timeout=10)

    client.publish(topic=NIGHTLY, messages=[PubsubMessage(data=b"y")], retry=None, timeout=10)
    assert [delivery.data for delivery in receivers["nightly"].wait_for(1)] == [b"y"]


def test_a_message_of_nine_megabytes_passes(client, receivers):
    """Up to Pub/Sub's own limit."""
    client.publish(topic=NIGHTLY, messages=[PubsubMessage(data=b"x" * 9_000_000)], retry=None, timeout=30)

    assert len(receivers["nightly"].wait_for(1)[0].data) == 9_000_000


def test_a_message_that_cannot_be_kept_is_not_taken(broker, client, tmp_path):
    """Its publisher hears of it, and can try again."""
    (tmp_path / "pending").write_text("in the way of the folder")

    with pytest.raises(Exception, match="cannot be kept") as raised:
        client.publish(topic=NIGHTLY, messages=[PubsubMessage(data=b"x")], retry=None, timeout=10)

    assert raised.value.grpc_status_code is grpc.StatusCode.INTERNAL


def test_what_it_does_not_do_it_says(client):
    """It is no emulator of all of Pub/Sub."""
    with pytest.raises(MethodNotImplemented):
        client.create_topic(name="projects/local/topics/more", retry=None, timeout=10)


def test_closed_it_takes_nothing_more(broker, client):
    """A publisher is told at once."""
    broker.close()

    with pytest.raises(ServiceUnavailable):
        client.publish(topic=NIGHTLY, messages=[PubsubMessage(data=b"x")], retry=None, timeout=10)
    with pytest.raises(ServiceError):
        Topic("local", "nightly").publish(b"x", 1)
