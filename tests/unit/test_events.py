"""Pub/Sub envelopes: what is refused, and that what goes out comes in again."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import InvalidRequestError
from shared.events import Delivery, delivery_of, parse_message, push_body


def envelope(**members):
    """Return a push body whose message has these members."""
    return json.dumps({"message": members, "subscription": "s"}).encode()


def encoded(text):
    """Return text as a message's data."""
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"[]", "the body: expected an object, got array"),
        (b'"a"', "the body: expected an object, got string"),
        (b"{}", "message: expected an object, got null"),
        (b'{"message": []}', "message: expected an object, got array"),
        (b'{"data": {}}', "message: expected an object, got null"),
        (b'{"data": {"message": 1}}', "message: expected an object, got number"),
        (envelope(attributes=[]), "message.attributes: expected an object of strings"),
        (envelope(attributes={"a": 1}), "message.attributes: expected an object of strings"),
        (envelope(data={}), "message.data: expected a base64 string, got object"),
        (envelope(data="!"), "message.data: expected base64"),
        (envelope(data="e30"), "message.data: expected base64"),
        (envelope(data="é"), "message.data: expected base64"),
        (envelope(data=encoded("{")), "message.data: expected JSON"),
        (envelope(data=encoded("[]")), "message.data: expected an object once decoded, got array"),
        (envelope(data=encoded('"nightly"')), "message.data: expected an object once decoded, got string"),
        (envelope(data=encoded('{"a":1,"a":2}')), "message.data: the member"),
        (envelope(data=encoded('{"a":NaN}')), "message.data: NaN"),
        (envelope(data=base64.b64encode(b"\xff").decode()), "message.data: expected UTF-8"),
        (envelope(publishTime="yesterday"), "message.publishTime: expected RFC 3339"),
    ],
)
def test_an_envelope_that_is_none_names_the_member(body, words):
    """INVALID_EVENT says which member of the delivery is not as expected."""
    with pytest.raises(InvalidRequestError) as raised:
        parse_message(body)

    assert raised.value.message.startswith(words)
    assert raised.value.reason == "INVALID_EVENT"


@settings(max_examples=50, deadline=None, database=None)
@given(data=st.binary(max_size=40))
def test_a_delivery_may_hold_any_bytes(data):
    """What a message holds is not read, so that it can be kept to the byte."""
    body = {"message": {"data": base64.b64encode(data).decode(), "messageId": "7", "attributes": {"a": "b"}}}

    wrapped = {"specversion": "1.0", "data": body}

    assert delivery_of(body) == delivery_of(wrapped) == Delivery(data, {"a": "b"}, "7", None, None)


@pytest.mark.parametrize("data", [None, "", encoded(""), encoded(" \n"), encoded("{}")])
def test_no_data_is_empty_data(data):
    """A message may consist of attributes alone."""
    assert parse_message(envelope(data=data)).data == {}
    assert parse_message(envelope()).data == {}


@pytest.mark.parametrize(
    "text",
    ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-01:00", "2026-11-22T02:10:00", "", None, 7],
)
def test_a_time_that_cannot_be_meant_is_none(text):
    """The epoch, the edges of the calendar and a time without a zone say nothing about when."""
    assert parse_message(envelope(publishTime=text)).publish_time is None


def test_a_time_in_another_zone_becomes_utc():
    """RFC 3339 allows an offset."""
    message = parse_message(envelope(publishTime="2026-11-22T03:10:00+01:00"))

    assert message.publish_time == datetime(2026, 11, 22, 2, 10, tzinfo=UTC)
    assert message.publish_time.tzinfo is UTC


@settings(max_examples=50, deadline=None, database=None)
@given(
    data=st.dictionaries(st.text(st.characters(codec="utf-8")), st.integers() | st.text(st.characters(codec="utf-8"))),
    milliseconds=st.integers(0, 10**12),
    offset_hours=st.integers(-12, 14),
)
def test_what_goes_out_comes_in_again(data, milliseconds, offset_hours):
    """push_body and parse_message agree on every message."""
    moment = datetime(1971, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)
    local = moment.astimezone(timezone(timedelta(hours=offset_hours)))

    message = parse_message(push_body(data, message_id="7", publish_time=local, subscription="s", attempt=2))

    assert (message.data, message.attributes) == (data, {})
    assert (message.message_id, message.publish_time, message.delivery_attempt) == ("7", moment, 2)
