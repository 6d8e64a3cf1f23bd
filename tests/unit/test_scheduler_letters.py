"""`redrive`: messages that were given up on are delivered again, and none is lost on the way."""

import json
import resource
from contextlib import contextmanager
from datetime import UTC, datetime

import httpx
import pytest

from scheduler.__main__ import main
from scheduler.broker_files import DeadLetters, append_line
from scheduler.broker_messages import BrokerMessage
from scheduler.local_letters import redrive_file
from scheduler.redriving import with_key
from shared.errors import InvalidRequestError
from shared.jobs import read_jobs
from tests.support import free_port

NIGHT = datetime(2026, 11, 20, 2, 10, 3, tzinfo=UTC)


def letter(data, message_id="1", topic="nightly", attributes=None, published=NIGHT):
    """Return a letter as the local broker buries it."""
    return BrokerMessage(message_id, published, data, attributes or {}).dead_letter(topic, "503", published)


@pytest.fixture
def letters(state_dir):
    """The dead letters of a local stack."""
    return DeadLetters(state_dir / "dead_letters.jsonl")


@pytest.fixture
def nightly(serve, monkeypatch):
    """nightly-transform, empty, where the commands find it."""
    running = serve("nightly_transform", THREADS="2")
    monkeypatch.setenv("NIGHTLY_TRANSFORM_URL", running.url)
    return running


def keys(running):
    """Return the keys of the runs there are, and their attempts so far."""
    return {run["key"]: run["fence"] for run in httpx.get(f"{running.url}/runs?job=nightly").json()["runs"]}


def test_a_tick_is_delivered_for_the_day_that_it_was_made_for(letters, nightly, capsys):
    """However much later, and whatever ticks have passed since."""
    letters.bury(letter(b'{"job": "nightly"}'))
    letters.bury(letter(b'{"job": "nightly", "key": "2026-11-01"}', "2"))

    assert main(["redrive"]) == 0

    assert sorted(keys(nightly)) == ["2026-11-01", "2026-11-19"]
    assert letters.path.read_text() == ""
    assert "2 delivered again, 0 left" in capsys.readouterr().out


def test_twice_is_once(letters, nightly):
    """Runs take effect once, so a letter that is delivered again is harmless."""
    for _ in range(2):
        letters.bury(letter(b'{"job": "nightly"}'))
        assert main(["redrive"]) == 0

    assert keys(nightly) == {"2026-11-19": 1}


def test_attributes_and_bytes_come_as_they_were(letters, nightly):
    """A message may name its job in its attributes alone, and one that nobody understands is recorded there."""
    letters.bury(letter(b"{}", attributes={"job": "nightly", "key": "2026-11-02"}))
    letters.bury(letter(b"\xff\xfe", "2"))

    assert main(["redrive"]) == 0

    assert list(keys(nightly)) == ["2026-11-02"]
    assert len(httpx.get(f"{nightly.url}/dead-letters").json()["dead_letters"]) == 1


def test_what_is_refused_stays_with_all_that_cannot_be_read(letters, monkeypatch, capsys):
    """Each is named, and the next are tried all the same."""
    monkeypatch.setenv("NIGHTLY_TRANSFORM_URL", f"http://127.0.0.1:{free_port()}")
    letters.bury(letter(b'{"job": "nightly"}', "7"))
    letters.bury(letter(b"{}", "8", topic="other"))
    with letters.path.open("a") as file:
        file.write("half a li\n")
    before = letters.path.read_text()

    assert main(["redrive"]) == 1

    printed = capsys.readouterr()
    assert "message 7: nothing answers at http://127.0.0.1:" in printed.err
    assert "message 8: expected a line that the local stack wrote" in printed.err
    assert "a line: expected a line" in printed.err
    assert "0 delivered again, 3 left" in printed.out
    assert letters.path.read_text() == before


ODD = [
    {"publish_time": "9999-12-31T23:59:59Z"},
    {"publish_time": "0001-01-01T00:00:00+14:00"},
    {"publish_time": "0001-01-01T00:00:00+00:00"},
    {"publish_time": "2026-11-20T02:10:03"},
    {"publish_time": 7},
    {"attributes": [1]},
    {"attributes": None},
    {"attributes": {"job": 1}},
    {"data": "@@"},
    {"data": "e30=\ud800"},
    {"message_id": "\ud800", "topic": "\ud800"},
]


