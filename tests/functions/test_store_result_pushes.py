"""store-result takes a result in the envelope of a Pub/Sub push as it takes one over HTTP."""

import base64
import json
from datetime import UTC, datetime

import pytest

from shared.config import ROOT
from shared.records import ResultQuery
from shared.stores import open_results

# What Google's emulator, version 0.8.20, pushed of what predict logged of its model's own example.
RECORDED = (ROOT / "tests/samples/predictions/emulator_push.json").read_bytes()
RESULT = '{"model":"m","version":"1","instances":[ 1e2, NaN],"predictions":{"b":1 ,"a":"\\u00e9"}}'


@pytest.fixture
def store_result(client):
    """Return a client of store-result."""
    return client("store_result", THREADS="4")


@pytest.fixture
def stored(state_dir):
    """Return a reader of everything the store holds."""

    def read():
        store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
        try:
            return store.list_results(ResultQuery(), after=None, limit=100, now=datetime.now(UTC))
        finally:
            store.close()

    return read


def push(text=RESULT, message_id="17", published="2026-11-22T19:00:46.486Z", **message):
    """Return the body of a push, with other members of its message if need be."""
    data = base64.b64encode(text.encode()).decode()
    members = {"data": data, "messageId": message_id, "publishTime": published, "attributes": {}, **message}
    return {"message": members, "subscription": "projects/p/subscriptions/s"}


def post(client, body, kind="application/json", **headers):
    """Post a body."""
    return client.post("/", data=body if isinstance(body, bytes) else json.dumps(body), content_type=kind, **headers)


def reason(answer):
    """Return the reason of an error."""
    (detail,) = answer.json["error"]["details"]
    return detail["reason"]


def test_a_recorded_push_of_a_prediction_is_stored_once(store_result, stored):
    """As the emulator sent it, twice: the second is a replay under the id that predict gave it."""
    first, second = post(store_result, RECORDED), post(store_result, RECORDED)

    (result,) = stored()
    data = base64.b64decode(json.loads(RECORDED)["message"]["data"]).decode()
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (result.model, result.version) == ("digits", "1")
    assert result.request_id == "dbfaeeb63be42fceea9d71c2ee3eac4f"
    assert data.endswith(f'"instances":{result.instances},"predictions":{result.predictions}}}')
    assert json.loads(result.summary) == {"count": 1, "classes": ["8"], "scores": [0.9999573]}


SHAPES = {
    "push": (push(), "application/json"),
    "snake case": (
        {"message": {"data": push()["message"]["data"], "message_id": "17", "publish_time": "2026-11-22T19:00:46Z"}},
        "application/json",
    ),
    "structured CloudEvent": (
        {"specversion": "1.0", "id": "17", "type": "google.cloud.pubsub.topic.v1.messagePublished", "data": push()},
        "application/cloudevents+json; charset=utf-8",
    ),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_payloads_in_an_envelope_are_kept_to_the_character(store_result, stored, shape):
    """In each shape an envelope comes in, NaN and the spelling of numbers included."""
    body, kind = SHAPES[shape]

    answer = post(store_result, body, kind)

    (result,) = stored()
    assert answer.status_code == 201
    assert (result.instances, result.predictions) == ("[ 1e2, NaN]", '{"b":1 ,"a":"\\u00e9"}')


def test_a_binary_cloudevent_is_the_push_with_headers(store_result, stored):
    """As Eventarc delivers it."""
    headers = {"ce-id": "17", "ce-type": "google.cloud.pubsub.topic.v1.messagePublished", "ce-specversion": "1.0"}

    assert post(store_result, push(), headers=headers).status_code == 201
    assert len(stored()) == 1


def test_without_a_request_id_one_message_is_one_result(store_result, stored):
    """Whoever publishes need not think of ids: each message has one, the same on every delivery."""
    again = [post(store_result, push()) for _ in range(2)]
    others = [
        post(store_result, push(message_id="18")),
        # Emulators count from 1 again when they are started again.
        post(store_result, push(published="2026-11-23T00:00:00Z")),
    ]

    assert ["Idempotency-Replayed" in answer.headers for answer in again + others] == [False, True, False, False]
    assert len(stored()) == 3


def test_a_request_id_in_the_message_stands_before_the_messages_own(store_result, stored):
    """Published twice, it is two messages and one result."""
    text = RESULT.replace("{", '{"request_id":"r",', 1)

    answers = [post(store_result, push(text, message_id=name)) for name in ("17", "18")]

    assert ["Idempotency-Replayed" in answer.headers for answer in answers] == [False, True]
    assert [result.request_id for result in stored()] == ["r"]


def test_the_same_id_with_another_result_is_refused(store_result, stored):
    """422 as over HTTP: Pub/Sub hands it to the dead letters."""
    texts = (RESULT.replace("{", '{"request_id":"r",', 1).replace("1e2", number) for number in ("1", "2"))

    answers = [post(store_result, push(text)) for text in texts]

    assert [answer.status_code for answer in answers] == [201, 422]
    assert len(stored()) == 1


@pytest.mark.parametrize(
    ("body", "message", "why"),
    [
        ({"message": None}, "message: expected an object, got null", "INVALID_EVENT"),
        ({"data": {}}, "message: expected an object, got null", "INVALID_EVENT"),
        ({"message": {"messageId": "1"}}, "message.data: expected JSON: an empty body", "INVALID_EVENT"),
        (push(data="!"), "message.data: expected base64", "INVALID_EVENT"),
        (push(data=7), "message.data: expected a base64 string, got number", "INVALID_EVENT"),
        (push("{"), "message.data: expected JSON", "INVALID_EVENT"),
        (push("[]"), "message.data: the body: expected an object, got array", "INVALID_EVENT"),
        (push('{"model":NaN}'), "message.data: NaN is not taken here", "INVALID_EVENT"),
        (push("{}"), "message.data: has no instances, model, predictions, version", "INVALID_REQUEST"),
        (push(RESULT.replace('"m"', "7")), "message.data.model: expected 1 to 128", "INVALID_REQUEST"),
        (push(RESULT.replace("{", '{"request_id":"",', 1)), "message.data.request_id:", "INVALID_IDEMPOTENCY_KEY"),
        (push(message_id="a b"), "message.messageId: expected", "INVALID_EVENT"),
        ({**push(), "model": "m"}, "the body: has no instances", "INVALID_REQUEST"),
        (
            {"model": "m", "version": "1", "instances": 1, "predictions": 1, "message": {}},
            'the body: unknown member "message"',
            "INVALID_REQUEST",
        ),
    ],
)
def test_a_push_that_holds_no_result_says_what_is_wrong(store_result, stored, body, message, why):
    """400, and nothing is stored; it will never be better, so the subscription's dead letters take it."""
    answer = post(store_result, body)

    assert (answer.status_code, reason(answer)) == (400, why)
    assert answer.json["error"]["message"].startswith(message)
    assert stored() == []


def test_a_store_that_is_down_has_pubsub_try_again(client, tmp_path):
    """5xx is no acknowledgement: the same message comes again and is stored then."""
    (tmp_path / "folder").mkdir()
    broken = client("store_result", THREADS="4", STORE_URL=f"sqlite:///{tmp_path}/folder")

    assert post(broken, push()).status_code >= 500


def test_seven_megabytes_come_through_an_envelope(store_result, stored):
    """The largest message that predict publishes, a third larger as base64."""
    text = '{"model":"m","version":"1","instances":[%s],"predictions":[]}' % ("0.123456789," * 583_000 + "1")

    assert post(store_result, push(text)).status_code == 201
    assert len(stored()[0].instances) > 6_900_000
