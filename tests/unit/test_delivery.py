"""A message is delivered at least once, again after a refusal, and never lost."""

import json
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scheduler.delivery import RetryPolicy, Subscription
from shared.events import parse_message

NOW = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
QUICK = RetryPolicy(min_backoff_seconds=0.01, max_backoff_seconds=0.02, max_delivery_attempts=3)


@pytest.fixture
def receiver():
    """A server that answers with the statuses in `.answers`, then 200, and keeps each body it got."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.server.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.server.arrived.release()

        def log_message(self, *_):
            """Stay quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.answers, server.bodies, server.arrived = [], [], threading.Semaphore(0)
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def deliver(url, tmp_path, attempts, policy=QUICK):
    """Publish one message and return, once it is settled, what was said and the dead letters."""
    said, settled = [], threading.Event()

    def say(line):
        said.append(line)
        if "acknowledged" in line:
            settled.set()

    subscription = Subscription(url, tmp_path / "dead.jsonl", say, policy)
    subscription.publish({"job": "nightly"}, NOW)
    assert settled.wait(20)
    subscription.close()
    dead = tmp_path / "dead.jsonl"
    assert len([line for line in said if "refused" in line]) == attempts - 1
    return said, [json.loads(line) for line in dead.read_text().splitlines()] if dead.exists() else []


def test_a_message_arrives_in_the_shape_that_pubsub_pushes(receiver, tmp_path):
    """nightly-transform parses the local scheduler's body as it would Google's."""
    deliver(receiver.url, tmp_path, attempts=1)

    body = json.loads(receiver.bodies[0])
    message = parse_message(receiver.bodies[0])
    assert body["message"]["messageId"] == body["message"]["message_id"]
    assert body["subscription"].startswith("projects/")
    assert (dict(message.data), message.publish_time, message.delivery_attempt) == ({"job": "nightly"}, NOW, 1)


def test_a_refused_message_comes_again_with_the_same_id_and_time(receiver, tmp_path):
    """Redeliveries count up, and differ in nothing else."""
    receiver.answers = [503, 500]

    _, dead = deliver(receiver.url, tmp_path, attempts=3)

    messages = [parse_message(body) for body in receiver.bodies]
    assert [m.delivery_attempt for m in messages] == [1, 2, 3]
    assert len({(m.message_id, m.publish_time) for m in messages}) == 1
    assert dead == []


def test_a_message_that_is_never_acknowledged_goes_to_the_dead_letters(receiver, tmp_path):
    """After the last attempt the file holds the message and why it failed."""
    receiver.answers = [503, 503, 418]

    _, (letter,) = deliver(receiver.url, tmp_path, attempts=3)

    assert (letter["message"], letter["failure"]) == ({"job": "nightly"}, "status 418")
    assert letter["publish_time"] == NOW.isoformat()


def test_a_receiver_that_is_away_is_tried_again(receiver, tmp_path):
    """No connection is a refusal like any other."""
    receiver.shutdown()
    receiver.server_close()

    _, (letter,) = deliver(receiver.url, tmp_path, attempts=3)

    assert letter["failure"] == "ConnectError"


def test_stopping_while_a_message_waits_keeps_it(receiver, tmp_path):
    """Closing does not sit out the pause, and does not lose the message."""
    receiver.answers = [503]
    subscription = Subscription(receiver.url, tmp_path / "dead.jsonl", lambda _: None, RetryPolicy())
    subscription.publish({"job": "nightly"}, NOW)
    assert receiver.arrived.acquire(timeout=20)

    subscription.close()

    assert json.loads((tmp_path / "dead.jsonl").read_text())["message"] == {"job": "nightly"}


def test_the_pause_doubles_up_to_its_limit():
    """Ten seconds to ten minutes, as the subscription in the cloud is set."""
    policy = RetryPolicy()

    assert [policy.backoff_seconds(attempt) for attempt in (1, 2, 3, 10)] == [10, 20, 40, 600]