@pytest.mark.parametrize("odd", [*map(json.dumps, ODD), f'{{"message": {"[" * 100_000}'])
def test_an_odd_letter_stays_and_those_behind_it_are_delivered(letters, nightly, capsys, odd):
    """Whatever somebody wrote into the file: it is named, and kept to the character."""
    whole = letter(b'{"job": "nightly"}', "7")
    line = json.dumps(whole | json.loads(odd)) if odd.endswith("}") else odd
    append_line(letters.path, line.encode())
    letters.bury(letter(b'{"job": "nightly"}', "8"))

    assert main(["redrive"]) == 1

    printed = capsys.readouterr()
    assert "expected a line that the local stack wrote" in printed.err
    assert len(printed.err.splitlines()) == 1
    assert "1 delivered again, 1 left" in printed.out
    assert keys(nightly) == {"2026-11-19": 1}
    assert letters.path.read_text() == f"{line}\n"


@contextmanager
def full_after(size):
    """Let no file grow beyond a size, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_letter_that_a_full_disk_has_no_place_for_leaves_no_half_line(letters):
    """The next one would be glued to it, and both be lost."""
    letters.bury(letter(b"{}", "1"))
    before = letters.path.read_bytes()

    with full_after(len(before) + 20), pytest.raises(OSError, match="File too large"):
        letters.bury(letter(b"{}", "2"))

    assert letters.path.read_bytes() == before
    letters.bury(letter(b"{}", "3"))
    assert [json.loads(line)["message_id"] for line in letters.path.read_text().splitlines()] == ["1", "3"]


def test_a_redrive_on_a_full_disk_loses_nothing(letters, monkeypatch, capsys):
    """It stops with a word about it; the next one finds every letter."""
    monkeypatch.setenv("NIGHTLY_TRANSFORM_URL", f"http://127.0.0.1:{free_port()}")
    letters.bury(letter(b"{}", "1"))
    letters.bury(letter(b"{}", "2"))

    with full_after(letters.path.stat().st_size - 20):
        assert main(["redrive"]) == 2

    assert "the dead letters cannot be read or written: [Errno 27]" in capsys.readouterr().err
    assert main(["redrive"]) == 1
    assert "0 delivered again, 2 left" in capsys.readouterr().out


@pytest.mark.parametrize("command", [("redrive",), ("logs", "nightly")])
@pytest.mark.parametrize("place", ["file", "/proc/x", "x" * 300])
def test_a_state_folder_that_cannot_be_is_named(tmp_path, monkeypatch, capsys, command, place):
    """A file, a place where nothing can be made, a name that is too long."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("STATE_DIR", str(tmp_path / place))

    assert main(list(command)) == 2

    assert "STATE_DIR" in capsys.readouterr().err


def test_letters_are_taken_out_one_by_one(letters, tmp_path):
    """Killed in the midst of it, no letter is lost; those acknowledged by then are not delivered again."""
    for number in range(4):
        letters.bury(letter(b"{}", str(number)))
    prepared = []

    def dies_at_the_third(topic, data, published):
        prepared.append(data)
        if len(prepared) == 3:
            raise KeyboardInterrupt
        raise ValueError("refused")

    with pytest.raises(KeyboardInterrupt):
        redrive_file(letters.path, {}, dies_at_the_third, lambda line: None)
    letters.bury(letter(b"{}", "new"))
    names = []
    done, kept = redrive_file(letters.path, {}, lambda *_: b"", names.append)

    assert (done, kept) == (0, 5)
    assert [name.split(":")[0].removeprefix("message ") for name in names] == ["2", "3", "0", "1", "new"]


def test_one_redrive_at_a_time(letters, capsys):
    """Two would deliver everything twice."""
    letters.bury(letter(b"{}"))
    statuses = []

    def meanwhile(topic, data, published):
        statuses.append(main(["redrive"]))
        return data

    redrive_file(letters.path, {"nightly": f"http://127.0.0.1:{free_port()}"}, meanwhile, lambda line: None)

    assert statuses == [2]
    assert "another redrive is under way" in capsys.readouterr().err


def test_without_letters_there_is_nothing_to_do(capsys):
    """Nor a file to be made."""
    assert main(["redrive"]) == 0
    assert "0 delivered again" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"job": "nightly"}, {"job": "nightly", "key": "2026-11-19"}),
        ({"job": "reconcile"}, {"job": "reconcile", "key": "2026-11-20T02:00Z"}),
        ({"job": "nightly", "params": {}}, {"job": "nightly", "params": {}, "key": "2026-11-19"}),
        ({"job": "nightly", "key": "x"}, {"job": "nightly", "key": "x"}),
        ({"job": "gone"}, {"job": "gone"}),
        ({"job": [1]}, {"job": [1]}),
        ([], []),
    ],
)
def test_only_a_tick_is_given_a_key(data, expected):
    """Whatever else it is stays as it was."""
    assert json.loads(with_key(json.dumps(data).encode(), NIGHT, read_jobs())) == expected


@pytest.mark.parametrize("moment", ["0001-01-01T00:00+00:00", "9999-12-31T23:59:59+00:00"])
def test_a_tick_of_no_interval_is_given_none(moment):
    """Delivered without one, it would run the newest instead."""
    with pytest.raises(InvalidRequestError):
        with_key(b'{"job": "nightly"}', datetime.fromisoformat(moment), read_jobs())


