"""store-result keeps a result, never lost and never twice, and says what is wrong with one."""

import json
import shutil

import pytest

from shared.config import ROOT
from shared.stores import open_results
from tests.contract.factories import NOW, in_parallel

RESULT = {"model": "digits", "version": "1", "instances": [[1, 2]], "predictions": [{"digit": 3}]}


@pytest.fixture
def store_result(client):
    """Return a client of store-result."""
    return client("store_result", THREADS="4")


@pytest.fixture
def kept(state_dir):
    """Return a reader of what the store holds under an id."""

    def get(result_id):
        store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
        try:
            return store.get_result(result_id, NOW)
        finally:
            store.close()

    return get


@pytest.fixture
def count(state_dir):
    """Return a counter of everything the store holds."""

    def read():
        from shared.records import ResultQuery

        store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
        try:
            return store.count_results(ResultQuery())
        finally:
            store.close()

    return read


def post(client, body, path="/", **headers):
    """Post a value, or a text as it is."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(path, data=text, content_type="application/json", headers=names)


def reason(answer):
    """Return the reason of an error, after checking that it is one of Google's shape."""
    error = answer.json["error"]
    (detail,) = error["details"]
    assert (error["code"], detail["domain"]) == (answer.status_code, "nightshift")
    return detail["reason"]


def test_a_result_is_kept_and_answered_with_its_id(store_result, kept):
    """201 names the new result; what was sent is in the store as it was sent."""
    body = (
        '{"predictions": [{"digit": 3}], "model": "digits", "version": 1, "labels": {"who": "Zoë"}, "instances":[ [1]]}'
    )

    answer = post(store_result, body)

    assert answer.status_code == 201
    assert "Idempotency-Replayed" not in answer.headers
    assert answer.json.keys() == {"id", "created_at", "model", "version", "labels", "request_id", "expires_at"}
    result = kept(answer.json["id"])
    assert (result.instances, result.predictions) == ("[ [1]]", '[{"digit": 3}]')
    assert (result.model, result.version, result.labels, result.request_id) == ("digits", "1", {"who": "Zoë"}, None)
    assert answer.json["created_at"] == result.created_at.isoformat(timespec="microseconds").replace("+00:00", "Z")


def test_without_a_key_every_request_is_a_result_of_its_own(store_result, count):
    """Two equal bodies are two results unless the caller says that they are one."""
    ids = {post(store_result, RESULT).json["id"] for _ in range(2)}

    assert (len(ids), count()) == (2, 2)


@pytest.mark.parametrize("header", [True, False])
def test_a_key_makes_the_second_request_a_replay(store_result, count, header):
    """The header and request_id mean the same; the replay is the first answer again, marked."""
    body = RESULT if header else {**RESULT, "request_id": "night-1"}
    headers = {"Idempotency_Key": "night-1"} if header else {}

    first, second = post(store_result, body, **headers), post(store_result, body, **headers)

    assert (first.status_code, second.status_code) == (201, 201)
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.data == first.data
    assert first.json["request_id"] == "night-1"
    assert count() == 1


def test_the_header_and_request_id_may_agree_but_not_differ(store_result):
    """Two keys for one request would leave open which of them replays."""
    body = {**RESULT, "request_id": "a"}

    same, other = post(store_result, body, Idempotency_Key="a"), post(store_result, body, Idempotency_Key="b")

    assert same.status_code == 201
    assert (other.status_code, reason(other)) == (400, "INVALID_IDEMPOTENCY_KEY")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{"model":"m","version":"1","instances":{"a":1,"b":2},"predictions":[]}',) * 2,
        (
            '{"model":"m","version":"1","instances":{"a":1,"b":2},"predictions":[]}',
            '{"predictions": [], "instances":{"b":2 , "a":1},"version":1,"labels":{},"model":"m"}',
        ),
        (
            '{"model":"m","version":"1","instances":[NaN,"é"],"predictions":[]}',
            '{"model":"m","version":"1","instances":[ NaN,"\\u00e9"],"predictions":[]}',
        ),
    ],
    ids=["the same bytes", "reordered keys, a version as number, no labels", "another spelling"],
)
def test_the_same_values_replay_however_they_are_written(store_result, first, second):
    """What counts is what the JSON says, not how it is spelt."""
    post(store_result, first, Idempotency_Key="k")

    answer = post(store_result, second, Idempotency_Key="k")

    assert (answer.status_code, answer.headers.get("Idempotency-Replayed")) == (201, "true")


