"""Recorded deliveries: whatever shape a message arrives in, it says the same."""

import json
from datetime import UTC, datetime

import pytest

from shared.config import ROOT
from shared.events import parse_message

SAMPLES = ROOT / "tests" / "samples" / "events"
PUBLISHED = datetime(2026, 11, 22, 2, 10, 0, 217_000, tzinfo=UTC)
ORDER, ATTRIBUTES = {"job": "nightly"}, {"job": "nightly", "key": "2026-11-20"}


RECORDED = {
    "pubsub_push": (ORDER, {}, PUBLISHED, 1),
    "pubsub_push_ordering_key": (ORDER, {}, PUBLISHED, 2),
    "pubsub_push_without_attributes": (ORDER, {}, PUBLISHED, None),
    "pubsub_push_snake_case": (ORDER, {}, PUBLISHED, 3),
    "pubsub_push_1970": (ORDER, {}, None, None),
    "pubsub_push_attributes_only": ({}, ATTRIBUTES, PUBLISHED.replace(second=1, microsecond=500_000), None),
    "cloudevent_binary_body": (ORDER, {}, PUBLISHED.replace(microsecond=217_123), None),
    "cloudevent_structured": (ORDER, {"origin": "scheduler"}, PUBLISHED, None),
    # Recorded from Google's emulator, version 0.8.20, character for character.
    "emulator_push": (ORDER, {}, datetime(2026, 11, 22, 15, 17, 7, 921_000, UTC), None),
    "emulator_push_attributes_only": ({}, ATTRIBUTES, datetime(2026, 11, 22, 15, 17, 9, 945_000, UTC), None),
}


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_delivery_is_understood(name):
    """Data, attributes, the time of publishing and the count of deliveries are found in each shape."""
    body = (SAMPLES / f"{name}.json").read_bytes()

    message = parse_message(body)

    assert (message.data, message.attributes, message.publish_time, message.delivery_attempt) == RECORDED[name]
    assert message.message_id
    assert json.dumps(message.message_id) in body.decode()


def test_every_recorded_delivery_is_tested():
    """A sample that no test names would prove nothing."""
    assert {path.stem for path in SAMPLES.iterdir()} == RECORDED.keys()
