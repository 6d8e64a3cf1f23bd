"""The dead letters in Pub/Sub: pulled from their subscription, published again, and then acknowledged."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from google.api_core.exceptions import DeadlineExceeded, GoogleAPIError
from google.pubsub_v1 import ReceivedMessage, SubscriberClient

from shared.topics import Topic

from .google_errors import BOUNDED_RETRY, CALL_SECONDS, readable_errors

_API = "pubsub.googleapis.com"
_ROLES = "roles/pubsub.subscriber and roles/pubsub.publisher"
_MESSAGES_AT_ONCE = 100
_PUBLISH_SECONDS = 15.0
_PULL_SECONDS = 3.0
# What Pub/Sub adds to a message that it gives up on; a message that comes again begins anew.
_ADDED = "CloudPubSubDeadLetter"
_FIRST_PUBLISHED = "CloudPubSubDeadLetterSourceTopicPublishTime"


def redrive_subscription(
    project: str, topic: str, prepare: Callable[[str, bytes, datetime], bytes], began: datetime
) -> int:
    """Publish every message of `<topic>-dead-letters` to the topic again.

    Args:
        project: The project's id.
        topic: The topic's name.
        prepare: Makes a message's data what is to be published, from the topic, the data and when it was published.
        began: Messages that were given up on later are left: they have been here already.

    Returns:
        How many.

    Raises:
        NotFoundError: There is no such subscription.
        ServiceError: Some were not; those stay. The message says what to do.
    """
    subscription = f"projects/{project}/subscriptions/{topic}-dead-letters"
    count = 0
    with readable_errors(f"redriving {subscription}", api=_API, role=_ROLES, project=project):
        subscriber, target = SubscriberClient(), Topic(project, topic)
        try:
            # Connected, and known to be there: a pull that is not answered then has nothing to answer with.
            subscriber.get_subscription(subscription=subscription, timeout=CALL_SECONDS, retry=BOUNDED_RETRY)
            while messages := _pull(subscriber, subscription):
                old = [received for received in messages if received.message.publish_time <= began]
                with _given_back(subscriber, subscription, messages) as held:
                    for received in old:
                        _publish(target, topic, received, prepare)
                        # Only now: a crash before this publishes it twice.
                        acks = [received.ack_id]
                        subscriber.acknowledge(
                            subscription=subscription, ack_ids=acks, timeout=CALL_SECONDS, retry=BOUNDED_RETRY
                        )
                        held.remove(received.ack_id)
                        count += 1
                if len(old) < len(messages):
                    break
        finally:
            subscriber.transport.close()  # type: ignore[no-untyped-call]
    return count


@contextmanager
def _given_back(
    subscriber: SubscriberClient, subscription: str, messages: list[ReceivedMessage]
) -> Iterator[list[str]]:
    """Give messages back at the end of the block, but for those taken from the list: whoever asks next has them."""
    held = [received.ack_id for received in messages]
    try:
        yield held
    finally:
        if held:
            # Else they come back by themselves, when the deadline of their acknowledgement has passed.
            with contextlib.suppress(GoogleAPIError):
                subscriber.modify_ack_deadline(
                    subscription=subscription, ack_ids=held, ack_deadline_seconds=0, timeout=CALL_SECONDS, retry=None
                )


def _pull(subscriber: SubscriberClient, subscription: str) -> list[ReceivedMessage]:
    try:
        # A pull waits for messages; there is no other way to hear that there are none.
        answer = subscriber.pull(
            subscription=subscription, max_messages=_MESSAGES_AT_ONCE, timeout=_PULL_SECONDS, retry=None
        )
    except DeadlineExceeded:
        return []
    return list(answer.received_messages)


def _publish(
    target: Topic, topic: str, received: ReceivedMessage, prepare: Callable[[str, bytes, datetime], bytes]
) -> None:
    message = received.message
    attributes = {name: value for name, value in message.attributes.items() if not name.startswith(_ADDED)}
    published = message.publish_time
    if _FIRST_PUBLISHED in message.attributes:
        published = datetime.fromisoformat(message.attributes[_FIRST_PUBLISHED]).astimezone(UTC)
    target.publish(prepare(topic, message.data, published), _PUBLISH_SECONDS, attributes)
