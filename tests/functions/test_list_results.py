"""list-results finds what was kept: filters, pages, counts, one by id; payloads come back as they were."""

import json
import shutil
import sqlite3
from datetime import timedelta

import pytest

from shared.stores import open_results
from tests.contract.factories import NOW, a_result

ID = "a" * 26
LARGE = f'"{"x" * 1_000_000}"'


@pytest.fixture
def list_results(client):
    """Return a client of list-results."""
    return client("list_results", THREADS="2")


@pytest.fixture
def keep(state_dir):
    """Return a writer of results into the store that the function reads."""

    def write(*results):
        store = open_results(f"sqlite:///{state_dir}/nightshift.db", f"file://{state_dir}/objects")
        try:
            store.create_results(results)
        finally:
            store.close()

    return write


@pytest.fixture
def three(keep):
    """Keep three results, a minute apart, of two models; return their ids, oldest first."""
    ids = [letter * 26 for letter in "cab"]
    keep(
        a_result(id=ids[0], created_at=NOW, model="a", version="1", labels={"run": "x"}),
        a_result(id=ids[1], created_at=NOW + timedelta(minutes=1), model="a", version="2", labels={"run": "x=y"}),
        a_result(id=ids[2], created_at=NOW + timedelta(minutes=2), model="b", version="1"),
    )
    return ids


def ids_of(answer):
    """Return the ids an answer lists."""
    assert answer.status_code == 200, answer.text
    return [result["id"] for result in answer.json["results"]]


def reason(answer):
    """Return the reason of an error, after checking that it is one of Google's shape."""
    error = answer.json["error"]
    (detail,) = error["details"]
    assert (error["code"], detail["domain"]) == (answer.status_code, "nightshift")
    return detail["reason"]


def test_nothing_is_an_empty_page(list_results):
    """A store without results answers no results and no next page."""
    assert list_results.get("/").json == {"results": [], "next_page_token": ""}