@pytest.mark.parametrize(
    "change",
    [{"predictions": [4]}, {"model": "other"}, {"version": "2"}, {"labels": {"a": "b"}}, {"summary": {"count": 1}}],
    ids=lambda change: next(iter(change)),
)
def test_a_reused_key_with_another_body_is_refused(store_result, count, change):
    """422, and the first result stays alone and unchanged."""
    post(store_result, RESULT, Idempotency_Key="k")

    answer = post(store_result, {**RESULT, **change}, Idempotency_Key="k")

    assert (answer.status_code, reason(answer)) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert count() == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\x7f", "é"])
def test_a_key_is_visible_ascii(store_result, key):
    """A key that could be mangled on its way is not taken, in either place."""
    in_body = post(store_result, {**RESULT, "request_id": key})
    in_header = post(store_result, RESULT, Idempotency_Key=key)

    assert (in_body.status_code, reason(in_body)) == (400, "INVALID_IDEMPOTENCY_KEY")
    assert (in_header.status_code, reason(in_header)) == (400, "INVALID_IDEMPOTENCY_KEY")


def test_many_requests_with_one_key_at_once_keep_one_result(store_result, count):
    """A client that retries before it hears the answer makes no second result."""
    answers = in_parallel(8, lambda _: post(store_result, RESULT, Idempotency_Key="k"))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 7
    assert count() == 1


def test_a_batch_is_answered_in_its_order(store_result, kept):
    """Each item has an id of its own and says whether it replayed."""
    items = [{**RESULT, "version": n} for n in range(3)]
    post(store_result, {**items[1], "request_id": "mine"})

    answer = post(store_result, {"results": [items[0], {**items[1], "request_id": "mine"}, items[2]]}, "/batch")

    assert answer.status_code == 201
    assert [item["version"] for item in answer.json["results"]] == ["0", "1", "2"]
    assert [item["replayed"] for item in answer.json["results"]] == [False, True, False]
    assert "Idempotency-Replayed" not in answer.headers
    assert [kept(item["id"]).version for item in answer.json["results"]] == ["0", "1", "2"]


def test_a_batch_with_a_key_replays_as_a_whole(store_result, count):
    """The header's key and the index name each item, unless it names itself."""
    batch = {"results": [RESULT, {**RESULT, "request_id": "mine"}, RESULT]}

    first, second = (post(store_result, batch, "/batch", Idempotency_Key="x" * 255) for _ in range(2))

    assert [item["request_id"] for item in first.json["results"]] == ["x" * 255 + ":0", "mine", "x" * 255 + ":2"]
    assert second.headers["Idempotency-Replayed"] == "true"
    assert [item["id"] for item in second.json["results"]] == [item["id"] for item in first.json["results"]]
    assert count() == 3


def test_one_bad_item_fails_the_whole_batch(store_result, count):
    """All or nothing, for a mistake in the body as for a reused key."""
    post(store_result, {**RESULT, "request_id": "taken"})

    wrong = post(store_result, {"results": [RESULT, {**RESULT, "version": 1.5}]}, "/batch")
    reused = post(store_result, {"results": [RESULT, {**RESULT, "model": "b", "request_id": "taken"}]}, "/batch")

    assert wrong.status_code == 400
    assert wrong.json["error"]["message"].startswith("results[1].version: expected")
    assert reused.status_code == 422
    assert reused.json["error"]["details"][0]["metadata"] == {"index": "1"}
    assert count() == 1


def test_five_hundred_results_are_a_batch_and_no_more(store_result, count):
    """500 are kept; 501 and none are refused before anything is kept."""
    most = post(store_result, {"results": [RESULT] * 500}, "/batch")
    over, none = (post(store_result, {"results": [RESULT] * number}, "/batch") for number in (501, 0))

    assert (most.status_code, len(most.json["results"])) == (201, 500)
    assert [(answer.status_code, reason(answer)) for answer in (over, none)] == [(400, "BATCH_SIZE")] * 2
    assert count() == 500


