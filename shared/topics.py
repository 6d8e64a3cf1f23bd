"""The one door to Pub/Sub's publisher: a topic, and messages handed to it one at a time within a bound."""

import contextlib
import threading
from collections.abc import Mapping

from google.api_core.exceptions import DeadlineExceeded, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.pubsub_v1 import PublisherClient, PubsubMessage

from shared.errors import ServiceError, UnavailableError

_FAILED = "TOPIC_FAILED"
# Of a new connection's first call; a message is tried even if it failed.
_CONNECT_SECONDS = 2.0


class Topic:
    """A topic that messages are published to.

    A message is one call on its caller's own thread, in one attempt. The library's batching publisher starts a thread
    a batch and keeps what it could not send, for up to ten minutes: while a topic is down that grows, and on Cloud Run
    it stands still between requests.

    Args:
        project_id: The project that the topic is in.
        name: Its name there.
    """

    def __init__(self, project_id: str, name: str) -> None:
        self.path = f"projects/{project_id}/topics/{name}"
        self._publisher: PublisherClient | None = None
        self._failure: Exception | None = None
        self._connecting: threading.Thread | None = None
        self._lock = threading.Lock()

    def connect(self, wait_seconds: float) -> bool:
        """Build the client and its connection, where that is not done or under way.

        On a thread of its own: outside of Google Cloud, looking for credentials alone may take many seconds.

        Args:
            wait_seconds: How long to wait for it.

        Returns:
            Whether there is a client now.
        """
        with self._lock:
            if self._publisher is None and (self._connecting is None or not self._connecting.is_alive()):
                # Not a daemon: a process that ends in the midst of a call would wait for that call for ever.
                self._connecting = threading.Thread(target=self._connect, name="topic-connect")
                self._connecting.start()
            connecting = self._connecting
        if self._publisher is None and connecting is not None:
            connecting.join(wait_seconds)
        return self._publisher is not None

    def publish(self, data: bytes, timeout_seconds: float, attributes: Mapping[str, str] | None = None) -> str:
        """Hand a message over and wait until it is kept.

        Args:
            data: The message, at most 10 MB.
            timeout_seconds: How long to wait; reading and writing many megabytes comes on top.
            attributes: The message's.

        Returns:
            The message's id.

        Raises:
            UnavailableError: reason TOPIC_TIMED_OUT: the message may have arrived or not.
            ServiceError: reason TOPIC_FAILED: it did not; its cause is the library's exception.
        """
        if self._publisher is None:
            self.connect(timeout_seconds)
        publisher = self._publisher
        if publisher is None:
            raise ServiceError(f"{self.path}: there is no client to publish with", reason=_FAILED) from self._failure
        message = PubsubMessage(data=data, attributes=attributes or {})
        try:
            answer = publisher.publish(topic=self.path, messages=[message], retry=None, timeout=timeout_seconds)
        except DeadlineExceeded as error:
            raise UnavailableError(f"{self.path}: Pub/Sub did not answer in time", reason="TOPIC_TIMED_OUT") from error
        except (GoogleAPIError, GoogleAuthError) as error:
            raise ServiceError(f"{self.path}: Pub/Sub did not take the message", reason=_FAILED) from error
        return str(answer.message_ids[0])

    def _connect(self) -> None:
        try:
            publisher = PublisherClient()
        except (GoogleAPIError, GoogleAuthError) as error:
            self._failure = error
            return
        # So that the first message spends no time on connecting and on a token. Who may only publish is told so, which
        # does as well; any other failure will show when publishing.
        with contextlib.suppress(GoogleAPIError, GoogleAuthError):
            publisher.get_topic(topic=self.path, retry=None, timeout=_CONNECT_SECONDS)
        self._publisher = publisher
