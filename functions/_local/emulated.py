"""The delivery of `--emulators`: topics, push subscriptions and dead letters in Google's Pub/Sub emulator."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.api_core.exceptions import GoogleAPIError
from google.cloud.firestore_v1.services.firestore import FirestoreClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport
from google.pubsub_v1 import PublisherClient, SubscriberClient
from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport
from google.pubsub_v1.services.subscriber.transports import SubscriberGrpcTransport
from google.pubsub_v1.types import DeadLetterPolicy, PubsubMessage, PushConfig, Subscription
from google.pubsub_v1.types import RetryPolicy as BackOff

from scheduler.delivery import ACK_SECONDS, RetryPolicy
from shared.config import Settings
from shared.errors import ServiceError

from .emulators import check_emulators, firestore_command, pubsub_command, started_emulator
from .pushes import LOCAL_PROJECT, PushTarget

_CALL_SECONDS = 20.0
# Java's first answers take seconds.
_WARM_UP_SECONDS = 60.0


class EmulatedDelivery:
    """Pub/Sub's emulator with our topics in it.

    Args:
        host: Where it listens.
        project_id: The project that the topics are in.
        env: What the functions need to know.
    """

    def __init__(self, host: str, project_id: str, env: Mapping[str, str]) -> None:
        self.env = env
        self._project = f"projects/{project_id}"
        self._channel = grpc.insecure_channel(host)
        self._publisher = PublisherClient(transport=PublisherGrpcTransport(channel=self._channel))
        self._subscriber = SubscriberClient(transport=SubscriberGrpcTransport(channel=self._channel))

    def create(self, targets: Sequence[PushTarget], policy: RetryPolicy | None = None) -> None:
        """Make each topic with its push subscription, and the topic and subscription of its dead letters.

        Args:
            targets: The topics, and where their messages are pushed to.
            policy: When a refused message is pushed again, and how often before it is a dead letter; Pub/Sub takes 5
                to 100 attempts.
        """
        policy = policy or RetryPolicy()
        for target in targets:
            dead = f"{target.topic}-dead-letters"
            self._publisher.create_topic(name=self._topic(target.topic), timeout=_CALL_SECONDS, retry=None)
            self._publisher.create_topic(name=self._topic(dead), timeout=_CALL_SECONDS, retry=None)
            # Without a subscription of its own, a topic forgets what it is given.
            self._subscribe(dead, dead)
            self._subscribe(
                target.topic,
                target.subscription,
                push_config=PushConfig(push_endpoint=target.url),
                retry_policy=BackOff(
                    minimum_backoff=timedelta(seconds=policy.min_backoff_seconds),
                    maximum_backoff=timedelta(seconds=policy.max_backoff_seconds),
                ),
                dead_letter_policy=DeadLetterPolicy(
                    dead_letter_topic=self._topic(dead), max_delivery_attempts=policy.max_delivery_attempts
                ),
            )

    def publish(self, topic: str, data: bytes, publish_time: datetime) -> str:
        """Publish a message; return its id. The emulator takes the time from its own clock.

        `shared.topics` finds an emulator by this process's environment, which only the functions' have.

        Raises:
            ServiceError: The emulator did not take it.
        """
        messages = [PubsubMessage(data=data)]
        try:
            answer = self._publisher.publish(
                topic=self._topic(topic), messages=messages, timeout=_CALL_SECONDS, retry=None
            )
        except GoogleAPIError as error:
            raise ServiceError(f"the Pub/Sub emulator did not take a message: {error}") from error
        return str(answer.message_ids[0])

    @contextmanager
    def delivering(self, functions: Collection[str]) -> Iterator[None]:
        """Do nothing: the emulator delivers by itself."""
        yield

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _subscribe(self, topic: str, name: str, **settings: Any) -> None:
        subscription = Subscription(
            name=f"{self._project}/subscriptions/{name}",
            topic=self._topic(topic),
            ack_deadline_seconds=ACK_SECONDS,
            **settings,
        )
        self._subscriber.create_subscription(subscription, timeout=_CALL_SECONDS, retry=None)

    def _topic(self, name: str) -> str:
        return f"{self._project}/topics/{name}"


@contextmanager
def emulated_delivery(settings: Settings, targets: Sequence[PushTarget], state_dir: Path) -> Iterator[EmulatedDelivery]:
    """Run both emulators while the block runs, with topics and subscriptions and an empty database.

    Raises:
        ConfigurationError: They are not installed, or did not start.
    """
    check_emulators()
    project_id, logs = settings.project_id or LOCAL_PROJECT, state_dir / "logs"
    with ExitStack() as running:
        # Both at once: each takes Java seconds.
        pubsub = running.enter_context(started_emulator("the Pub/Sub emulator", pubsub_command, logs / "pubsub.log"))
        firestore = running.enter_context(
            started_emulator("the Firestore emulator", firestore_command, logs / "firestore.log")
        )
        env = {
            "PROJECT_ID": project_id,
            "PUBSUB_EMULATOR_HOST": pubsub.wait_until_listening(),
            "FIRESTORE_EMULATOR_HOST": firestore.wait_until_listening(),
            "STORE_URL": f"firestore://{project_id}/(default)",
        }
        warm_up(env["FIRESTORE_EMULATOR_HOST"], project_id)
        delivery = EmulatedDelivery(env["PUBSUB_EMULATOR_HOST"], project_id, env)
        running.callback(delivery.close)
        delivery.create(targets)
        yield delivery


def warm_up(host: str, project_id: str) -> None:
    """Ask Firestore once for whatever a function will: the first time takes longer than a function waits.

    What is written for it is in a database that nobody reads.
    """
    database = f"projects/{project_id}/databases/warm-up"
    query = {"from": [{"collection_id": "results"}]}
    document = f"{database}/documents/results/a"
    options: dict[str, Any] = {"timeout": _WARM_UP_SECONDS, "metadata": [("authorization", "Bearer owner")]}
    with grpc.insecure_channel(host) as channel:
        client = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
        client.commit({"database": database, "writes": [{"update": {"name": document}}]}, **options)
        list(client.batch_get_documents({"database": database, "documents": [document]}, **options))
        list(client.run_query({"parent": f"{database}/documents", "structured_query": query}, **options))
        counting = {"structured_query": query, "aggregations": [{"count": {}, "alias": "n"}]}
        asked = {"parent": f"{database}/documents", "structured_aggregation_query": counting}
        list(client.run_aggregation_query(asked, **options))
