"""`python -m functions --emulators`: Google's Pub/Sub and Firestore emulators in the places of ours, end to end."""

import json
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import httpx
import psutil
import pytest
from google.pubsub_v1 import SubscriberClient

from functions._local.console import StackConsole
from functions._local.emulated import EmulatedDelivery
from functions._local.emulators import started_emulator
from functions._local.processes import free_port_base
from functions._local.pushes import PushTarget
from functions._local.stack import Stack
from scheduler.delivery import RetryPolicy
from shared.config import PORT_OFFSETS, ROOT, child_environment
from shared.errors import ConfigurationError, ServiceError
from shared.jobs import read_jobs
from shared.topics import Topic
from tests.emulators import firestore, pubsub
from tests.emulators.receiver import eventually, push_receiver

pytestmark = pytest.mark.xdist_group("pubsub")

EXAMPLE = json.loads((ROOT / "model/digits/1/model.json").read_bytes())["example"]
NOW = datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
MISSING = pubsub.missing() or firestore.missing()
needs_emulators = pytest.mark.skipif(bool(MISSING), reason=f"NOT TESTED: --emulators: {MISSING}")


def ask(url):
    """Return what a function answers, or nothing while it refuses."""
    answer = httpx.get(url, timeout=30)
    return answer.json() if answer.is_success else {}


@needs_emulators
@pytest.mark.timeout(240)
def test_everything_works_on_googles_emulators_and_nothing_is_left(tmp_path, monkeypatch):
    """Predict, topic, push, Firestore; a tick, push, a run and its summary; a poison message out of the way."""
    monkeypatch.setenv("LOG_PREDICTIONS", "1")
    before = set(psutil.Process().children(recursive=True))
    stack = Stack(
        list(PORT_OFFSETS),
        port_base=free_port_base(),
        state_dir=tmp_path / "local",
        models_dir=None,
        console=StackConsole(),
        emulators=True,
    )
    url = stack.urls
    with stack.running():
        for name in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
            monkeypatch.setenv(name, stack.delivery_env[name])

        answer = httpx.post(f"{url['predict']}/v1/models/digits:predict", json=EXAMPLE, timeout=30)
        (result,) = eventually(lambda: ask(url["list_results"]).get("results"))
        assert result["predictions"] == answer.json()["predictions"]

        nightly = read_jobs()["nightly"]
        tick = nightly.last_tick(datetime.now(UTC))
        key = nightly.interval_of_tick(tick).key
        with stack.scheduling(clock_at(tick)):
            runs = f"{url['nightly_transform']}/runs?job=nightly&since={key}"
            (run,) = eventually(lambda: [r for r in ask(runs).get("runs", []) if r["state"] == "success"])
        assert (run["key"], run["trigger"]) == (key, "schedule")

        today = result["created_at"][:10]
        Topic("local", "nightly").publish(json.dumps({"job": "nightly", "key": today}).encode(), 20)
        summaries = f"{url['nightly_transform']}/summaries?job=nightly&since={today}"
        (summary,) = eventually(lambda: ask(summaries).get("summaries"))
        assert [row["predictions"] for row in summary["rows"] if row["model"] == "digits"] == [1]

        Topic("local", "nightly").publish(b"\xff not JSON", 20)
        (letter,) = eventually(lambda: ask(f"{url['nightly_transform']}/dead-letters").get("dead_letters"))
        assert letter["id"]
        check_subscriptions(url)

    assert set(psutil.Process().children(recursive=True)) <= before


def clock_at(tick):
    """Return a clock that shows a moment before a tick first, and then the tick."""
    moments = iter([tick - timedelta(seconds=1)])
    return lambda: next(moments, tick)


def check_subscriptions(url):
    """Make sure that each function's subscription is as the one in the cloud."""
    with SubscriberClient() as client:
        for topic, function in (("nightly", "nightly_transform"), ("predictions", "store_result")):
            name = f"projects/local/subscriptions/{function.replace('_', '-')}"
            found = client.get_subscription(subscription=name, timeout=20, retry=None)
            dead = client.get_subscription(
                subscription=f"projects/local/subscriptions/{topic}-dead-letters", timeout=20, retry=None
            )
            assert found.push_config.push_endpoint == f"{url[function]}/"
            assert found.ack_deadline_seconds == 600
            assert (found.retry_policy.minimum_backoff, found.retry_policy.maximum_backoff) == (
                timedelta(seconds=10),
                timedelta(seconds=600),
            )
            assert found.dead_letter_policy.dead_letter_topic == dead.topic
            assert found.dead_letter_policy.max_delivery_attempts == 20


