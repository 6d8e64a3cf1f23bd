"""A push subscription as Pub/Sub keeps one: at least once, with back-off, and dead letters at the end."""

import heapq
import itertools
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx

from .broker_files import DeadLetters, PendingMessages
from .broker_messages import BrokerMessage

# How long Pub/Sub waits for a push to be acknowledged, at most.
ACK_SECONDS = 600
_RANDOM = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a refused message is delivered again: after min, then twice as long each time, up to max.

    20 attempts take more than two hours: a run that is under way elsewhere refuses its message without anything being
    wrong, and a database may be away for a while.
    """

    min_backoff_seconds: float = 10.0
    max_backoff_seconds: float = 600.0
    max_delivery_attempts: int = 20

    def backoff_seconds(self, attempt: int) -> float:
        """Return the pause after the attempt of that number, from 1."""
        return min(self.min_backoff_seconds * 2.0 ** (attempt - 1), self.max_backoff_seconds)


@dataclass(frozen=True, slots=True)
class Faults:
    """What Pub/Sub may do and rarely does, on request.

    Attributes:
        duplicate: The share of messages that are delivered twice, at about the same time; 0 to 1.
        fail_first: How many deliveries of each message are refused before the function is called.
        drop_publish_time: Leave out when a message was published.
    """

    duplicate: float = 0.0
    fail_first: int = 0
    drop_publish_time: bool = False


@dataclass(frozen=True, slots=True, order=True)
class _Turn:
    """A delivery that is due at a time of the monotonic clock; a duplicate's outcome does not matter."""

    due: float
    number: int
    name: str = field(compare=False)
    attempt: int = field(default=1, compare=False)
    duplicate_of: BrokerMessage | None = field(default=None, compare=False)


class Subscription:
    """Delivers the messages of one topic to one URL, several at a time, in no particular order.

    Args:
        name: projects/PROJECT/subscriptions/SUBSCRIPTION, which each push carries.
        topic: Where its messages come from, as the dead letters name it.
        push_url: Where messages are posted; any 2xx acknowledges.
        pending: Keeps what is not acknowledged.
        dead_letters: Takes what never was.
        say: Told what goes wrong, in a line.
        policy: When to try again, and how often.
        faults: What to do wrong on purpose.
        at_once: How many deliveries are under way at most.
    """

    def __init__(
        self,
        name: str,
        *,
        topic: str,
        push_url: str,
        pending: PendingMessages,
        dead_letters: DeadLetters,
        say: Callable[[str], None],
        policy: RetryPolicy | None = None,
        faults: Faults | None = None,
        at_once: int = 8,
    ) -> None:
        self._name, self._topic, self._push_url = name, topic, push_url
        self._pending, self._dead_letters, self._say = pending, dead_letters, say
        self._policy, self._faults = policy or RetryPolicy(), faults or Faults()
        self._changed = threading.Condition()
        self._turns: list[_Turn] = []
        self._numbers = itertools.count()
        self._delivering = self._stopping = False
        self._threads = [threading.Thread(target=self._work, name=topic, daemon=True) for _ in range(at_once)]
        # A connection for each push: a server closes idle ones just when they would be used again.
        limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=0)
        self._http = httpx.Client(timeout=ACK_SECONDS, limits=limits, trust_env=False)

    def publish(self, message: BrokerMessage) -> None:
        """Take a message; once this returns it is kept until it is acknowledged or given up."""
        with self._changed:
            name = self._pending.keep(message)
            if self._delivering:
                self._push_turn(name)

    def start(self) -> None:
        """Begin to deliver, with what earlier processes left."""
        with self._changed:
            self._delivering = True
            left = self._pending.names()
            for name in left:
                self._push_turn(name)
        if left:
            self._say(f"{self._topic}: {len(left)} message(s) that were not acknowledged are delivered again")
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin no further delivery."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def close(self) -> None:
        """Stop, and wait for the deliveries under way; what is not acknowledged stays for the next start."""
        self.stop()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._http.close()
        left = len(self._pending.names())
        if left:
            self._say(f"{self._topic}: {left} message(s) are kept for the next start")

    def _push_turn(
        self, name: str, *, after_seconds: float = 0.0, attempt: int = 1, duplicate_of: BrokerMessage | None = None
    ) -> None:
        with self._changed:
            due = time.monotonic() + after_seconds
            heapq.heappush(self._turns, _Turn(due, next(self._numbers), name, attempt, duplicate_of))
            self._changed.notify()

    def _next_turn(self) -> _Turn | None:
        with self._changed:
            while not self._stopping:
                wait = self._turns[0].due - time.monotonic() if self._turns else None
                if wait is not None and wait <= 0:
                    turn = heapq.heappop(self._turns)
                    # Whoever waited for this one may be the only one who knew when the next is due.
                    self._changed.notify()
                    return turn
                self._changed.wait(wait)
            return None

    def _work(self) -> None:
        while (turn := self._next_turn()) is not None:
            try:
                self._take(turn)
            except (OSError, ValueError) as error:
                self._say(f"{self._topic}: {turn.name} is left where it is until the next start: {error}")

    def _take(self, turn: _Turn) -> None:
        message = turn.duplicate_of or self._pending.read(turn.name)
        twice = turn.duplicate_of is None and turn.attempt == self._faults.fail_first + 1
        if twice and _RANDOM.random() < self._faults.duplicate:
            self._push_turn(turn.name, attempt=turn.attempt, duplicate_of=message)
        failure = self._deliver(message, turn.attempt)
        what = f"{self._topic}: message {message.message_id}"
        if turn.duplicate_of is not None:
            self._say(f"{what} delivered twice, as asked ({failure or 'acknowledged'})")
        elif not failure:
            self._pending.settle(turn.name)
            if turn.attempt > 1:
                self._say(f"{what} acknowledged, attempt {turn.attempt}")
        elif self._stopping:
            return
        elif turn.attempt >= self._policy.max_delivery_attempts:
            self._dead_letters.bury(message.dead_letter(self._topic, failure, datetime.now(UTC)))
            self._pending.settle(turn.name)
            self._say(f"{what} was never acknowledged ({failure}): see {self._dead_letters.path.name}")
        else:
            pause = self._policy.backoff_seconds(turn.attempt)
            self._push_turn(turn.name, after_seconds=pause, attempt=turn.attempt + 1)
            self._say(f"{what} refused ({failure}), attempt {turn.attempt}; again in {pause:g} s")

    def _deliver(self, message: BrokerMessage, attempt: int) -> str:
        """Return why the push was not acknowledged, or "" if it was."""
        if attempt <= self._faults.fail_first:
            return "status 503, as asked"
        body = message.push_body(self._name, attempt, with_publish_time=not self._faults.drop_publish_time)
        try:
            answer = self._http.post(self._push_url, content=body, headers={"Content-Type": "application/json"})
        except httpx.RequestError as error:
            return type(error).__name__
        return "" if answer.is_success else f"status {answer.status_code}"
