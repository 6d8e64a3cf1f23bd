"""Pub/Sub's messages: what a deployed function publishes is pushed to whom it is for, by the front door and its checks.

Nothing is kept over the end of a rehearsal. Every attempt is a line of `deliveries.jsonl`.
"""

import base64
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, cast
from urllib.parse import urlsplit

from scheduler.broker import Broker
from scheduler.broker_messages import BrokerMessage
from scheduler.delivery import Subscription

from .account_access import has_role
from .id_tokens_issued import issue
from .run_names import Place
from .wire import Answer, Request
from .world import Resource, World, locked

_PREFIX = "//pubsub.googleapis.com/"
_PUBLISHERS = ("roles/pubsub.publisher", "roles/pubsub.editor", "roles/pubsub.admin")
_AT_ONCE = 8
# Without a policy of its own a subscription is pushed to at once again; here it may rest a little.
_LEAST_BACKOFF_SECONDS, _MOST_BACKOFF_SECONDS = 1.0, 600.0


class Messages:
    """The messages of a rehearsal.

    Args:
        world: Where topics and subscriptions are.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._deliver: Callable[[Request], Any] | None = None
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="push")
        self._over = threading.Event()

    def push_through(self, deliver: Callable[[Request], Any]) -> None:
        """Set what answers pushes: the front door."""
        self._deliver = deliver

    def publisher(self, place: Place, account: str, surroundings: ExitStack) -> str:
        """Serve publishing to one account, to the topics that it may publish to by now, and return the host.

        Args:
            place: The project.
            account: The service account, as which this host takes every call.
            surroundings: Ends it.
        """
        with self._world.lock:
            topics = self._world.below(f"{_PREFIX}projects/{place.project}/topics/")
            allowed = [topic["name"] for topic in topics if self._may_publish(topic["name"], account)]
        takers = {name.rpartition("/")[2]: cast("Subscription", _Topic(self, name)) for name in allowed}
        broker = Broker(place.project, takers, lambda: datetime.now(UTC))
        surroundings.callback(broker.close)
        return broker.listen()

    def publish(self, topic: str, message: BrokerMessage) -> None:
        """Push a message to every push subscription of a topic, on threads of their own."""
        with self._world.lock:
            names = [name for name in self._world.resources if name.startswith(_PREFIX) and "/subscriptions/" in name]
            found = [name for name in sorted(names) if self._world.resources[name].get("topic") == topic]
        for name in found:
            self._pool.submit(self._push, name, message)

    def close(self) -> None:
        """Deliver no more; an attempt that is under way ends with the function that it waits for."""
        self._over.set()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _may_publish(self, topic: str, account: str) -> bool:
        member = f"serviceAccount:{account}"
        return any(has_role(self._world, f"{_PREFIX}{topic}", role, member) for role in _PUBLISHERS)

    def _push(self, name: str, message: BrokerMessage) -> None:
        attempt = 0
        while not self._over.is_set():
            with self._world.lock:
                subscription = self._world.find(name)
            if not subscription or not subscription.get("pushConfig", {}).get("pushEndpoint"):
                return
            attempt += 1
            status = self._attempt(subscription, message, attempt)
            policy = subscription.get("deadLetterPolicy", {})
            if 200 <= status < 300:
                return
            if policy.get("deadLetterTopic") and attempt >= policy.get("maxDeliveryAttempts", 5):
                self.publish(policy["deadLetterTopic"], message)
                return
            self._over.wait(_backoff_seconds(subscription, attempt))

    def _attempt(self, subscription: Resource, message: BrokerMessage, attempt: int) -> int:
        endpoint, headers = subscription["pushConfig"]["pushEndpoint"], {"content-type": "application/json"}
        identity = subscription["pushConfig"].get("oidcToken", {})
        url = urlsplit(endpoint)
        with locked(self._world):
            if identity:
                token = issue(self._world, identity["serviceAccountEmail"], identity.get("audience") or endpoint)
                headers["authorization"] = f"Bearer {token}"
        body = _envelope(subscription, message, attempt)
        request = Request("POST", url.hostname or "", url.path, {}, headers, body, target=url.path or "/")
        answer = self._deliver(request) if self._deliver else Answer(b"", 503)
        line = {"subscription": subscription["name"], "message": message.message_id, "attempt": attempt}
        with self._world.lock, (self._world.folder / "deliveries.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "status": answer.status}) + "\n")
        return int(answer.status)


class _Topic:
    """One topic as the broker knows it."""

    def __init__(self, messages: Messages, name: str) -> None:
        self._messages, self._name = messages, name

    def publish(self, message: BrokerMessage) -> None:
        self._messages.publish(self._name, message)


def _envelope(subscription: Resource, message: BrokerMessage, attempt: int) -> bytes:
    published = message.publish_time.isoformat().replace("+00:00", "Z")
    inner: dict[str, Any] = {"data": base64.b64encode(message.data).decode(), "attributes": dict(message.attributes)}
    inner |= {"messageId": message.message_id, "message_id": message.message_id}
    inner |= {"publishTime": published, "publish_time": published}
    outer: dict[str, Any] = {"message": inner, "subscription": subscription["name"]}
    if subscription.get("deadLetterPolicy"):
        outer["deliveryAttempt"] = attempt
    return json.dumps(outer).encode()


def _backoff_seconds(subscription: Resource, attempt: int) -> float:
    policy = subscription.get("retryPolicy", {})
    least = float(policy.get("minimumBackoff", f"{_LEAST_BACKOFF_SECONDS}s").removesuffix("s"))
    most = float(policy.get("maximumBackoff", f"{_MOST_BACKOFF_SECONDS}s").removesuffix("s"))
    return min(least * 2.0 ** (attempt - 1), most)
