"""Pub/Sub on a laptop: its own gRPC on loopback, as far as publishing goes, in front of push subscriptions."""

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]
from google.pubsub_v1.types import GetTopicRequest, PublishRequest, PublishResponse, Topic

from .broker_messages import BrokerMessage
from .delivery import Subscription

_SERVICE = "google.pubsub.v1.Publisher"
# Pub/Sub's own limits.
MAX_REQUEST_BYTES = 10_000_000
MAX_MESSAGES = 1000
# Above the limit, so that what is too large is told so in Pub/Sub's words and not in gRPC's.
_MAX_RECEIVED_BYTES = 2 * MAX_REQUEST_BYTES
_CALLS_AT_ONCE = 8


class Broker:
    """Topics, each with one push subscription, that Google's clients publish to through PUBSUB_EMULATOR_HOST.

    Args:
        project_id: The project that the topics are in.
        subscriptions: The subscription of each topic, by the topic's name.
        now: The clock, for publish times.
    """

    def __init__(self, project_id: str, subscriptions: Mapping[str, Subscription], now: Callable[[], datetime]) -> None:
        self._subscriptions = {f"projects/{project_id}/topics/{name}": s for name, s in subscriptions.items()}
        self._prefix = f"projects/{project_id}/topics/"
        self._now = now
        self._server: Any = None

    def listen(self) -> str:
        """Begin to take messages on a free port of loopback; return what PUBSUB_EMULATOR_HOST is to be."""
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", _MAX_RECEIVED_BYTES)]
        self._server = grpc.server(ThreadPoolExecutor(_CALLS_AT_ONCE), options=options)
        methods = {
            "Publish": _unary(self._publish, PublishRequest, PublishResponse),
            "GetTopic": _unary(self._get_topic, GetTopicRequest, Topic),
        }
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, methods),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()
        return f"127.0.0.1:{port}"

    def publish(self, topic: str, data: bytes, publish_time: datetime) -> str:
        """Publish to one of the topics without a call; return the message's id."""
        message = BrokerMessage.new(data, {}, publish_time)
        self._subscriptions[self._prefix + topic].publish(message)
        return message.message_id

    def close(self) -> None:
        """Take no more messages, once the calls under way are answered."""
        if self._server is not None:
            self._server.stop(grace=5).wait()

    def _publish(self, request: PublishRequest, call: Any) -> PublishResponse:
        subscription = self._subscription(request.topic, call)
        raw = PublishRequest.pb(request)
        problem = _problem(raw)
        if problem:
            call.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        now = self._now()
        messages = [BrokerMessage.new(sent.data, dict(sent.attributes), now) for sent in raw.messages]
        try:
            for message in messages:
                subscription.publish(message)
        except OSError as error:
            call.abort(grpc.StatusCode.INTERNAL, f"the message cannot be kept: {error}")
        return PublishResponse(message_ids=[message.message_id for message in messages])

    def _get_topic(self, request: GetTopicRequest, call: Any) -> Topic:
        self._subscription(request.topic, call)
        return Topic(name=request.topic)

    def _subscription(self, topic: str, call: Any) -> Subscription:
        found = self._subscriptions.get(topic)
        return found if found is not None else _not_found(topic, call)


def _problem(request: Any) -> str:
    """Return what Pub/Sub would refuse a request for, or ""."""
    if not 1 <= len(request.messages) <= MAX_MESSAGES:
        return f"messages: expected 1 to {MAX_MESSAGES}, got {len(request.messages)}"
    if not all(message.data or message.attributes for message in request.messages):
        return "messages: expected data or attributes in each"
    if request.ByteSize() > MAX_REQUEST_BYTES:
        return f"expected a request of at most {MAX_REQUEST_BYTES} bytes, got {request.ByteSize()}"
    return ""


def _not_found(topic: str, call: Any) -> NoReturn:
    call.abort(grpc.StatusCode.NOT_FOUND, f"Resource not found (resource={topic.rpartition('/')[2]}).")
    raise AssertionError("abort raises")


def _unary(behaviour: Callable[[Any, Any], Any], request: Any, response: Any) -> Any:
    return grpc.unary_unary_rpc_method_handler(
        behaviour, request_deserializer=request.deserialize, response_serializer=response.serialize
    )
