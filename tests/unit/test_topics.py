"""A message is handed to a topic within its bound, or the failure says which kind it was."""

import threading
import time

import pytest

from shared.errors import ServiceError, UnavailableError
from tests.support import free_port

pytestmark = pytest.mark.xdist_group("pubsub")
# Far more than a bound of 100 ms, and far less than the library's own minutes.
SOON_SECONDS = 5.0


@pytest.fixture
def topic(pubsub):
    """Return a maker of topics, one of each name at most there."""
    from shared.topics import Topic
    from tests.emulators.pubsub import PROJECT

    return lambda name: Topic(PROJECT, name)


def failure(topic, times=1):
    """Return the last failure of some messages, which came soon."""
    for _ in range(times):
        began = time.monotonic()
        with pytest.raises(ServiceError) as raised:
            topic.publish(b"x", 0.1)
        assert time.monotonic() - began < SOON_SECONDS
    return raised.value


def test_what_is_published_waits_in_the_topic(pubsub, topic):
    """To the byte, in as many messages, each with the id that was answered."""
    name = pubsub.new_topic()
    subscription = pubsub.subscribe(name)
    messages = [b'{"a": 1}', b"\0\xff" * 1000, b"x"]

    ids = {topic(name).publish(message, 10) for message in messages}

    assert len(ids) == 3
    assert sorted(pubsub.pull(subscription)) == sorted(messages)


def test_connected_a_message_needs_no_more_than_its_call(pubsub, topic):
    """connect builds the client once, and says that there is one."""
    name = pubsub.new_topic()
    connected = topic(name)

    assert connected.connect(10)
    first = connected._connecting, connected._publisher
    connected.publish(b"x", 10)

    assert connected.connect(0)
    assert (connected._connecting, connected._publisher) == first


def test_a_topic_that_is_not_there_takes_nothing(topic):
    """The failure is told by its cause."""
    error = failure(topic("no-such-topic"))

    assert (error.reason, type(error.__cause__).__name__) == ("TOPIC_FAILED", "NotFound")
    assert not isinstance(error, UnavailableError)


def test_pubsub_that_is_silent_is_given_up_on_in_time(pubsub, topic):
    """Once sent, nobody knows whether it arrived, so it is not said that it did not."""
    name = pubsub.new_topic()
    connected, new = topic(name), topic(name)
    connected.publish(b"x", 10)
    pubsub.pause()

    assert failure(connected).reason == "TOPIC_TIMED_OUT"
    assert failure(new, times=2)


def test_pubsub_that_refuses_connections_fails_at_once_and_nothing_grows(monkeypatch, topic):
    """No thread and no queue is left behind by what could not be sent."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{free_port()}")
    refused = topic("any")
    failure(refused, times=3)
    threads = threading.active_count()

    error = failure(refused, times=200)

    assert (error.reason, type(error.__cause__).__name__) == ("TOPIC_FAILED", "ServiceUnavailable")
    assert threading.active_count() <= threads


def test_a_host_that_has_no_address_fails_in_time(monkeypatch, topic):
    """As when DNS is out."""
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", "no-such-host.invalid:8085")

    assert failure(topic("any"), times=3).reason in ("TOPIC_FAILED", "TOPIC_TIMED_OUT")


def test_without_credentials_every_message_fails_and_each_looks_anew(monkeypatch, tmp_path, pubsub, topic):
    """There may be some later; the client is not given up for good."""
    name = pubsub.new_topic()
    monkeypatch.delenv("PUBSUB_EMULATOR_HOST")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    lacking = topic(name)

    assert not lacking.connect(10)
    error = failure(lacking)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", pubsub.host)

    assert (error.reason, type(error.__cause__).__name__) == ("TOPIC_FAILED", "DefaultCredentialsError")
    assert lacking.publish(b"x", 10)


def test_a_search_for_credentials_that_lasts_is_not_waited_for(monkeypatch, topic):
    """It goes on beside the answers, once, however many messages come meanwhile."""
    import shared.topics

    searching, found = [], threading.Event()

    def search():
        searching.append(True)
        found.wait(60)
        raise shared.topics.GoogleAuthError("none")

    monkeypatch.setattr(shared.topics, "PublisherClient", search)
    try:
        error = failure(topic("any"), times=5)
    finally:
        found.set()

    assert (error.reason, len(searching)) == ("TOPIC_FAILED", 1)
