"""A push subscription as Pub/Sub keeps one: at least once, with back-off, and a dead-letter file at the end."""

import json
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import httpx

from shared.events import push_body

SUBSCRIPTION = "projects/local/subscriptions/nightly-transform"
# How long Pub/Sub waits for a push to be acknowledged, at most.
_ACK_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a refused message is delivered again: after min, then twice as long each time, up to max."""

    min_backoff_seconds: float = 10.0
    max_backoff_seconds: float = 600.0
    max_delivery_attempts: int = 5

    def backoff_seconds(self, attempt: int) -> float:
        """Return the pause after the attempt of that number, from 1."""
        return min(self.min_backoff_seconds * 2.0 ** (attempt - 1), self.max_backoff_seconds)


class Publisher(Protocol):
    """Whatever takes a job's message."""

    def publish(self, message: Mapping[str, Any], publish_time: datetime) -> object:
        """Take a message published at that time."""
        ...


class Subscription:
    """Delivers messages to one URL.

    Args:
        push_url: Where messages are posted; any 2xx acknowledges.
        dead_letters: File that takes, a line each, what was never acknowledged.
        say: Told what happens, in a line.
        policy: When to try again, and how often.
    """

    def __init__(
        self, push_url: str, dead_letters: Path, say: Callable[[str], None], policy: RetryPolicy | None = None
    ) -> None:
        self._push_url = push_url
        self._dead_letters = dead_letters
        self._say = say
        self._policy = policy or RetryPolicy()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def publish(self, message: Mapping[str, Any], publish_time: datetime) -> str:
        """Take a message for delivery and return its id; one message never waits for another."""
        message_id = str(secrets.randbelow(10**16))
        thread = threading.Thread(target=self._deliver, args=(message, message_id, publish_time), daemon=True)
        self._threads = [t for t in self._threads if t.is_alive()] + [thread]
        thread.start()
        return message_id

    def close(self) -> None:
        """Stop delivering: what is not acknowledged yet goes to the dead letters, so that nothing is lost."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _deliver(self, message: Mapping[str, Any], message_id: str, publish_time: datetime) -> None:
        failure = "never delivered"
        for attempt in range(1, self._policy.max_delivery_attempts + 1):
            body = push_body(
                message, message_id=message_id, publish_time=publish_time, subscription=SUBSCRIPTION, attempt=attempt
            )
            failure = self._push(body)
            if not failure:
                self._say(f"message {message_id} acknowledged, attempt {attempt}")
                return
            pause = self._policy.backoff_seconds(attempt)
            if attempt < self._policy.max_delivery_attempts:
                self._say(f"message {message_id} refused ({failure}), attempt {attempt}; again in {pause:g} s")
                if self._stopping.wait(pause):
                    break
        self._bury(message, message_id, publish_time, failure)

    def _push(self, body: bytes) -> str:
        """Return why the push was not acknowledged, or "" if it was."""
        try:
            answer = httpx.post(
                self._push_url, content=body, headers={"Content-Type": "application/json"}, timeout=_ACK_SECONDS
            )
        except httpx.TransportError as error:
            return type(error).__name__
        return "" if answer.is_success else f"status {answer.status_code}"

    def _bury(self, message: Mapping[str, Any], message_id: str, publish_time: datetime, failure: str) -> None:
        line = {
            "message": message,
            "message_id": message_id,
            "publish_time": publish_time.isoformat(),
            "failure": failure,
            "buried_at": datetime.now(UTC).isoformat(),
        }
        self._dead_letters.parent.mkdir(parents=True, exist_ok=True)
        with self._dead_letters.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        self._say(f"message {message_id} was never acknowledged ({failure}): see {self._dead_letters.name}")
