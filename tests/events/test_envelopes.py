"""Recorded deliveries: whatever shape a message arrives in, it says the same."""

import json
from datetime import UTC, datetime

import pytest

from shared.config import ROOT
from shared.events import parse_message

SAMPLES = ROOT / "tests" / "samples" / "events"
PUBLISHED = datetime(2026, 11, 22, 2, 10, 0, 217_000, tzinfo=UTC)
ORDER = {"job": "nightly"}


@pytest.mark.parametrize(
    ("name", "data", "attributes", "published", "attempt"),
    [
        ("pubsub_push", ORDER, {}, PUBLISHED, 1),
        ("pubsub_push_ordering_key", ORDER, {}, PUBLISHED, 2),
        ("pubsub_push_without_attributes", ORDER, {}, PUBLISHED, None),
        ("pubsub_push_snake_case", ORDER, {}, PUBLISHED, 3),
        ("pubsub_push_1970", ORDER, {}, None, None),
        (
            *("pubsub_push_attributes_only", {}, {"job": "nightly", "key": "2026-11-20"}),
            *(PUBLISHED.replace(second=1, microsecond=500_000), None),
        ),
        ("cloudevent_binary_body", ORDER, {}, PUBLISHED.replace(microsecond=217_123), None),
        ("cloudevent_structured", ORDER, {"origin": "scheduler"}, PUBLISHED, None),
        ("emulator_push", ORDER, {}, datetime(2026, 11, 22, 15, 17, 7, 921_000, tzinfo=UTC), None),
        (
            *("emulator_push_attributes_only", {}, {"job": "nightly", "key": "2026-11-20"}),
            *(datetime(2026, 11, 22, 15, 17, 9, 945_000, tzinfo=UTC), None),
        ),
    ],
)
def test_a_recorded_delivery_is_understood(name, data, attributes, published, attempt):
    """Data, attributes, the time of publishing and the count of deliveries are found in each shape."""
    body = (SAMPLES / f"{name}.json").read_bytes()

    message = parse_message(body)

    assert (message.data, message.attributes) == (data, attributes)
    assert (message.publish_time, message.delivery_attempt) == (published, attempt)
    assert message.message_id in body.decode()
    assert message.message_id


def test_every_recorded_delivery_is_tested():
    """A sample that no test names would prove nothing."""
    named = {mark.args[1][index][0] for mark in _marks() for index in range(len(mark.args[1]))}

    assert {path.stem for path in SAMPLES.glob("*.json")} == named


def test_samples_hold_the_text_that_was_sent():
    """Each is one JSON document."""
    assert {type(json.loads(path.read_text("utf-8"))) for path in SAMPLES.glob("*.json")} == {dict}


def _marks():
    return test_a_recorded_delivery_is_understood.pytestmark