@pytest.mark.parametrize(
    ("query", "indices"),
    [
        ("", [2, 1, 0]),
        ("order=asc", [0, 1, 2]),
        ("model=a", [1, 0]),
        ("model=a&version=2", [1]),
        ("model=A", []),
        ("model=", []),
        ("label.run=x", [0]),
        ("label.run=x%3Dy&model=a", [1]),
        ("since=2026-11-22T12:01:00Z", [2, 1]),
        ("until=2026-11-22T12:01:00Z", [0]),
        ("since=2026-11-22T12:01:00.000001Z", [2]),
        ("since=2026-11-22T14:01:00%2B02:00", [2, 1]),
        ("since=2026-11-22T07:01-05:00", [2, 1]),
        ("since=2026-11-22%2012:02", [2]),
        ("since=2026-11-22T12:02:00.000000000Z&until=2026-11-23", [2]),
        ("since=2026-11-22&until=2026-11-22", []),
        ("since=2027-01-01&until=2026-01-01", []),
        ("since=0001-01-01&until=9999-12-31T23:59:59.999999Z", [2, 1, 0]),
        ("page_size=0", [2, 1, 0]),
        ("page_size=1000000000", [2, 1, 0]),
        ("page_token=&fields=&count=false", [2, 1, 0]),
        ("model=a%27%20OR%20%271%27=%271", []),
        ("model=%27%3B%20DROP%20TABLE%20results%3B--", []),
        ("label.run=x%27%29%20OR%201%3D1--", []),
        (f"model={'a' * 128}", []),
        (f"model=a&version={'1' * 64}", []),
        (f"label.run={'%F0%9F%99%82' * 256}", []),
    ],
)
def test_each_parameter_does_what_it_says(list_results, three, query, indices):
    """Filters select, times are half open, sizes are coerced."""
    assert ids_of(list_results.get(f"/?{query}")) == [three[index] for index in indices]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        *((f"page_size={text}", "INVALID_PAGE_SIZE") for text in ("-1", "abc", "1e9", "1.0", "%C2%B2", "%201")),
        *((f"since={text}", "INVALID_TIME") for text in ("", "yesterday", "2026-13-01", "2026-02-30", "1700000000")),
        *(
            (f"until={text}", "INVALID_TIME")
            for text in ("2026-W47", "20261122", "2026-11-22T", "2026-11-22T24:00:00Z")
        ),
        ("since=2026-11-22T14:01:00+02:00", "INVALID_TIME"),
        ("since=0001-01-01T00:00:00%2B14:00", "INVALID_TIME"),
        ("until=9999-12-31T23:59:59-14:00", "INVALID_TIME"),
        *((f"order={text}", "INVALID_ORDER") for text in ("", "DESC", "created_at")),
        *((f"count={text}", "INVALID_FLAG") for text in ("", "1", "True")),
        ("non_finite=drop", "INVALID_FLAG"),
        ("version=1", "VERSION_WITHOUT_MODEL"),
        ("label.a=1&label.b=2", "TOO_MANY_LABELS"),
        *((f"label.{name}=x", "INVALID_LABEL") for name in ("", "1", "a%3Db", "a%00", "%ff", "a" * 64)),
        ("label.a=1&label.a=2", "REPEATED_PARAMETER"),
        ("model=a&model=a", "REPEATED_PARAMETER"),
        *((f"limit={text}", "UNKNOWN_PARAMETER") for text in ("5", "-1", "0", "1e9", "abc")),
        *((f"{name}=x", "UNKNOWN_PARAMETER") for name in ("__name__", "owner.id", "offset", "filter", "id", "labels")),
        ("model[$ne]=x", "UNKNOWN_PARAMETER"),
        ("instances=1&predictions=2", "UNKNOWN_PARAMETER"),
        (f"model={'a' * 129}", "FILTER_TOO_LONG"),
        (f"model=a&version={'1' * 65}", "FILTER_TOO_LONG"),
        (f"label.run={'a' * 257}", "FILTER_TOO_LONG"),
        ("label.run=%00", "INVALID_TEXT"),
        ("Model=a", "UNKNOWN_PARAMETER"),
        ("label=x", "UNKNOWN_PARAMETER"),
        ("fields=id,payload", "UNKNOWN_FIELD"),
        ("fields=id,", "UNKNOWN_FIELD"),
        ("model=%00", "INVALID_TEXT"),
        *((f"page_token={text}", "INVALID_PAGE_TOKEN") for text in ("x", "AAAA", "a" * 8000, "%F0%9F%99%82", "../x")),
    ],
)
def test_a_parameter_that_is_wrong_is_named(list_results, three, query, expected):
    """400 with a reason of its own; nothing is guessed or ignored."""
    answer = list_results.get(f"/?{query}")

    assert (answer.status_code, reason(answer)) == (400, expected)


@pytest.mark.parametrize("query", ["page_token=" + "a" * 1_000_000, "model=" + "a" * 10_000])
def test_a_url_without_measure_is_414(list_results, query):
    """A token or a value of a megabyte is refused before anybody looks at it."""
    answer = list_results.get(f"/?{query}")

    assert (answer.status_code, reason(answer)) == (414, "URI_TOO_LONG")


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/" + "z" * 26,
            "/__x__",
            "/a",
            "/..%2f",
            "/..%2F..%2Fetc%2Fpasswd",
            "/a%00b",
            "/%ff",
            "/%F0%9F%92%A5",
            "/.",
            "/a/b",
        ),
        *("/a/b/c", "/%2f", "/__name__", "/" + "a" * 25 + "%00", "/" + "a" * 27),
        *("/" + "a" * 1501, "/" + "A" * 26, "/" + "a" * 26 + "%0a", "/'%20OR%201=1", "/%E2%80%AEabc"),
    ],
)
def test_an_id_that_is_not_there_is_404_whatever_it_looks_like(list_results, three, path):
    """Hostile ids are just ids that are not there."""
    answer = list_results.get(path)

    assert answer.status_code == 404
    assert answer.json["error"]["status"] == "NOT_FOUND"
    assert reason(answer) in ("RESULT_NOT_FOUND", "PATH_NOT_FOUND")


