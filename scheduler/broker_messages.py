"""A message as the local broker keeps it, pushes it, and writes it among the dead letters."""

import base64
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class BrokerMessage:
    """What was published, with what Pub/Sub adds.

    Attributes:
        message_id: Digits; the same on every delivery, and never given twice, over restarts too.
        publish_time: UTC, in whole milliseconds.
        data: The bytes that were published.
        attributes: Of the message.
    """

    message_id: str
    publish_time: datetime
    data: bytes
    attributes: Mapping[str, str]

    @classmethod
    def new(cls, data: bytes, attributes: Mapping[str, str], publish_time: datetime) -> "BrokerMessage":
        """Return a message that is published now, under an id of its own."""
        moment = publish_time.astimezone(UTC)
        moment = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        return cls(str(10**15 + secrets.randbelow(9 * 10**15)), moment, data, dict(attributes))

    def to_json(self) -> bytes:
        """Return what `from_json` reads."""
        return json.dumps(
            {
                "message_id": self.message_id,
                "publish_time": self.publish_time.isoformat(),
                "data": base64.b64encode(self.data).decode(),
                "attributes": dict(self.attributes),
            }
        ).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "BrokerMessage":
        """Read what `to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            values = json.loads(text)
            moment = datetime.fromisoformat(values["publish_time"])
            data = base64.b64decode(values["data"], validate=True)
            return cls(values["message_id"], moment, data, values["attributes"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"expected a message: {error!r}") from error

    def push_body(self, subscription: str, attempt: int, *, with_publish_time: bool = True) -> bytes:
        """Return the body that Pub/Sub pushes, keys in both cases as it does.

        Args:
            subscription: Its full name.
            attempt: Which delivery this is, from 1.
            with_publish_time: False leaves the time out, as some emulators do.
        """
        message: dict[str, Any] = {
            "attributes": dict(self.attributes),
            "data": base64.b64encode(self.data).decode(),
            "messageId": self.message_id,
            "message_id": self.message_id,
        }
        if with_publish_time:
            moment = self.publish_time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            message |= {"publishTime": moment, "publish_time": moment}
        return json.dumps({"deliveryAttempt": attempt, "message": message, "subscription": subscription}).encode()

    def dead_letter(self, topic: str, failure: str, buried_at: datetime) -> dict[str, Any]:
        """Return its line among the dead letters: what was published, from where, and why it was given up.

        JSON stands there as `message`, for people to read, where writing it again gives the text that came; anything
        else as `data` in base64.
        """
        letter: dict[str, Any] = {"topic": topic}
        try:
            value = json.loads(self.data)
            same = self.data.decode() in (json.dumps(value), json.dumps(value, separators=(",", ":")))
        except (ValueError, RecursionError):
            value, same = None, False
        letter |= {"message": value} if same else {"data": base64.b64encode(self.data).decode()}
        if self.attributes:
            letter["attributes"] = dict(self.attributes)
        return letter | {
            "message_id": self.message_id,
            "publish_time": self.publish_time.isoformat(),
            "failure": failure,
            "buried_at": buried_at.isoformat(),
        }
