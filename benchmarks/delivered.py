"""nightly-transform behind the local stack's broker: messages are published, delivered, and what came of them is read.

The broker runs in this process and the function in one of its own, as `python -m functions` has it.
"""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from functions._local.embedded import EmbeddedDelivery, embedded_delivery
from functions._local.pushes import push_targets
from scheduler.delivery import Faults
from shared.config import PORT_OFFSETS, Settings, read_settings

from .calls import Call
from .errors import MeasurementError
from .server import HOST, Server, Source, free_port, serving
from .wire import http_request

_FUNCTION = "nightly_transform"
# Often enough to end soon, and seldom enough to take nothing from the function.
_POLL_SECONDS = 0.1


class Delivered:
    """A function that takes the messages of the jobs' topic.

    Attributes:
        url: Where it answers.
    """

    def __init__(self, delivery: EmbeddedDelivery, settings: Settings, server: Server) -> None:
        self._delivery = delivery
        self._topic = settings.nightly_topic
        self._server = server
        self.url = f"http://{HOST}:{server.address[1]}"
        self._http = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def publish(self, message: Mapping[str, Any]) -> datetime:
        """Publish a message, and return when that was."""
        now = datetime.now(UTC)
        self.publish_data(json.dumps(message).encode(), now)
        return now

    def publish_data(self, data: bytes, moment: datetime) -> None:
        """Publish a message as at another time."""
        self._delivery.publish(self._topic, data, moment)

    def ended(self, job: str, key: str, since: datetime, max_seconds: float) -> dict[str, Any]:
        """Return a run once it has succeeded, having begun after some time.

        Raises:
            MeasurementError: It failed, or did not end in time.
        """
        deadline = time.monotonic() + max_seconds
        while time.monotonic() < deadline:
            found = self._http.get(f"/runs/{job}/{key}")
            run: dict[str, Any] = found.json() if found.is_success else {}
            if run and run["started_at"] and datetime.fromisoformat(run["started_at"]) >= since:
                if run["state"] == "success":
                    return run
                if run["state"] == "failed":
                    raise MeasurementError(f"{job} {key} failed: {run['error']}\n{self._server.log_tail()}")
            time.sleep(_POLL_SECONDS)
        raise MeasurementError(f"{job} {key} did not end within {max_seconds:.0f} s:\n{self._server.log_tail()}")

    def listed(self, name: str, **query: str) -> list[dict[str, Any]]:
        """Return all of a list: `runs` or `summaries`."""
        found, token = [], ""
        while True:
            answer = self._http.get(f"/{name}", params={"page_size": "500", "page_token": token, **query})
            answer.raise_for_status()
            found += answer.json()[name]
            token = answer.json()["next_page_token"]
            if not token:
                return found

    def close(self) -> None:
        """Close the connections to it."""
        self._http.close()


@contextmanager
def delivered(source: Source, env: Mapping[str, str], folder: Path) -> Iterator[Delivered]:
    """Serve a function and bring it its messages until the block ends.

    Args:
        source: nightly-transform, or what takes the same messages.
        env: Its environment: where its store is.
        folder: Takes what the broker keeps and what the function writes.
    """
    settings, port = read_settings(), free_port()
    urls = dict.fromkeys(PORT_OFFSETS, f"http://{HOST}:{port}")
    targets = [target for target in push_targets(settings, urls) if target.function == _FUNCTION]
    with (
        embedded_delivery(settings, targets, folder, lambda line: None, Faults()) as delivery,
        serving(source, {"STATE_DIR": str(folder), **delivery.env, **env}, folder / "function.log", port) as server,
    ):
        server.first_answer_seconds(Call(http_request("GET", "/health"), lambda answer: answer.status == 200))
        with delivery.delivering([_FUNCTION]):
            function = Delivered(delivery, settings, server)
            try:
                yield function
            finally:
                function.close()
