"""Results that expire: store-result takes and shows the time, list-results hides what is past it."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from shared.stores import open_results

RESULT = {"model": "digits", "version": "1", "instances": [1], "predictions": [2]}


@pytest.fixture
def store_result(client):
    """Return a client of store-result."""
    return client("store_result", THREADS="2")


def post(client, changes, path="/", **headers):
    """Post a result with changes."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=json.dumps({**RESULT, **changes}), content_type="application/json", headers=names)


def reason(answer):
    """Return the reason of an error."""
    (detail,) = answer.json["error"]["details"]
    return detail["reason"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("2999-01-01T00:00:00Z", "2999-01-01T00:00:00.000000Z"),
        ("2999-01-01T14:30:00.123456789+14:00", "2999-01-01T00:30:00.123456Z"),
        ("2998-12-31T23:59:59-00:01", "2999-01-01T00:00:59.000000Z"),
        ("9998-12-31T23:59:59.999999Z", "9998-12-31T23:59:59.999999Z"),
        (None, None),
    ],
)
def test_the_time_is_shown_in_utc(store_result, client, given, shown):
    """By store-result, and by list-results afterwards."""
    answer = post(store_result, {"expires_at": given})

    assert (answer.status_code, answer.json["expires_at"]) == (201, shown)
    assert client("list_results").get(f"/{answer.json['id']}").json["expires_at"] == shown


def test_without_a_time_a_result_does_not_expire(store_result):
    """The member is shown all the same."""
    assert post(store_result, {}).json["expires_at"] is None


@pytest.mark.parametrize(
    "given",
    [
        *("2000-01-01T00:00:00Z", "9999-01-01T00:00:00Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00"),
        *("2999-01-01T00:00:00", "2999-01-01", "2999-01-01T00:00Z", "2999-01-01 00:00:00Z", "2999-02-30T00:00:00Z"),
        *("2999-01-01T24:00:00Z", "2999-01-01T00:00:60Z", "2999-01-01T00:00:00+25:00", "in an hour", "", " "),
        *("2999-01-01T00:00:00Z\n", "２999-01-01T00:00:00Z", 32503680000, 1.5, True, ["2999-01-01T00:00:00Z"], {}),
    ],
    ids=repr,
)
def test_a_time_that_is_past_or_is_none_is_refused(store_result, given):
    """400 with what was expected; nothing is guessed."""
    answer = post(store_result, {"expires_at": given})

    assert (answer.status_code, reason(answer)) == (400, "INVALID_EXPIRY")
    assert answer.json["error"]["message"].startswith("expires_at: expected a time with its offset")


def test_a_replay_carries_the_same_time(store_result):
    """The time is part of what the key stands for; how it is spelt is not."""
    first = post(store_result, {"expires_at": "2999-01-01T00:00:00Z"}, Idempotency_Key="k")

    same = post(store_result, {"expires_at": "2999-01-01T02:00:00.000+02:00"}, Idempotency_Key="k")
    others = [
        post(store_result, changes, Idempotency_Key="k")
        for changes in ({"expires_at": "2999-01-01T00:00:00.000001Z"}, {"expires_at": None}, {})
    ]

    assert (same.status_code, same.headers["Idempotency-Replayed"], same.data) == (201, "true", first.data)
    assert [(other.status_code, reason(other)) for other in others] == [(422, "IDEMPOTENCY_KEY_REUSED")] * 3


def test_null_is_the_same_as_none_at_all(store_result):
    """A replay may leave out what was null."""
    first, second = (post(store_result, changes, Idempotency_Key="k") for changes in ({"expires_at": None}, {}))

    assert (second.status_code, second.data) == (201, first.data)


def test_each_result_of_a_batch_has_its_own_time(store_result):
    """And a wrong one is named by its index."""
    times = ["2999-01-01T00:00:00Z", None]
    batch = {"results": [{**RESULT, "expires_at": time} for time in times]}

    kept = store_result.post("/batch", json=batch)
    batch["results"][1]["expires_at"] = "yesterday"
    refused = store_result.post("/batch", json=batch)

    assert [result["expires_at"] for result in kept.json["results"]] == ["2999-01-01T00:00:00.000000Z", None]
    assert refused.status_code == 400
    assert refused.json["error"]["message"].startswith("results[1].expires_at: expected")


def test_an_expired_result_is_gone_for_readers(store_result, client, state_dir):
    """Hidden from the very moment that was asked for."""
    soon = datetime.now(UTC) + timedelta(seconds=1)
    answer = post(store_result, {"expires_at": soon.isoformat()}, Idempotency_Key="k")
    store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")

    before, at = (store.get_result(answer.json["id"], now) for now in (soon - timedelta(microseconds=1), soon))
    store.close()

    assert (before.id, at) == (answer.json["id"], None)