def test_pages_follow_each_other_to_the_end(list_results, keep):
    """next_page_token leads on, empty means the end, and the page size may change on the way."""
    ids = [chr(97 + number // 26) * 25 + chr(97 + number % 26) for number in range(60)]
    keep(*(a_result(id=result_id) for result_id in ids))

    first = list_results.get("/?page_size=7&order=asc").json
    second = list_results.get(f"/?page_size=3&order=asc&page_token={first['next_page_token']}").json
    third = list_results.get(f"/?order=asc&page_token={second['next_page_token']}").json

    found = [result["id"] for page in (first, second, third) for result in page["results"]]
    assert found == sorted(ids)
    assert [len(page["results"]) for page in (first, second, third)] == [7, 3, 50]
    assert third["next_page_token"] == ""


@pytest.mark.parametrize("page_size", [3, 500])
def test_a_last_page_that_is_just_full_has_no_next(list_results, three, page_size):
    """The end is known without another request."""
    assert list_results.get(f"/?page_size={page_size}").json["next_page_token"] == ""


@pytest.mark.parametrize("other", ["model=b", "model=a&version=1", "model=a&order=asc", "model=a&since=2026-01-01", ""])
def test_a_token_belongs_to_its_query(list_results, three, other):
    """A token with any other filter is refused, not silently wrong."""
    token = list_results.get("/?model=a&page_size=1").json["next_page_token"]

    same, different = (list_results.get(f"/?{query}&page_token={token}") for query in ("model=a", other))

    assert ids_of(same) == [three[0]]
    assert (different.status_code, reason(different)) == (400, "INVALID_PAGE_TOKEN")


def test_a_token_with_a_character_changed_is_refused(list_results, three):
    """Tokens are signed: a position cannot be made up."""
    token = list_results.get("/?page_size=1").json["next_page_token"]

    altered = [token[:at] + ("A" if token[at] != "A" else "B") + token[at + 1 :] for at in range(0, len(token) - 1, 5)]

    assert {reason(list_results.get(f"/?page_token={each}")) for each in [*altered, token[:-4], token + "AAAA"]} == {
        "INVALID_PAGE_TOKEN"
    }


def test_a_token_of_another_deployment_is_refused(client, three):
    """A token is signed with the key of the deployment that gave it."""
    token = client("list_results", PAGE_TOKEN_KEY="k" * 16).get("/?page_size=1").json["next_page_token"]

    answer = client("list_results", PAGE_TOKEN_KEY="l" * 16).get(f"/?page_token={token}")

    assert (answer.status_code, reason(answer)) == (400, "INVALID_PAGE_TOKEN")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_results_that_arrive_between_pages_are_neither_skipped_nor_repeated(list_results, keep, order):
    """Everything that was there at first comes once, among many equal times; what is new at most once."""
    before = [chr(97 + number) * 26 for number in range(26)]
    keep(*(a_result(id=each, created_at=NOW + timedelta(microseconds=n // 9)) for n, each in enumerate(before)))
    found, token, pages = [], "", 0

    while token or not pages:
        page = list_results.get(f"/?order={order}&page_size=4&page_token={token}").json
        found += [result["id"] for result in page["results"]]
        token, pages = page["next_page_token"], pages + 1
        keep(*(a_result(created_at=NOW + timedelta(microseconds=n)) for n in range(3) if pages < 9))

    assert len(found) == len(set(found))
    assert [each for each in found if each in before] == sorted(before, reverse=order == "desc")


def test_a_token_may_be_used_with_other_fields(list_results, three):
    """How results are shown is not part of the question."""
    token = list_results.get("/?page_size=1&fields=id&count=true").json["next_page_token"]

    assert ids_of(list_results.get(f"/?page_token={token}")) == [three[1], three[0]]


def test_count_adds_the_total_of_the_whole_query(list_results, three):
    """total_size is there when asked and does not depend on the page."""
    counted = list_results.get("/?model=a&page_size=1&count=true").json

    assert (counted["total_size"], counted["total_size_includes_expired"]) == (2, True)
    assert list_results.get("/?model=a").json.keys() == {"results", "next_page_token"}


def test_the_total_counts_what_has_expired_and_says_so(list_results, keep):
    """Counting only what is left would mean reading it."""
    keep(a_result(id=ID), a_result(expires_at=NOW - timedelta(days=9999)))

    answer = list_results.get("/?count=true").json

    assert [result["id"] for result in answer["results"]] == [ID]
    assert (answer["total_size"], answer["total_size_includes_expired"]) == (2, True)


def test_fields_choose_and_order_the_members(list_results, three):
    """Only what was asked for is sent, each member once."""
    one = list_results.get(f"/{three[0]}?fields=version,id,version")
    listed = list_results.get("/?fields=summary")

    assert one.data == b'{"version":"1","id":"cccccccccccccccccccccccccc"}\n'
    assert {tuple(result) for result in listed.json["results"]} == {("summary",)}


def test_an_answer_holds_the_very_bytes_that_were_stored(list_results, keep):
    """Payloads are passed through untouched, in a list as by id."""
    instances, predictions = '{"b": [ NaN,1E+2],\n "a":"é\\ud800"}', "[1.10, -0.0, 1e999, -Infinity]"
    keep(a_result(id=ID, instances=instances, predictions=predictions))
    expected = f'"instances":{instances},"predictions":{predictions},"labels"'.encode()

    assert expected in list_results.get(f"/{ID}").data
    assert expected in list_results.get("/").data


def test_non_finite_numbers_become_null_when_asked(list_results, keep):
    """With non_finite=null every parser can read the answer; strings that look alike stay."""
    keep(a_result(id=ID, instances='{"b":NaN,"a":["NaN",Infinity]}', predictions="[1e999, -Infinity, 1.5, -1E400]"))

    def refuse(name):
        raise AssertionError(name)

    answer = json.loads(list_results.get(f"/{ID}?non_finite=null").data, parse_constant=refuse)

    assert answer["instances"] == {"b": None, "a": ["NaN", None]}
    assert answer["predictions"] == [None, None, 1.5, None]


def test_one_result_shows_everything_that_was_kept(list_results, keep):
    """The members of a result, times in UTC to the microsecond."""
    keep(
        a_result(id=ID, labels={"who": "Zoë"}, request_id="r", expires_at=NOW + timedelta(days=20_000)),
        a_result(id="b" * 26, created_at=NOW - timedelta(days=1)),
    )

    assert list_results.get(f"/{ID}").json == {
        "id": ID,
        "created_at": "2026-11-22T12:00:00.000000Z",
        "model": "digits",
        "version": "1",
        "instances": [[1]],
        "predictions": [{"digit": 3}],
        "labels": {"who": "Zoë"},
        "request_id": "r",
        "summary": {"count": 1, "classes": ["3"], "scores": [0.5]},
        "expires_at": "2081-08-25T12:00:00.000000Z",
    }
    assert list_results.get("/" + "b" * 26).json["expires_at"] is None


def test_expired_results_are_not_shown(list_results, keep):
    """What has expired by now is gone from both."""
    keep(a_result(id=ID, expires_at=NOW - timedelta(days=9999)))

    assert list_results.get(f"/{ID}").status_code == 404
    assert ids_of(list_results.get("/")) == []


def test_a_page_ends_early_rather_than_grow_without_bound(list_results, keep):
    """Large payloads make short pages; following the tokens still gives every result once."""
    keep(*(a_result(id=letter * 26, instances=f'"{letter * 9_000_000}"') for letter in "abcde"))
    sizes, found, token = [], [], ""

    while True:
        page = list_results.get(f"/?page_token={token}").json
        found += [result["id"] for result in page["results"]]
        sizes.append(len(page["results"]))
        token = page["next_page_token"]
        if not token:
            break

    assert found == [letter * 26 for letter in "edcba"]
    assert sizes == [2, 2, 1]


def test_a_result_larger_than_a_page_is_a_page(list_results, keep):
    """One result always comes, however large it is."""
    keep(*(a_result(id=letter * 26, instances=f'"{letter * 25_000_000}"') for letter in "ab"))

    first = list_results.get("/?fields=id,instances").json
    second = list_results.get(f"/?fields=id,instances&page_token={first['next_page_token']}").json
    third = list_results.get(f"/?page_token={second['next_page_token']}").json

    assert [[result["id"] for result in page["results"]] for page in (first, second, third)] == [
        *(["b" * 26], ["a" * 26], [])
    ]
    assert third["next_page_token"] == ""


def test_pages_of_large_text_in_other_scripts_lose_nothing(list_results, keep):
    """Where a page ends is counted in bytes or in characters, and no result falls in between."""
    keep(*(a_result(id=letter * 26, instances=f'"{"é" * 6_500_000}"') for letter in "abcde"))
    found, token, pages = [], "", 0

    while token or not pages:
        page = list_results.get(f"/?fields=id,predictions&page_token={token}").json
        found += [result["id"] for result in page["results"]]
        token, pages = page["next_page_token"], pages + 1

    assert found == [letter * 26 for letter in "edcba"]


def test_without_payloads_all_results_fit_on_one_page(list_results, keep):
    """What is not shown takes no room."""
    keep(*(a_result(id=letter * 26, instances=f'"{letter * 9_000_000}"') for letter in "abcde"))

    assert len(ids_of(list_results.get("/?fields=id,labels"))) == 5


@pytest.mark.parametrize("path", [f"/{ID}", "/"])
def test_fields_without_payloads_read_none(list_results, keep, state_dir, path):
    """They are left to the database and the object store, which may lack them altogether."""
    keep(a_result(id=ID), a_result(id="b" * 26, instances=LARGE))
    shutil.rmtree(state_dir / "objects")
    with sqlite3.connect(state_dir / "nightshift.db") as connection:
        for column in ("instances", "predictions"):
            connection.execute(f"ALTER TABLE results DROP COLUMN {column}")
    connection.close()
    fields = "id,created_at,model,version,labels,request_id,summary,expires_at"

    assert list_results.get(f"{path}?fields={fields}").status_code == 200
    assert list_results.get(f"{path}?fields=id,predictions").status_code == 500


def test_a_payload_that_was_lost_says_so_and_hides_no_other_result(list_results, keep, state_dir):
    """No half of it is ever shown; everything but payloads still lists."""
    keep(a_result(id=ID, instances=LARGE), a_result(id="b" * 26))
    (stored,) = (path for path in (state_dir / "objects").rglob("*") if path.is_file())
    stored.write_bytes(stored.read_bytes()[:-100])

    one, page = list_results.get(f"/{ID}"), list_results.get("/")

    for answer in (one, page):
        assert (answer.status_code, reason(answer)) == (500, "PAYLOAD_LOST")
        assert answer.json["error"]["details"][0]["metadata"] == {"id": ID}
    assert list_results.get("/" + "b" * 26).status_code == 200
    assert ids_of(list_results.get("/?fields=id,summary")) == ["b" * 26, ID]


def test_a_row_that_was_altered_reads_no_other_file(list_results, keep, state_dir):
    """The name of an object leads nowhere but into its folder."""
    keep(a_result(id=ID, instances=LARGE))
    for name in ("../nightshift.db", "/etc/passwd", "payloads/../../nightshift.db", "payloads/a/..", "a\0b", ""):
        with sqlite3.connect(state_dir / "nightshift.db") as connection:
            connection.execute("UPDATE results SET payload_object = json_set(payload_object, '$.name', ?)", [name])
        connection.close()

        answer = list_results.get(f"/{ID}")

        assert (answer.status_code, reason(answer)) == (500, "PAYLOAD_LOST")


def test_non_finite_numbers_become_null_without_making_text_longer(list_results, keep):
    """What is beyond ASCII stays as it is, and half a pair of surrogates stays escaped."""
    keep(a_result(id=ID, instances='["é🙂\\ud800\\n", NaN]'))

    answer = list_results.get(f"/{ID}?non_finite=null&fields=instances")

    assert answer.data == '{"instances":["é🙂\\ud800\\n",null]}\n'.encode()
