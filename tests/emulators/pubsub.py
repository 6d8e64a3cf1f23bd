"""Google's Pub/Sub emulator on loopback: the jar itself, so that the process that is paused or killed is the one."""

import itertools
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import grpc
from google.api_core.retry import Retry
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1 import PublisherClient, PubsubMessage, PushConfig, RetryPolicy, SubscriberClient, Subscription
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport

from functions._local.emulators import pubsub_command, pubsub_jar
from tests.support import free_port

PROJECT = "nightshift-tests"
_START_SECONDS = 60.0
_CALL_SECONDS = 20.0


def missing() -> str | None:
    """Return why there is no emulator here, or None if there is one."""
    if not shutil.which("java"):
        return "java is not installed (Debian: apt-get install default-jre-headless)"
    return None if pubsub_jar() else "the Pub/Sub emulator is not installed (gcloud components install pubsub-emulator)"


class PubsubEmulator:
    """An emulator, started.

    Attributes:
        host: For PUBSUB_EMULATOR_HOST.
    """

    def __init__(self) -> None:
        self._port = free_port()
        self.host = f"127.0.0.1:{self._port}"
        self._numbers = itertools.count(1)
        self._channel = grpc.insecure_channel(self.host, options=[("grpc.max_receive_message_length", -1)])
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))
        self.start()

    def start(self) -> None:
        """Start it, with nothing in it, and wait until it answers."""
        self._process = subprocess.Popen(
            pubsub_command(self._port),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not _listens(self._port):
            assert self._process.poll() is None, "the Pub/Sub emulator ended at once"
            assert time.monotonic() < deadline, "the Pub/Sub emulator did not start"
            time.sleep(0.02)

    def pause(self) -> None:
        """Let it answer nothing more, with every connection kept open."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once; what it held is lost."""
        self._process.kill()
        self._process.wait()

    def restore(self) -> None:
        """Undo what a test did to it."""
        self.resume()
        if self._process.poll() is not None:
            self.start()

    def close(self) -> None:
        """Be done with it."""
        self._channel.close()
        self.kill()

    def new_topic(self) -> str:
        """Make a topic, and return its name in PROJECT."""
        name = f"predictions-{next(self._numbers)}"
        self.create_topic(name)
        return name

    def create_topic(self, name: str) -> None:
        """Make a topic of this name."""
        # It was killed, perhaps: then the connection has to be made again.
        patient = Retry(initial=0.05, maximum=0.2, timeout=_CALL_SECONDS)
        self._publisher.create_topic(name=_topic(name), timeout=_CALL_SECONDS, retry=patient)

    def publish(self, topic: str, data: bytes) -> str:
        """Publish a message as anybody would, and return its id."""
        answer = self._publisher.publish(
            topic=_topic(topic), messages=[PubsubMessage(data=data)], timeout=_CALL_SECONDS, retry=None
        )
        return str(answer.message_ids[0])

    def push(self, topic: str, url: str) -> str:
        """Have a topic's messages pushed to a URL, again soon where it refuses them; return the subscription."""
        return self._subscribe(topic, PushConfig(push_endpoint=url))

    def subscribe(self, topic: str) -> str:
        """Keep a topic's messages until they are pulled; return the subscription."""
        return self._subscribe(topic, None)

    def pull(self, subscription: str) -> list[bytes]:
        """Return what waits in a subscription, and take it out."""
        found: list[bytes] = []
        while True:
            with warnings.catch_warnings():
                # Deprecated, and the one way to hear that there is nothing.
                warnings.simplefilter("ignore", DeprecationWarning)
                order = {"subscription": subscription, "max_messages": 1000, "return_immediately": True}
                answer = self._subscriber.pull(request=order, timeout=_CALL_SECONDS, retry=None)
            if not answer.received_messages:
                return found
            found += [received.message.data for received in answer.received_messages]
            acks = [received.ack_id for received in answer.received_messages]
            self._subscriber.acknowledge(subscription=subscription, ack_ids=acks, timeout=_CALL_SECONDS, retry=None)

    def _subscribe(self, topic: str, push: PushConfig | None) -> str:
        name = f"projects/{PROJECT}/subscriptions/{topic}-{next(self._numbers)}"
        again = RetryPolicy(minimum_backoff=Duration(nanos=100_000_000), maximum_backoff=Duration(nanos=200_000_000))
        subscription = Subscription(
            name=name, topic=_topic(topic), push_config=push, ack_deadline_seconds=20, retry_policy=again
        )
        self._subscriber.create_subscription(subscription, timeout=_CALL_SECONDS, retry=None)
        return name


@contextmanager
def pubsub_emulator() -> Iterator[PubsubEmulator]:
    """Run an emulator until the block ends."""
    emulator = PubsubEmulator()
    try:
        yield emulator
    finally:
        emulator.close()


def _topic(name: str) -> str:
    return f"projects/{PROJECT}/topics/{name}"


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        sock.settimeout(1)
        return sock.connect_ex(("127.0.0.1", port)) == 0