@pytest.fixture
def dead(pubsub, monkeypatch):
    """A topic of jobs in Pub/Sub with a subscription for its dead letters: its name, and what reaches it."""
    from google.pubsub_v1 import Subscription

    from tests.emulators.pubsub import PROJECT

    topic = pubsub.new_topic()
    pubsub.create_topic(f"{topic}-dead-letters")
    project = f"projects/{PROJECT}"
    name = f"{project}/subscriptions/{topic}-dead-letters"
    pubsub._subscriber.create_subscription(
        Subscription(name=name, topic=f"{project}/topics/{topic}-dead-letters", ack_deadline_seconds=600), timeout=20
    )
    monkeypatch.setenv("PROJECT_ID", PROJECT)
    monkeypatch.setenv("NIGHTLY_TOPIC", topic)
    return topic, pubsub.subscribe(topic)


@pytest.mark.xdist_group("pubsub")
def test_in_pubsub_letters_are_published_again_and_taken_out(pubsub, dead, capsys):
    """The second time there is nothing left to do."""
    topic, subscription = dead
    for number in range(3):
        pubsub.publish(
            f"{topic}-dead-letters", json.dumps({"job": "nightly", "key": f"2026-11-0{number + 1}"}).encode()
        )
    pubsub.publish(f"{topic}-dead-letters", b'{"job": "nightly"}')

    assert main(["redrive"]) == 0
    assert "4 delivered again" in capsys.readouterr().out
    # Whatever was not acknowledged is to be had again at once.
    dead_letters = f"projects/nightshift-tests/subscriptions/{topic}-dead-letters"
    pubsub._subscriber.seek({"subscription": dead_letters, "time": NIGHT}, timeout=20)
    assert main(["redrive"]) == 0
    assert "0 delivered again" in capsys.readouterr().out

    found = [json.loads(data) for data in pubsub.pull(subscription)]
    assert sorted(message["key"] for message in found)[:3] == ["2026-11-01", "2026-11-02", "2026-11-03"]
    assert all(message["job"] == "nightly" and message["key"] for message in found)


@pytest.mark.xdist_group("pubsub")
def test_in_pubsub_what_cannot_be_published_stays(pubsub, dead, monkeypatch, capsys):
    """Acknowledged only afterwards."""
    topic, _ = dead
    pubsub.publish(f"{topic}-dead-letters", b'{"job": "nightly"}')

    with monkeypatch.context() as patched:
        patched.setattr("scheduler.cloud_letters.Topic", lambda project, name: _broken_topic(project))
        assert main(["redrive"]) == 1
    assert "Pub/Sub did not take the message" in capsys.readouterr().err

    from scheduler.cloud_letters import redrive_subscription
    from tests.emulators.pubsub import PROJECT

    # Given back, and not hidden until the deadline of its acknowledgement.
    assert redrive_subscription(PROJECT, topic, lambda t, data, at: data, datetime.now(UTC)) == 1


@pytest.mark.xdist_group("pubsub")
def test_in_pubsub_the_source_of_a_letter_is_left_behind_and_its_time_is_used(pubsub, dead):
    """Pub/Sub notes when a message was first published; that is the tick it was made for."""
    from google.pubsub_v1 import PubsubMessage

    from tests.emulators.pubsub import PROJECT

    topic, subscription = dead
    attributes = {
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-11-05T02:10:03.123+00:00",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "mine": "kept",
    }
    message = PubsubMessage(data=b'{"job": "nightly"}', attributes=attributes)
    pubsub._publisher.publish(topic=f"projects/{PROJECT}/topics/{topic}-dead-letters", messages=[message], timeout=20)

    assert main(["redrive"]) == 0

    pulled = pubsub._subscriber.pull(subscription=subscription, max_messages=10, timeout=20).received_messages
    (received,) = [entry.message for entry in pulled]
    assert json.loads(received.data) == {"job": "nightly", "key": "2026-11-04"}
    assert dict(received.attributes) == {"mine": "kept"}


@pytest.mark.xdist_group("pubsub")
def test_in_pubsub_a_subscription_that_is_not_there_is_named(pubsub, monkeypatch, capsys):
    """It is part of the deployment."""
    monkeypatch.setenv("PROJECT_ID", "nightshift-tests")
    monkeypatch.setenv("NIGHTLY_TOPIC", "no-such-topic")

    assert main(["redrive"]) == 2
    assert (
        "redriving projects/nightshift-tests/subscriptions/no-such-topic-dead-letters: not" in capsys.readouterr().err
    )


def _broken_topic(project):
    from shared.topics import Topic

    return Topic(project, "no-such-topic")