@pytest.mark.parametrize(
    ("body", "expected", "words"),
    [
        ("", "INVALID_JSON", "an empty body"),
        ("{", "INVALID_JSON", "offset 1"),
        ('{"model":"a"} {}', "INVALID_JSON", "Extra data"),
        ("[]", "INVALID_REQUEST", "the body: expected an object, got array"),
        ("null", "INVALID_REQUEST", "the body: expected an object, got null"),
        ('{"model": "m", "version": NaN}', "NON_FINITE", "NaN"),
        ('{"model": "m", "model": "m"}', "DUPLICATE_KEY", "model"),
        ('{"instances": {"a": 1, "a": 1}}', "DUPLICATE_KEY", "a"),
        ('{"labels": {"a": "1", "a": "2"}}', "DUPLICATE_KEY", "a"),
        ('{"instances": ' + "[" * 70 + "]" * 70 + "}", "JSON_TOO_DEEP", "64"),
        ('{"instances": ' + "1" * 5000 + "}", "NUMBER_OUT_OF_RANGE", "4300"),
        (b'{"model": "\xff"}', "INVALID_TEXT", "offset 11"),
        ('{"model": "m", "instances": []}', "INVALID_REQUEST", "the body: has no predictions, version"),
        (json.dumps({**RESULT, "tags": {}}), "INVALID_REQUEST", 'the body: unknown member "tags"'),
    ],
)
def test_a_body_that_is_no_result_is_refused_with_the_place(store_result, count, body, expected, words):
    """400 says what was expected, what came and where."""
    answer = post(store_result, body)

    assert (answer.status_code, reason(answer)) == (400, expected)
    assert words in answer.json["error"]["message"]
    assert count() == 0


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"results": {}}, "results: expected an array, got object"),
        ({"results": [1]}, "results[0]: expected an object, got number"),
        ({"results": [{"model": "m"}]}, "results[0]: has no instances, predictions, version"),
        ({"results": [{**RESULT, "x": 1}]}, 'results[0]: unknown member "x"'),
        ({"results": [{**RESULT, "summary": 1}]}, "results[0].summary: expected"),
        ({"items": []}, 'unknown member "items": expected results'),
        ({}, "results: expected 1 to 500 results, got 0"),
    ],
)
def test_a_batch_that_is_none_is_refused_with_the_place(store_result, body, words):
    """The message of a batch names the item."""
    answer = post(store_result, body, "/batch")

    assert answer.status_code == 400
    assert words in answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("model", value) for value in ("", "a" * 129, 1, None, "a\nb", "a\0", "\ud800", "\u202e")),
        *(("version", value) for value in ("", "1" * 65, 1.0, -1, True, None, [], "\ud800", 10**70)),
        *(("labels", value) for value in (None, [], {"a": 1}, {"1a": "x"}, {"": "x"}, {"a b": "x"}, {"a=b": "x"})),
        *(("labels", value) for value in ({"a": "x" * 257}, {"a": "\ud800"}, {"a": "\0"}, {"a" * 64: "x"})),
        ("labels", {f"a{n}": "" for n in range(65)}),
        ("request_id", 7),
    ],
)
def test_a_member_out_of_its_bounds_is_refused(store_result, count, member, value):
    """Names, versions and labels are short printable text that every database can keep."""
    answer = post(store_result, {**RESULT, member: value})

    assert answer.status_code == 400
    assert member in answer.json["error"]["message"]
    assert count() == 0


def test_the_largest_members_are_taken(store_result, kept):
    """The bounds themselves are allowed."""
    body = {**RESULT, "model": "é" * 128, "version": "1" * 64, "request_id": "~" * 255}
    body["labels"] = {"a" * 63: "🙂" * 256, **{f"a{n}": "" for n in range(63)}}

    answer = post(store_result, body)

    assert answer.status_code == 201
    assert kept(answer.json["id"]).labels == body["labels"]


def test_payloads_may_hold_what_json_itself_forbids(store_result, kept):
    """NaN and Infinity are what models answer; they stay as they came."""
    body = '{"model":"m","version":"1","instances":[NaN, 1e999],"predictions":[[-Infinity, "\\ud800"]]}'

    answer = post(store_result, body)

    result = kept(answer.json["id"])
    assert (result.instances, result.predictions) == ("[NaN, 1e999]", '[[-Infinity, "\\ud800"]]')


