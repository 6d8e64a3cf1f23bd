"""Which function takes the messages of which topic, and what both deliveries have in common."""

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from shared.config import Settings

Say = Callable[[str], None]
# What PROJECT_ID is on a laptop, where the user has set none.
LOCAL_PROJECT = "local"


@dataclass(frozen=True, slots=True)
class PushTarget:
    """One topic and the function that its messages are pushed to.

    Attributes:
        topic: The topic's name.
        function: The function's, which its subscription is named for.
        url: Where messages are posted.
    """

    topic: str
    function: str
    url: str

    @property
    def subscription(self) -> str:
        """The subscription's name: the function's, as its service has it."""
        return self.function.replace("_", "-")


class Delivery(Protocol):
    """What takes messages and brings them to the functions, once it runs."""

    @property
    def env(self) -> Mapping[str, str]:
        """What the functions need to know, beyond what they know anyway."""
        ...

    def publish(self, topic: str, data: bytes, publish_time: datetime) -> object:
        """Publish a message; ServiceError or OSError where that fails."""
        ...

    def delivering(self, functions: Collection[str]) -> AbstractContextManager[None]:
        """Deliver to these functions while the block runs; they answer by now."""
        ...


def push_targets(settings: Settings, urls: Mapping[str, str]) -> list[PushTarget]:
    """Return every topic there is with the function that takes its messages.

    Args:
        settings: They name the topics.
        urls: Where each function is.
    """
    takers = {settings.nightly_topic: "nightly_transform", settings.predictions_topic: "store_result"}
    return [PushTarget(topic, function, f"{urls[function]}/") for topic, function in takers.items()]