@needs_emulators
@pytest.mark.timeout(180)
def test_ctrl_c_ends_the_emulators_too(tmp_path):
    """Status 0, and no Java is left."""
    command = [sys.executable, "-m", "functions", "--emulators", "--port-base", str(free_port_base())]
    command += ["--only", "list_results", "--no-reload", "--state-dir", str(tmp_path / "local")]
    with (tmp_path / "printed").open("wb") as printed:
        process = subprocess.Popen(
            command, stdout=printed, stderr=subprocess.STDOUT, cwd="/", env=child_environment({})
        )
    try:
        eventually(lambda: "Ready" in (tmp_path / "printed").read_text() or process.poll() is not None)
        children = psutil.Process(process.pid).children(recursive=True)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)

    said = (tmp_path / "printed").read_text()
    assert process.returncode == 0, said
    assert "STORE_URL=firestore://local/(default)" in said
    assert len([child for child in children if child.is_running()]) == 0
    assert len(children) >= 4, "two emulators, and one function of two processes at least"


@pytest.fixture
def delivery(running_pubsub):
    """Return our topics in Pub/Sub's emulator, in a project of the test's own, with a receiver and a short policy."""
    delivery = EmulatedDelivery(running_pubsub.host, "emulated", {})
    with push_receiver() as receiver:
        target = PushTarget(
            f"nightly-{receiver.server_port}", f"nightly_transform_{receiver.server_port}", receiver.url
        )
        delivery.create([target], RetryPolicy(0.1, 0.2, 5))
        delivery.topic, delivery.receiver = target.topic, receiver
        yield delivery
    delivery.close()


def test_a_tick_published_to_the_emulator_is_pushed(delivery):
    """The local scheduler's message, in the shape that Google's code gives it."""
    message_id = delivery.publish(delivery.topic, b'{"job": "nightly"}', NOW)

    (came,) = delivery.receiver.wait_for(1)
    assert (came.data, came.message_id) == (b'{"job": "nightly"}', message_id)


def test_a_message_that_always_fails_waits_among_the_dead_letters(delivery, running_pubsub):
    """After as many deliveries as the policy says; a subscription keeps it until somebody pulls it."""
    delivery.receiver.answer = lambda body: 500

    delivery.publish(delivery.topic, b"poison", NOW)

    dead = f"projects/emulated/subscriptions/{delivery.topic}-dead-letters"
    assert eventually(lambda: running_pubsub.pull(dead)) == [b"poison"]
    assert len(delivery.receiver.bodies) == 5


def test_a_message_for_a_topic_that_is_not_there_is_an_error_of_ours(delivery):
    """The schedule says so and tries again."""
    with pytest.raises(ServiceError, match="did not take a message"):
        delivery.publish("nowhere", b"x", NOW)


def test_what_is_not_installed_is_named(tmp_path):
    """What it is, and the packages that bring it, before anything starts."""
    command = [sys.executable, "-m", "functions", "--emulators", "--port-base", str(free_port_base())]
    ended = subprocess.run(
        [*command, "--state-dir", str(tmp_path / "local")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=child_environment({"PATH": "/nowhere"}),
    )

    assert ended.returncode == 1
    assert "default-jre-headless" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_emulator_that_ends_at_once_is_named_with_its_log(tmp_path):
    """Nobody waits a minute for it."""
    command = [sys.executable, "-c", "import sys; sys.exit('no memory')"]

    with (
        started_emulator("the emulator", lambda port: command, tmp_path / "logs" / "x.log") as started,
        pytest.raises(ConfigurationError, match=r"the emulator did not start.*x\.log"),
    ):
        started.wait_until_listening()

    assert (tmp_path / "logs" / "x.log").read_text() == "no memory\n"