def test_five_megabytes_are_kept_byte_for_byte(store_result, kept):
    """A large payload is a payload like any other."""
    payload = json.dumps([0.1] * 1_000_000)
    body = '{"model":"m","version":"1","instances":' + payload + ',"predictions":[]}'

    answer = post(store_result, body)

    assert answer.status_code == 201
    assert kept(answer.json["id"]).instances == payload


@pytest.fixture
def declaring(client, tmp_path):
    """Return a client of a store-result that knows two models: one of classes, one of values."""

    def declare(name, summary):
        folder = tmp_path / "models" / name / "1"
        folder.mkdir(parents=True)
        (folder / "model.json").write_text(json.dumps({"summary": summary}))

    declare("classes", {"class": "digit", "scores": "probabilities"})
    declare("labels", {"class": "name"})
    declare("values", {"value": "y"})
    declare("broken", {"class": ["digit"]})
    return client("store_result", THREADS="4", MODELS_DIR=str(tmp_path / "models"))


@pytest.mark.parametrize(
    ("model", "predictions", "summary"),
    [
        (
            "classes",
            [{"digit": 3, "probabilities": [0.1, 0.9]}, {"digit": 4, "probabilities": [0.7, 0.3]}],
            {"count": 2, "classes": ["3", "4"], "scores": [0.9, 0.7]},
        ),
        (
            "classes",
            {"digit": [3, 4], "probabilities": [[0.1, 0.9], [0.7, 0.3]]},
            {"count": 2, "classes": ["3", "4"], "scores": [0.9, 0.7]},
        ),
        ("classes", [{"digit": 3, "probabilities": []}], {"count": 1, "classes": ["3"]}),
        ("classes", [{"digit": 3}], {"count": 1, "classes": ["3"]}),
        ("classes", [{"digit": 3.5, "probabilities": [1]}], {"count": 1}),
        ("classes", [3, 4], {"count": 2}),
        ("classes", {"digit": [3], "probabilities": [[1], [1]]}, {"count": 2}),
        ("labels", ["cat", "dog"], {"count": 2, "classes": ["cat", "dog"]}),
        ("labels", [3, 4], {"count": 2, "classes": ["3", "4"]}),
        ("labels", [True], {"count": 1}),
        ("values", [1.5, 2], {"count": 2, "values": [1.5, 2]}),
        ("values", [[1.5], [2]], {"count": 2, "values": [1.5, 2]}),
        ("values", {"y": [[1.5]]}, {"count": 1, "values": [1.5]}),
        ("values", [{"y": 1.5}, {"z": 2}], {"count": 2}),
        ("values", [[1.5, 2]], {"count": 1}),
        ("values", [10**400], {"count": 1}),
        ("values", [], {"count": 0, "values": []}),
        ("values", None, {"count": 1}),
        ("values", "text", {"count": 1}),
        ("broken", [{"digit": 3}], {"count": 1}),
        ("unknown", [1, 2, 3], {"count": 3}),
    ],
)
def test_a_summary_is_worked_out_from_what_the_model_declares(declaring, kept, model, predictions, summary):
    """One class and top score, or one value, a prediction; counts alone where the predictions hold neither."""
    answer = post(declaring, {**RESULT, "model": model, "predictions": predictions})

    assert json.loads(kept(answer.json["id"]).summary) == summary


def test_non_finite_predictions_leave_counts(declaring, kept):
    """NaN is no score and no value; the result is kept all the same."""
    scores = post(
        declaring, '{"model":"classes","version":1,"instances":0,"predictions":[{"digit":1,"probabilities":[NaN]}]}'
    )
    values = post(declaring, '{"model":"values","version":1,"instances":0,"predictions":[1,Infinity]}')

    assert json.loads(kept(scores.json["id"]).summary) == {"count": 1, "classes": ["1"]}
    assert json.loads(kept(values.json["id"]).summary) == {"count": 2}


