"""Results too large for a row, from the request that brings them to the answer that shows them again."""

import json

import httpx
import pytest

from tests.contract.factories import in_parallel

MOST_BYTES = 31_000_000


@pytest.fixture
def store_result(client):
    """Return a client of store-result."""
    return client("store_result", THREADS="4")


@pytest.fixture
def objects(state_dir):
    """Return a lister of the objects there are."""
    return lambda: [path for path in (state_dir / "objects").rglob("*") if path.is_file()]


def body_of(payload, **members):
    """Return a body with a payload that is JSON text."""
    others = {"model": "m", "version": "1", "predictions": [], **members}
    return b'{"instances":' + payload + b"," + json.dumps(others).encode()[1:]


def post(client, body, path="/", **headers):
    """Post a body."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=body, content_type="application/json", headers=names)


def reason(answer):
    """Return the reason of an error."""
    (detail,) = answer.json["error"]["details"]
    return detail["reason"]


def text_of(size_bytes, character="x"):
    """Return a JSON string of that many bytes, quotes included."""
    inner = size_bytes - 2
    encoded = character.encode()
    return b'"' + encoded * (inner // len(encoded)) + b"x" * (inner % len(encoded)) + b'"'


@pytest.mark.parametrize(("size_bytes", "in_row"), [(900 * 1024 - 2, True), (900 * 1024 - 1, False)])
@pytest.mark.parametrize("character", ["x", "é", "🙂"])
def test_payloads_at_the_limit_of_a_row_come_back_the_same(
    store_result, client, objects, size_bytes, in_row, character
):
    """On either side of it: nobody sees where a payload lies."""
    payload = text_of(size_bytes, character)

    kept = post(store_result, body_of(payload))

    assert kept.status_code == 201
    assert (objects() == []) is in_row
    answer = client("list_results").get(f"/{kept.json['id']}?fields=instances,predictions")
    assert answer.data == b'{"instances":' + payload + b',"predictions":[]}\n'


def test_thirty_one_megabytes_are_kept_and_a_byte_more_is_413(store_result, client, objects):
    """What no answer could hold is not taken, and nothing of it stays."""
    payload = text_of(MOST_BYTES - len(b"[]"))
    kept = post(store_result, body_of(payload))
    before = objects()

    refused = post(store_result, body_of(payload[:-1] + b'x"'))

    assert kept.status_code == 201
    assert (refused.status_code, reason(refused)) == (413, "PAYLOAD_TOO_LARGE")
    assert objects() == before
    lister = client("list_results")
    assert len(lister.get("/?fields=id").json["results"]) == 1
    assert lister.get("/").data.startswith(b'{"results":[{"id":"' + kept.json["id"].encode())
    assert payload in lister.get("/").data
    assert payload in lister.get("/", headers={"Accept": "application/x-ndjson"}).data


def test_a_replay_answers_as_the_first_time(store_result, objects):
    """The same bytes, marked; and a conflict is a conflict."""
    body = body_of(text_of(1_000_000))

    answers = [post(store_result, body, Idempotency_Key="k") for _ in range(2)]
    conflict = post(store_result, body_of(text_of(1_000_001)), Idempotency_Key="k")

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].data == answers[1].data
    assert "Idempotency-Replayed" in answers[1].headers
    assert (conflict.status_code, reason(conflict)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(objects()) == 1


def test_large_requests_with_one_key_at_once_are_one_result(serve, objects):
    """All are told of the same result, and its payload is there."""
    running = serve("store_result", THREADS="8")
    headers = {"Content-Type": "application/json", "Idempotency-Key": "k"}
    body = body_of(text_of(990_000))

    answers = in_parallel(8, lambda _: httpx.post(running.url, content=body, headers=headers))

    assert {answer.status_code for answer in answers} == {201}
    assert sum("Idempotency-Replayed" not in answer.headers for answer in answers) == 1
    assert len({answer.content for answer in answers}) == 1
    assert len(objects()) == 1


def test_a_batch_of_large_and_small_results_is_kept_whole(store_result, client, objects):
    """Each comes back as it was sent, in either place."""
    payloads = [text_of(size) for size in (1_000_000, 10, 950_000, 20)]
    batch = b'{"results":[' + b",".join(body_of(payload, labels={"n": "1"}) for payload in payloads) + b"]}"

    kept = post(store_result, batch, "/batch")

    assert kept.status_code == 201
    assert len(objects()) == 2
    lister = client("list_results")
    for result, payload in zip(kept.json["results"], payloads, strict=True):
        assert lister.get(f"/{result['id']}?fields=instances").data == b'{"instances":' + payload + b"}\n"
    assert len(lister.get("/?label.n=1").json["results"]) == 4


@pytest.mark.parametrize("batch", [False, True])
def test_an_object_store_that_cannot_be_written_is_503_and_keeps_nothing(store_result, client, state_dir, batch):
    """Try again; small results are kept meanwhile."""
    state_dir.mkdir(exist_ok=True)
    (state_dir / "objects").write_text("in the way")
    large = body_of(text_of(1_000_000), request_id="k")
    body, path = (b'{"results":[' + large + b"," + body_of(b"1") + b"]}", "/batch") if batch else (large, "/")

    refused = post(store_result, body, path)
    lister = client("list_results")
    nothing = lister.get("/").json["results"]
    small = post(store_result, body_of(b"[1]"))
    (state_dir / "objects").unlink()
    kept = post(store_result, body, path)

    assert (refused.status_code, reason(refused)) == (503, "STORAGE_UNAVAILABLE")
    assert refused.headers["Retry-After"] == "1"
    assert nothing == []
    assert (small.status_code, kept.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in kept.headers
