"""Pub/Sub for tests: keeps what was published until a delivery of it is answered 2xx."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.events import push_body

SUBSCRIPTION = "projects/p/subscriptions/nightly-push"
# More than any test needs: a message that is refused for ever shall fail it, not hang it.
_MOST_DELIVERIES = 3000


@dataclass
class Message:
    """One published message.

    Attributes:
        deliveries: How often it was delivered.
    """

    id: str
    data: Mapping[str, Any]
    published_at: datetime
    deliveries: int = 0

    def body(self) -> bytes:
        """Return the body of its next delivery."""
        self.deliveries += 1
        return push_body(
            self.data,
            message_id=self.id,
            publish_time=self.published_at,
            subscription=SUBSCRIPTION,
            attempt=self.deliveries,
        )


class Broker:
    """Delivers at least once, in any order, as the test has it.

    Args:
        clock: Stamps what is published, and is moved on before anything is delivered again.

    Attributes:
        pending: What was not acknowledged yet, oldest first.
        published: Every message's data, in order.
        answers: Every delivery's message and status, in order.
    """

    def __init__(self, clock: Any) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self.pending: list[Message] = []
        self.published: list[Mapping[str, Any]] = []
        self.answers: list[tuple[Mapping[str, Any], int]] = []

    def publish(self, data: Mapping[str, Any], at: datetime | None = None) -> Message:
        """Take a message; of a tick, `at` is when it was published."""
        with self._lock:
            message = Message(f"m{len(self.published)}", dict(data), at or self._clock())
            self.published.append(message.data)
            self.pending.append(message)
        return message

    def take(self) -> list[Message]:
        """Return what is pending, and forget it: the test delivers it by hand, or loses it."""
        with self._lock:
            taken, self.pending = self.pending, []
        return taken

    def deliver(self, message: Message, receive: Callable[[bytes], int]) -> int:
        """Deliver a message once and return the status; it is pending no more if that is 2xx."""
        status = receive(message.body())
        with self._lock:
            self.answers.append((message.data, status))
            if status < 300 and message in self.pending:
                self.pending.remove(message)
        return status

    def drain(
        self,
        receive: Callable[[bytes], int],
        *,
        choose: Callable[[list[Message]], Message] = lambda pending: pending[0],
        copies: int = 1,
        redelivered_after: timedelta = timedelta(minutes=1),
    ) -> None:
        """Deliver until nothing is pending.

        Args:
            receive: Takes a body and returns the status.
            choose: Picks the next message.
            copies: How often each is delivered, whatever the first answers were.
            redelivered_after: How far the clock is moved on before messages that were refused come again.
        """
        refused: list[Message] = []
        for _ in range(_MOST_DELIVERIES):
            fresh = [message for message in self.pending if message not in refused]
            if not fresh:
                if not self.pending:
                    return
                self._clock.advance(redelivered_after)
                refused = []
                continue
            message = choose(fresh)
            for _ in range(copies):
                if self.deliver(message, receive) >= 300 and message not in refused:
                    refused.append(message)
        raise AssertionError(f"still pending after {_MOST_DELIVERIES} deliveries: {self.pending}")

    def drain_at_once(
        self, receive: Callable[[bytes], int], threads: int, redelivered_after: timedelta = timedelta(minutes=1)
    ) -> None:
        """Deliver on several threads, as many messages at once, until nothing is pending."""
        refused: list[str] = []
        under_way: set[str] = set()
        changed = threading.Condition()

        def next_message() -> Message | None:
            with changed:
                while True:
                    waiting = [each for each in list(self.pending) if each.id not in under_way]
                    fresh = [each for each in waiting if each.id not in refused]
                    if fresh:
                        under_way.add(fresh[0].id)
                        return fresh[0]
                    if not under_way:
                        if not waiting:
                            return None
                        self._clock.advance(redelivered_after)
                        refused.clear()
                    else:
                        changed.wait(1.0)

        def work(_: int) -> None:
            while len(self.answers) < _MOST_DELIVERIES and (message := next_message()):
                try:
                    status = self.deliver(message, receive)
                finally:
                    with changed:
                        under_way.discard(message.id)
                        changed.notify_all()
                if status >= 300:
                    with changed:
                        refused.append(message.id)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))
        assert not self.pending, f"still pending after {_MOST_DELIVERIES} deliveries"