def test_the_bundled_digits_model_declares_its_summary(client, kept):
    """With the models as they ship, digits' answers are summarised by class and score."""
    predictions = [{"digit": 3, "probabilities": [0.25, 0.75]}]

    answer = post(client("store_result", MODELS_DIR=str(ROOT / "model")), {**RESULT, "predictions": predictions})

    assert json.loads(kept(answer.json["id"]).summary) == {"count": 1, "classes": ["3"], "scores": [0.75]}


def test_with_models_in_a_bucket_the_included_declarations_are_used(client, kept):
    """What store-result knows of models is deployed with it; buckets are predict's to read."""
    predictions = [{"digit": 3, "probabilities": [0.25, 0.75]}]

    answer = post(client("store_result", MODELS_DIR="gs://models"), {**RESULT, "predictions": predictions})

    assert json.loads(kept(answer.json["id"]).summary) == {"count": 1, "classes": ["3"], "scores": [0.75]}


def test_a_callers_own_summary_is_taken(store_result, kept):
    """Who knows better what was predicted says so."""
    summary = {"count": 2, "classes": ["cat", "dog"], "scores": [0.5, 1]}

    answer = post(store_result, {**RESULT, "summary": summary})

    assert json.loads(kept(answer.json["id"]).summary) == summary


@pytest.mark.parametrize(
    "summary",
    [
        *(None, [], {}, {"classes": []}, {"count": "1"}, {"count": True}, {"count": 1.0}, {"count": -1}),
        *({"count": 10**400}, {"count": 1, "classes": []}, {"count": 1, "classes": [1]}, {"count": 0, "x": 1}),
        *({"count": 1, "values": ["1"]}, {"count": 1, "scores": [True]}, {"count": 1, "values": [10**400]}),
    ],
)
def test_a_callers_summary_is_checked(store_result, summary):
    """A summary that jobs could not read is refused, not kept for the night."""
    answer = post(store_result, {**RESULT, "summary": summary})

    assert (answer.status_code, reason(answer)) == (400, "INVALID_SUMMARY")


def test_a_summary_that_is_too_long_is_a_count_alone(client, kept):
    """What the model declares is worked out here, so it is cut here; the payload stays whole."""
    predictions = [{"digit": f"class {number:06}"} for number in range(5000)]

    answer = post(client("store_result", MODELS_DIR=str(ROOT / "model")), {**RESULT, "predictions": predictions})

    assert json.loads(kept(answer.json["id"]).summary) == {"count": 5000}
    assert json.loads(kept(answer.json["id"]).predictions) == predictions


@pytest.mark.parametrize(("classes", "status"), [(6550, 201), (6560, 400)])
def test_a_callers_summary_has_a_limit(store_result, classes, status):
    """Beside the payload it has to fit into what a database takes as one document."""
    summary = {"count": classes, "classes": ["1234567"] * classes}

    answer = post(store_result, {**RESULT, "predictions": [1] * classes, "summary": summary})

    assert answer.status_code == status
    assert status == 201 or reason(answer) == "INVALID_SUMMARY"


def test_a_broken_model_json_costs_only_its_own_summaries(client, tmp_path, kept):
    """A file that cannot be read is logged; the other models' results are summarised."""
    for name, text in {"good": '{"summary":{"value":"y"}}', "bad": "{", "list": "[]"}.items():
        (tmp_path / "models" / name / "1").mkdir(parents=True)
        (tmp_path / "models" / name / "1" / "model.json").write_text(text)

    answer = post(
        client("store_result", MODELS_DIR=str(tmp_path / "models")), {**RESULT, "model": "good", "predictions": [1]}
    )

    assert json.loads(kept(answer.json["id"]).summary) == {"count": 1, "values": [1]}


def test_a_store_that_cannot_be_opened_is_named_once_it_can_be_used_again(client, state_dir):
    """A failed start is not kept: the next request tries again."""
    state_dir.mkdir()
    (state_dir / "nightshift.db").mkdir()
    store_result = client("store_result")

    broken = post(store_result, RESULT)
    shutil.rmtree(state_dir / "nightshift.db")
    mended = post(store_result, RESULT)

    assert (broken.status_code, reason(broken)) == (500, "MISCONFIGURED")
    assert str(state_dir) not in broken.text
    assert mended.status_code == 201
