"""Results that come as Pub/Sub pushes: predict's log of predictions, or anybody's."""

import re
from typing import NamedTuple

from shared.errors import InvalidRequestError
from shared.events import Delivery, delivery_of

from .reader import RawResult, read_one

# What a result may not have and every envelope has; a structured CloudEvent has it inside `data`.
_ENVELOPE = {"message", "data"}
_MESSAGE_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


class Push(NamedTuple):
    """A result with the key that makes one of all deliveries of its message."""

    result: RawResult
    key: str | None


def is_push(body: RawResult) -> bool:
    """Tell an envelope from a result."""
    return "model" not in body.values and not _ENVELOPE.isdisjoint(body.values)


def read_push(body: RawResult) -> Push:
    """Take the result out of its envelope, its payloads to the character.

    Raises:
        InvalidRequestError: reason INVALID_EVENT, naming the member that is not as expected.
    """
    delivery = delivery_of(body.values)
    key = _key(delivery)
    try:
        return Push(read_one(delivery.data), key)
    except InvalidRequestError as error:
        raise InvalidRequestError(f"message.data: {error.message}", reason="INVALID_EVENT") from error


def _key(delivery: Delivery) -> str | None:
    """Return the message's identity, the same on every delivery; its time too, since emulators count from 1 again."""
    if not delivery.message_id:
        return None
    if not _MESSAGE_ID.fullmatch(delivery.message_id):
        raise InvalidRequestError("message.messageId: expected at most 128 of A-Z a-z 0-9 _ -", reason="INVALID_EVENT")
    published = delivery.publish_time.isoformat() if delivery.publish_time else ""
    return f"pubsub:{delivery.message_id}:{published}"
