"""Hands answered predictions to a topic, from which store-result takes them: AI Platform's request-response logging."""

import json
import os
import random
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from model.registry import ModelVersion
from shared.config import Settings
from shared.errors import PayloadTooLargeError, ServiceError, UnavailableError
from shared.log import log_event, note

from .logged_payloads import MAX_MESSAGE_BYTES
from .pauses import Pauses

if TYPE_CHECKING:
    from shared.topics import Topic

# How long an answer waits for the topic, at most.
PUBLISH_SECONDS = 0.1
# How long a worker's first request waits for a client, at most; looking for credentials has no bound of its own.
CONNECT_SECONDS = 5.0
_RANDOM = random.SystemRandom()

# The texts of `instances` and `predictions`, made only for a prediction that is logged.
Payloads: TypeAlias = Callable[[], tuple[bytes, bytes]]
LogPrediction: TypeAlias = Callable[[ModelVersion, Payloads], None]


def open_prediction_log(settings: Settings) -> LogPrediction:
    """Return what takes every answered prediction and logs the share that LOG_PREDICTIONS says.

    To be called once a worker serves. The client is built here, with the worker's first request, which is the startup
    probe's where there is one: the first prediction then finds a connection.
    """
    if not settings.log_predictions or not settings.project_id:
        return _log_nothing
    # Takes most of a second, so only who logs pays for it.
    from shared.topics import Topic

    topic = Topic(settings.project_id, settings.predictions_topic)
    topic.connect(CONNECT_SECONDS)
    return PredictionLog(topic, settings.log_predictions).write


class PredictionLog:
    """Logs a share of the answered predictions; whatever happens to it, the answers stand.

    Each prediction's line says what became of it: `prediction_log` is published, timed_out (it may have arrived),
    failed, too_large, or skipped while the topic is left alone after failures.

    Args:
        topic: Where they go.
        share: How many of them, 0 to 1.
        chance: Gives a number from 0 up to 1, evenly; below the share a prediction is logged.
        pauses: When to leave the topic alone.
    """

    def __init__(
        self,
        topic: "Topic",
        share: float,
        chance: Callable[[], float] = _RANDOM.random,
        pauses: Pauses | None = None,
    ) -> None:
        self._topic = topic
        self._share = share
        self._chance = chance
        self._pauses = pauses or Pauses()

    def write(self, found: ModelVersion, payloads: Payloads) -> None:
        """Log a prediction that is about to be answered."""
        if self._chance() >= self._share:
            return
        if not self._pauses.allow():
            note(prediction_log="skipped")
            return
        try:
            self._publish(_message(found, payloads()))
        except PayloadTooLargeError:
            note(prediction_log="too_large")
        except Exception as error:
            # Even a fault of ours: the prediction was made, and its caller is to have it.
            name = type(error).__name__
            note(prediction_log="failed", prediction_log_error=name)
            # Where, and not what it said: that might be of the payload.
            trace = "".join(traceback.format_tb(error.__traceback__))
            log_event("ERROR", f"a prediction could not be logged: {name}", stack_trace=trace)

    def _publish(self, data: bytes) -> None:
        if len(data) > MAX_MESSAGE_BYTES:
            raise PayloadTooLargeError("the message is too large")
        try:
            self._topic.publish(data, PUBLISH_SECONDS)
        except ServiceError as error:
            outcome = "timed_out" if isinstance(error, UnavailableError) else "failed"
            name = type(error.__cause__ or error).__name__
            note(prediction_log=outcome, prediction_log_error=name)
            pause_seconds = self._pauses.failed()
            if pause_seconds:
                message = f"predictions are not logged for {pause_seconds:.0f} s: {name}"
                log_event("WARNING", message, topic=self._topic.path, pause_seconds=pause_seconds)
        else:
            self._pauses.succeeded()
            note(prediction_log="published")


def _message(found: ModelVersion, payloads: tuple[bytes, bytes]) -> bytes:
    """Return a result as store-result takes it; its request_id makes one of however many deliveries."""
    return b'{"model":%b,"version":"%d","request_id":"%b","instances":%b,"predictions":%b}' % (
        json.dumps(found.name).encode(),
        found.version,
        os.urandom(16).hex().encode(),
        *payloads,
    )


def _log_nothing(found: ModelVersion, payloads: Payloads) -> None:
    return
