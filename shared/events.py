"""Pub/Sub envelopes, in and out. The only place that knows base64 and the shapes a push arrives in.

Four shapes carry the same message: the push body that Pub/Sub sends, the same body as a CloudEvent in binary mode,
a structured CloudEvent, and either with keys in snake case (Pub/Sub sends both, its emulator one of them).
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from shared.errors import InvalidRequestError
from shared.strict_json import kind_of, loads


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of one Pub/Sub message, whatever it holds.

    Attributes:
        data: The bytes that were published; absent ones are empty.
        attributes: The message's attributes.
        message_id: Same on every redelivery; not an identity of the work, since a repeated tick is a new message.
        publish_time: UTC; None where the sender gave none, or a time that cannot be meant, such as
            the epoch.
        delivery_attempt: 1 for the first; None where the sender does not count.
    """

    data: bytes = b""
    attributes: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""
    publish_time: datetime | None = None
    delivery_attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A delivery of a message that is a JSON object; see `Delivery`.

    Attributes:
        data: The object; empty where there is none.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    message_id: str = ""
    publish_time: datetime | None = None
    delivery_attempt: int | None = None


def parse_message(body: bytes) -> Message:
    """Read a push body of any of the shapes, whose message is a JSON object.

    Raises:
        InvalidRequestError: reason INVALID_EVENT, naming the member that is not as expected; or the body is not
            strict JSON at all.
    """
    delivery = delivery_of(loads(body))
    return Message(
        data=_object(delivery.data),
        attributes=delivery.attributes,
        message_id=delivery.message_id,
        publish_time=delivery.publish_time,
        delivery_attempt=delivery.delivery_attempt,
    )


def delivery_of(envelope: Any) -> Delivery:
    """Read a push body of any of the shapes, parsed already, and leave alone what its message holds.

    Raises:
        InvalidRequestError: reason INVALID_EVENT, naming the member that is not as expected.
    """
    if isinstance(envelope, dict) and isinstance(envelope.get("data"), dict) and "message" not in envelope:
        envelope = envelope["data"]  # a structured CloudEvent wraps the push body
    if not isinstance(envelope, dict):
        raise _invalid("the body", "an object", envelope)
    message = envelope.get("message")
    if not isinstance(message, dict):
        raise _invalid("message", "an object", message)
    attributes = message.get("attributes")
    attributes = {} if attributes is None else attributes
    if not isinstance(attributes, dict) or not all(isinstance(v, str) for v in attributes.values()):
        raise _invalid("message.attributes", "an object of strings", attributes)
    attempt = envelope.get("deliveryAttempt", envelope.get("delivery_attempt"))
    return Delivery(
        data=_data(message.get("data")),
        attributes=attributes,
        message_id=str(message.get("messageId") or message.get("message_id") or ""),
        publish_time=_time(message.get("publishTime") or message.get("publish_time")),
        delivery_attempt=attempt if type(attempt) is int else None,
    )


def push_body(
    message: Mapping[str, Any], *, message_id: str, publish_time: datetime, subscription: str, attempt: int
) -> bytes:
    """Return the body that Pub/Sub would push for a JSON message, keys in both cases as it does."""
    moment = publish_time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    envelope = {
        "deliveryAttempt": attempt,
        "message": {
            "attributes": {},
            "data": base64.b64encode(json.dumps(message).encode()).decode(),
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": moment,
            "publish_time": moment,
        },
        "subscription": subscription,
    }
    return json.dumps(envelope).encode()


def _data(encoded: object) -> bytes:
    if encoded is None:
        return b""
    if not isinstance(encoded, str):
        raise _invalid("message.data", "a base64 string", encoded)
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidRequestError("message.data: expected base64", reason="INVALID_EVENT") from None


def _object(data: bytes) -> Mapping[str, Any]:
    try:
        value = loads(data) if data.strip() else {}
    except InvalidRequestError as error:
        raise InvalidRequestError(f"message.data: {error.message}", reason="INVALID_EVENT") from error
    if not isinstance(value, dict):
        raise _invalid("message.data", "an object once decoded", value)
    return value


def _time(text: object) -> datetime | None:
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequestError("message.publishTime: expected RFC 3339", reason="INVALID_EVENT") from None
    if moment.tzinfo is None or not 1970 < moment.year < 9999:
        return None
    return moment.astimezone(UTC)


def _invalid(where: str, expected: str, got: object) -> InvalidRequestError:
    return InvalidRequestError(f"{where}: expected {expected}, got {kind_of(got)}", reason="INVALID_EVENT")
