"""The delivery that is there by default: a broker in this process, which forgets nothing between two starts."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from scheduler.broker import Broker
from scheduler.broker_files import DeadLetters, PendingMessages
from scheduler.delivery import Faults, Subscription
from shared.config import Settings, child_environment

from .pushes import LOCAL_PROJECT, PushTarget, Say

# At most; the functions keep half of their threads for whoever asks them otherwise.
_PUSHES_AT_ONCE = 8


class EmbeddedDelivery:
    """Messages that the functions publish through Google's own client, and their pushes.

    Attributes:
        env: Where that client finds the broker, unless the user has set a host.
    """

    def __init__(
        self, settings: Settings, targets: Sequence[PushTarget], state_dir: Path, say: Say, faults: Faults
    ) -> None:
        self._project_id = settings.project_id or LOCAL_PROJECT
        self._targets = targets
        dead_letters = DeadLetters(state_dir / "dead_letters.jsonl")
        self._subscriptions = {
            target.topic: Subscription(
                f"projects/{self._project_id}/subscriptions/{target.subscription}",
                topic=target.topic,
                push_url=target.url,
                pending=PendingMessages(state_dir / "pending" / target.topic),
                dead_letters=dead_letters,
                say=say,
                faults=faults,
                at_once=max(1, min(_PUSHES_AT_ONCE, settings.threads // 2)),
            )
            for target in targets
        }
        self._broker = Broker(self._project_id, self._subscriptions, lambda: datetime.now(UTC))
        self.env: Mapping[str, str] = {}

    def publish(self, topic: str, data: bytes, publish_time: datetime) -> str:
        """Publish a message; return its id."""
        return self._broker.publish(topic, data, publish_time)

    def listen(self) -> None:
        """Begin to take messages."""
        env = {"PUBSUB_EMULATOR_HOST": self._broker.listen(), "PROJECT_ID": self._project_id}
        # A host of the user's own stands: their functions publish there then, and only the schedule comes this way.
        self.env = env | {name: value for name, value in child_environment({}).items() if name in env and value}

    def close(self) -> None:
        """Take no more messages, and wait for the pushes under way."""
        self._broker.close()
        for subscription in self._subscriptions.values():
            subscription.close()

    @contextmanager
    def delivering(self, functions: Collection[str]) -> Iterator[None]:
        """Deliver to these functions while the block runs; what others should have is kept."""
        with ExitStack() as cleanup:
            for target in self._targets:
                if target.function in functions:
                    subscription = self._subscriptions[target.topic]
                    cleanup.callback(subscription.stop)
                    subscription.start()
            yield


@contextmanager
def embedded_delivery(
    settings: Settings, targets: Sequence[PushTarget], state_dir: Path, say: Say, faults: Faults
) -> Iterator[EmbeddedDelivery]:
    """Take messages while the block runs."""
    delivery = EmbeddedDelivery(settings, targets, state_dir, say, faults)
    try:
        delivery.listen()
        yield delivery
    finally:
        delivery.close()
