"""Firestore: the store contract on Google's emulator, and what only Firestore does."""

import itertools
import secrets
import threading
import time
import tracemalloc
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from google.api_core import exceptions
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from google.cloud.firestore import DELETE_FIELD, Client

from shared.config import ROOT
from shared.errors import (
    ConfigurationError,
    ConflictError,
    InvalidRequestError,
    PayloadTooLargeError,
    ServiceError,
    UnavailableError,
)
from shared.records import Position, ResultQuery
from shared.runs import RunQuery
from shared.stores import open_store
from shared.stores.firestore.failures import translated
from shared.stores.firestore.shapes import FIELDS
from shared.stores.objects.folder import FolderObjects
from shared.stores.payloads import PayloadStore
from tests.contract.factories import LEASE, MICROSECOND, NOW, a_letter, a_result, a_run, claim, in_parallel, some_parts
from tests.contract.store_contract import ResultContract, StoreContract
from tests.emulators.firestore import firestore_emulator
from tests.emulators.proxy import proxy_to
from tests.support import free_port

# A request has eight seconds; the rest is for what stands around the store.
DEADLINE_SECONDS = 7.0


@pytest.fixture
def open_url():
    """Return what opens a store and closes it after the test."""
    opened = []

    def open_(url):
        opened.append(open_store(url))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def url(firestore):
    """Return the STORE_URL of an empty database."""
    return firestore.new_url()


@pytest.fixture
def store(open_url, url):
    """Return a store in an empty database."""
    return open_url(url)


@pytest.fixture
def nobody(monkeypatch):
    """Let Firestore be where nothing listens."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{free_port()}")


class _Whole(PayloadStore):
    """Results with large payloads beside them, and runs: everything the contract asks for, behind one object."""

    def __getattr__(self, name):
        return getattr(self._store, name)


class TestFirestoreStore(StoreContract):
    """Firestore keeps the contract; claims race here too, for none of them is a transaction with locks."""

    @pytest.fixture
    def store(self, store, tmp_path):
        """Return the store with large payloads beside it, as the functions have it."""
        return _Whole(store, FolderObjects(tmp_path / "objects"))

    def test_without_payloads_the_rest_comes_back(self, store):
        """Of the database alone: the objects that this test names are not there."""
        super().test_without_payloads_the_rest_comes_back(store._store)


class TestFirestoreShards(ResultContract):
    """Results spread over shards are found as if there were none."""

    @pytest.fixture
    def store(self, open_url, firestore, tmp_path):
        """Return a store with three shards."""
        return _Whole(open_url(firestore.new_url("?shards=3")), FolderObjects(tmp_path / "objects"))

    def test_without_payloads_the_rest_comes_back(self, store):
        """Of the database alone: the objects that this test names are not there."""
        super().test_without_payloads_the_rest_comes_back(store._store)


def raw_client(url):
    """Return the library's own client for a store's database."""
    project, database = url.removeprefix("firestore://").partition("?")[0].split("/")
    return Client(project=project, database=database)


# --- The URL


@pytest.mark.parametrize(
    "url",
    [
        *(
            "firestore://",
            "firestore://p",
            "firestore://p/",
            "firestore:///db",
            "firestore://p/d",
            "firestore://p/db/c",
        ),
        *("firestore://p/(other)", "firestore://P/(default)", "firestore://p/(default)?shards=0"),
        *("firestore://p/(default)?shards=33", "firestore://p/(default)?shards=x", "firestore://p/(default)?a=b"),
    ],
)
def test_a_url_that_names_no_database_is_refused(url):
    """The message says what was expected."""
    with pytest.raises(ConfigurationError, match="STORE_URL: expected firestore://PROJECT/DATABASE"):
        open_store(url)


@pytest.mark.parametrize("url", ["firestore://my-project/(default)", "firestore://example.com:p-1/results-2?shards=32"])
def test_opening_asks_nothing_of_firestore(url, nobody):
    """A function starts whether Firestore answers or not, and closes what it never used."""
    open_store(url).close()


# --- Ids


@pytest.mark.parametrize(
    "result_id", ["a/b", "a/b/c", "", ".", "..", "__x__", "____", "a\0b", "\ud800", "x" * 1501, "é" * 751]
)
def test_an_id_that_cannot_be_is_none_without_a_question(result_id, open_url, nobody):
    """A slash would lead into another collection; a reserved name would be an error of Firestore's."""
    store = open_url("firestore://p/(default)")

    assert store.get_result(result_id, NOW) is None
    with pytest.raises(InvalidRequestError):
        store.create_results([a_result(id=result_id)])
    with pytest.raises(InvalidRequestError) as raised:
        store.list_results(ResultQuery(), after=Position(NOW, result_id), limit=1, now=NOW)
    assert raised.value.reason == "INVALID_PAGE_TOKEN"


@pytest.mark.parametrize("result_id", ["...", "__x", "x__", "_", "%2f", "\u202e", "💥", "x" * 1500, "a b", "'\";--"])
def test_any_other_id_is_one(result_id, store):
    """It names one document, at the top."""
    result = a_result(id=result_id)
    store.create_results([result, a_result()])

    assert store.get_result(result_id, NOW) == result
    assert store.list_results(ResultQuery(order="asc"), after=Position(NOW, result_id), limit=9, now=NOW)[1:] == []


@pytest.mark.parametrize("job", ["a/b", "__a", "..", "a@b", "ü\0", "", "\ud800"])
@pytest.mark.parametrize("key", ["2026-11-21", "2026-11-21T00:10:00+01:00/x", "b__"])
def test_a_run_has_a_document_of_its_own_whatever_its_names(job, key, store):
    """No job and key meet another's run, nor a reserved name."""
    other = claim(store, a_run(job="b")).run
    wanted = replace(a_run(job=job), interval=replace(a_run().interval, key=key))

    if job == "\ud800":
        assert store.get_run(job, key) is None
        return
    assert claim(store, wanted).granted
    assert store.get_run(job, key).interval.key == key
    assert store.get_run("b", "2026-11-21") == other


def test_labels_may_be_called_what_firestore_reserves(store):
    """They are the caller's words, not names of fields."""
    result = a_result(labels={"__name__": "a", "a.b": "c", "`": "d", "": "e"})
    store.create_results([result])

    assert store.list_results(ResultQuery(label=("__name__", "a")), after=None, limit=9, now=NOW) == [result]


# --- Creating


def test_a_create_whose_answer_was_lost_is_recognised(firestore, url, open_url, monkeypatch):
    """Firestore had applied it: tried again it is there already, and is no replay of anybody's."""
    with proxy_to(("127.0.0.1", firestore.port)) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        store = open_url(url)
        store.count_results(ResultQuery())
        results = [a_result(id="lost-and-found"), a_result()]
        proxy.swallow(lambda piece: b"lost-and-found" in piece)

        stored = store.create_results(results)

        assert proxy.swallowed == 1
        assert [item.replayed for item in stored] == [False, False]
        assert [item.result for item in stored] == results
        assert store.count_results(ResultQuery()) == 2


def test_a_change_whose_answer_was_lost_is_recognised(firestore, url, open_url, monkeypatch):
    """The work would wait for the lease to run out otherwise, with nobody doing it."""
    with proxy_to(("127.0.0.1", firestore.port)) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        store = open_url(url)
        claim(store, a_run("2026-11-20"))
        found = []

        def held():
            return store.get_run("nightly", "2026-11-21")

        for step in (
            lambda: claim(store).granted,
            lambda: store.plan_parts(held(), some_parts(1)).plan,
            lambda: store.finish_part(held(), replace(some_parts(1)[0], partial="1")),
            lambda: store.mark_deadline_missed(a_run(), now=NOW),
            lambda: store.finish_run(held(), [{}], now=NOW).state,
            lambda: store.record_dead_letter(a_letter()),
            lambda: claim(store, a_run("2026-11-19"), max_active=1).refusal,
        ):
            proxy.swallow(lambda piece: b"write_id" in piece)
            found.append(step())

        assert proxy.swallowed == 7
        assert found == [True, 1, True, True, "success", True, "max-active"]
        assert held().fence == 1


def test_a_result_beyond_a_document_is_refused_before_it_is_sent(store):
    """Firestore would refuse it; the emulator would let the library try for long."""
    large = a_result(summary='{"count":1,"classes":["' + "x" * 1_045_000 + '"]}')
    began = time.monotonic()

    with pytest.raises(PayloadTooLargeError) as raised:
        store.create_results([a_result(), large])

    assert (raised.value.reason, raised.value.metadata) == ("RESULT_TOO_LARGE", {"index": "1"})
    assert time.monotonic() - began < 1
    assert store.count_results(ResultQuery()) == 0


def test_a_batch_as_large_as_it_may_be_inline_is_one_commit(store):
    """What PayloadStore leaves in the rows is what the database takes."""
    chars = store.max_inline_bytes // 500 // 2
    results = [a_result(instances="1" * chars, predictions="2" * chars, labels={"a": "b" * 200}) for _ in range(500)]

    store.create_results(results)

    assert store.count_results(ResultQuery()) == 500


# --- Lists


def test_a_list_of_large_results_holds_what_it_returns(store):
    """It stops reading where it stops: never a whole page of documents of 900 KiB."""
    for n in range(12):
        store.create_results([a_result(created_at=NOW + timedelta(seconds=n), instances="1" * 900_000)])
    tracemalloc.start()

    found = store.list_results(ResultQuery(), after=None, limit=500, now=NOW, max_chars=1_000_000)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert len(found) == 2
    assert peak_bytes < 8_000_000


def test_a_page_of_large_results_comes_in_several_queries(store):
    """All that was asked for comes, in order."""
    results = [a_result(created_at=NOW + timedelta(seconds=n), instances="1" * 900_000) for n in range(20)]
    for result in results:
        store.create_results([result])

    assert store.list_results(ResultQuery(order="asc"), after=None, limit=500, now=NOW) == results


def test_expired_results_do_not_end_a_list(store):
    """A page is filled from beyond them, however many there are."""
    expired = [a_result(expires_at=NOW) for _ in range(120)]
    alive = [a_result(created_at=NOW - timedelta(seconds=n)) for n in range(1, 8)]
    store.create_results(expired)
    store.create_results(alive)

    assert store.list_results(ResultQuery(), after=None, limit=5, now=NOW) == alive[:5]


def test_more_shards_find_what_was_stored_with_fewer(open_url, url):
    """Shards may grow: what lies in the first ones stays there."""
    results = [a_result(created_at=NOW + timedelta(seconds=n)) for n in range(40)]
    open_url(url).create_results(results[:20])
    store = open_url(f"{url}?shards=4")
    store.create_results(results[20:])

    assert store.list_results(ResultQuery(order="asc"), after=None, limit=99, now=NOW) == results
    assert store.count_results(ResultQuery()) == 40
    assert [document.created_at for document in store.read_summaries(NOW, NOW + LEASE)] == [
        result.created_at for result in results
    ]
    shards = [document.get("shard") for document in raw_client(url).collection("results").stream()]
    assert set(shards) == {0, 1, 2, 3}


# --- Runs


def test_two_generations_of_rows_stay(store, url):
    """The visible one and the one before it, to compare; a rerun every night would fill the database otherwise."""
    for n in range(4):
        store.finish_run(claim(store, reprocess="completed").run, [{"n": n}], now=NOW)

    kept = raw_client(url).collection_group("summaries").stream()

    assert sorted(document.id for document in kept) == ["3", "4"]
    assert [summary.rows for summary in store.list_summaries(RunQuery(), after=None, limit=9)] == [({"n": 3},)]


def test_a_run_written_before_it_could_wait_is_one(store, url):
    """Its document lacks what was added since, and its job's is not there."""
    run = claim(store).run
    (document,) = raw_client(url).collection("runs").stream()
    old = ("not_before_us", "max_active", "plan", "parts", "deadline_at_us", "deadline_missed_at_us")
    document.reference.update(dict.fromkeys([*old, "code_version", "attempts"], DELETE_FIELD))
    next(raw_client(url).collection("job_states").stream()).reference.delete()

    (listed,) = store.list_runs(RunQuery(), after=None, limit=9)

    assert listed == store.get_run("nightly", "2026-11-21") == replace(run, attempts=())
    assert (store.list_parts(listed, partials=True), store.get_part(listed, 0)) == ([], None)
    assert store.plan_parts(listed, some_parts()).parts == 3
    assert store.finish_run(listed, [], now=NOW).state == "success"


def test_every_field_of_every_document_is_declared(store, url):
    """A field that nobody declared would have indexes of its own, which cost more than all others together."""
    store.create_results([a_result()])
    run = store.plan_parts(claim(store).run, some_parts())
    store.finish_part(run, replace(some_parts()[0], partial="1"))
    store.fail_part(run, 1, "no")
    store.finish_run(run, [{"n": 1}], now=NOW)
    store.set_paused("drift", paused=True, now=NOW)
    store.record_dead_letter(a_letter())

    client = raw_client(url)
    written = {
        name: {tuple(sorted(document.to_dict())) for document in client.collection_group(name).stream()}
        for name in FIELDS
    }

    assert written == {name: {tuple(sorted(fields))} for name, fields in FIELDS.items()}


def test_a_job_has_a_document_of_its_own_whatever_its_name(store):
    """None meets another's, nor a reserved name."""
    names = ["", ".", "..", "@", "__a__", "a/b", "a@b", "%40", "ü", "nightly"]

    for n, name in enumerate(names):
        store.touch_job(name, now=NOW + n * MICROSECOND)

    assert [store.touch_job(name, now=NOW).first_seen_at for name in names] == [
        NOW + n * MICROSECOND for n in range(len(names))
    ]


def test_what_a_run_wrote_is_gone_with_it(store, url):
    """Firestore itself leaves what lies below a document that is deleted."""
    for count in (3, 450):
        run = store.plan_parts(claim(store, reprocess="completed").run, some_parts(count))
        store.finish_run(run, [{}], now=NOW)
    client = raw_client(url)
    left = {name: len(list(client.collection_group(name).stream())) for name in ("parts", "summaries", "runs")}

    pruned = store.prune_runs("nightly", before_key="3", limit=9)

    assert (left, pruned) == ({"parts": 450, "summaries": 2, "runs": 1}, 1)
    assert [document.id for name in left for document in client.collection_group(name).stream()] == []


def test_a_run_that_is_claimed_while_it_is_pruned_stays(store, firestore, url, open_url, monkeypatch):
    """It is whole, with what it wrote; the one that prunes goes on."""
    for key in ("2026-11-20", "2026-11-21"):
        store.finish_run(claim(store, a_run(key)).run, [{"key": key}], now=NOW)
    with proxy_to(("127.0.0.1", firestore.port)) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        slow = open_url(url)
        slow.get_run("nightly", "2026-11-20")

        def rerun(piece):
            found = store.get_run("nightly", "2026-11-20") if b"summaries/1" in piece else None
            if found and found.fence == 1:
                claim(store, a_run("2026-11-20"), reprocess="completed")
            return False

        proxy.swallow(rerun)
        pruned = slow.prune_runs("nightly", before_key="3", limit=9)

    assert pruned == 1
    assert [run.state for run in store.list_runs(RunQuery(), after=None, limit=9)] == ["running"]
    assert [summary.key for summary in store.list_summaries(RunQuery(), after=None, limit=9)] == ["2026-11-20"]


def test_a_partial_beyond_a_document_is_refused_and_the_part_stays_open(store):
    """Its failure can then be recorded."""
    run = store.plan_parts(claim(store).run, some_parts())
    part = some_parts()[1]

    with pytest.raises(ServiceError, match="part 1 of a run: expected at most 921600 bytes of JSON") as raised:
        store.finish_part(run, replace(part, partial='"' + "é" * 460_800 + '"'))

    assert raised.value.reason == "PARTIAL_TOO_LARGE"
    assert store.fail_part(run, 1, "too large").attempt == 1
    assert store.finish_part(run, replace(part, partial='"' + "é" * 460_799 + '"'))


def test_large_partials_come_in_several_queries(store):
    """All of them, in order; those who only look read none."""
    run = store.plan_parts(claim(store).run, some_parts(12))
    done = [replace(part, partial=f'"{part.index}{"x" * 900_000}"') for part in some_parts(12)]
    for part in done:
        store.finish_part(run, part)

    assert store.list_parts(run, partials=True) == done
    assert store.list_parts(run, partials=False) == [replace(part, partial="") for part in done]


def test_more_parts_than_one_query_brings_are_all_there(store):
    """And counted."""
    run = store.plan_parts(claim(store).run, some_parts(1200))

    assert store.list_parts(run, partials=False) == some_parts(1200)
    assert store.open_parts(run) == 1200


def test_rows_beyond_a_document_are_refused_and_the_run_stays_held(store):
    """Its failure can then be recorded."""
    run = claim(store).run

    with pytest.raises(ServiceError, match="at most 921600 bytes of JSON") as raised:
        store.finish_run(run, [{"text": "x" * 921_600}], now=NOW)

    assert raised.value.reason == "ROWS_TOO_LARGE"
    assert store.fail_run(run, "too large", retry_at=None, now=NOW).state == "failed"


def test_summaries_are_whole_while_runs_are_made_again(store, firestore, url, open_url, monkeypatch):
    """A list never meets a run whose rows are gone: it reads both as of one moment."""
    store.finish_run(claim(store).run, [{"n": 0}], now=NOW)
    with proxy_to(("127.0.0.1", firestore.port)) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        slow = open_url(url)
        slow.get_run("nightly", "2026-11-21")

        def rerun_twice(piece):
            if b"summaries/1" not in piece or store.get_run("nightly", "2026-11-21").fence > 1:
                return False
            for n in (1, 2):
                store.finish_run(claim(store, reprocess="completed").run, [{"n": n}], now=NOW)
            return False

        proxy.swallow(rerun_twice)
        (seen,) = slow.list_summaries(RunQuery(), after=None, limit=9)

    assert seen.rows == ({"n": 0},)
    assert [summary.rows for summary in store.list_summaries(RunQuery(), after=None, limit=9)] == [({"n": 2},)]


def test_two_clients_contending_on_one_run_never_see_the_library_fail(store, open_url, url):
    """Each is granted it, refused, or told to come again; no two hold it under one fence."""
    stores = [store, open_url(url)]
    fences, reasons = [], set()

    def work(n):
        mine = stores[n % 2]
        for _ in range(6):
            try:
                answer = claim(mine, reprocess="completed")
                if answer.granted:
                    fences.append(answer.run.fence)
                    mine.finish_run(answer.run, [{"n": n}], now=NOW)
            except (UnavailableError, ConflictError) as error:
                reasons.add(error.reason)

    in_parallel(8, work)

    run = store.get_run("nightly", "2026-11-21")
    assert len(fences) == len(set(fences))
    assert run.fence == max(fences)
    assert reasons <= {"STORE_BUSY", "FENCE_LOST"}


class _Meddled(Mapping):
    """An output that somebody else's change of the run always gets in before."""

    def __init__(self, meddle):
        self._meddle = meddle

    def __iter__(self):
        self._meddle()
        return iter(())

    def __getitem__(self, name):
        raise KeyError(name)

    def __len__(self):
        return 0


def test_a_run_that_others_keep_changing_is_busy(store, url):
    """Tried some times, then 503: never a change over somebody else's."""
    run = claim(store, a_run(params={})).run
    numbers = itertools.count(1)
    (document,) = raw_client(url).collection("runs").stream()

    with pytest.raises(UnavailableError) as raised:
        store.fail_run(
            replace(run, output=_Meddled(lambda: document.reference.update({"error": str(next(numbers))}))),
            "mine",
            retry_at=NOW,
            now=NOW,
        )

    assert raised.value.reason == "STORE_BUSY"
    assert store.get_run(run.job, run.key) == replace(run, error=str(next(numbers) - 1))


# --- Failures


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (exceptions.DeadlineExceeded("x"), 503, "STORE_UNAVAILABLE"),
        (exceptions.ServiceUnavailable("x"), 503, "STORE_UNAVAILABLE"),
        (exceptions.InternalServerError("x"), 503, "STORE_UNAVAILABLE"),
        (exceptions.Unknown("Stream removed"), 503, "STORE_UNAVAILABLE"),
        (exceptions.Cancelled("Channel closed!"), 503, "STORE_UNAVAILABLE"),
        (exceptions.RetryError("x", cause=exceptions.ServiceUnavailable("x")), 503, "STORE_UNAVAILABLE"),
        (exceptions.RetryError("x", cause=exceptions.Aborted("x")), 503, "STORE_BUSY"),
        (exceptions.ResourceExhausted("x"), 503, "STORE_BUSY"),
        (exceptions.Aborted("Transaction lock timeout"), 503, "STORE_BUSY"),
        (TransportError("x"), 503, "STORE_UNAVAILABLE"),
        (RefreshError("x", retryable=True), 503, "STORE_UNAVAILABLE"),
        (RefreshError("x"), 500, "MISCONFIGURED"),
        (DefaultCredentialsError("x"), 500, "MISCONFIGURED"),
        (exceptions.PermissionDenied("x"), 500, "MISCONFIGURED"),
        (exceptions.Unauthenticated("x"), 500, "MISCONFIGURED"),
        (exceptions.NotFound("The database (default) does not exist for project p"), 500, "MISCONFIGURED"),
        (exceptions.FailedPrecondition("The query requires an index."), 500, "MISCONFIGURED"),
        (exceptions.InvalidArgument("x"), 500, "STORE_FAILED"),
    ],
    ids=repr,
)
def test_every_failure_of_the_library_is_one_of_ours(error, status, reason):
    """What may pass is 503 and to be tried again; what a person must mend is 500, and never an empty list."""
    with pytest.raises(ServiceError) as raised, translated():
        raise error

    assert (raised.value.http_status, raised.value.reason) == (status, reason)
    assert ("Retry-After" in raised.value.headers) is (status == 503)


def test_missing_credentials_are_misconfigured(open_url, monkeypatch, tmp_path):
    """Found out at the first question, without one being asked."""
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    store = open_url("firestore://my-project/(default)")

    for _ in range(2):
        with pytest.raises(ServiceError, match="no access") as raised:
            store.list_results(ResultQuery(), after=None, limit=9, now=NOW)
        assert raised.value.reason == "MISCONFIGURED"


def test_nobody_listening_is_unavailable_soon(open_url, nobody):
    """A connection that is refused is not waited for as an answer would be."""
    store = open_url("firestore://p/(default)")
    began = time.monotonic()

    with pytest.raises(UnavailableError) as raised:
        store.get_result("a", NOW)

    assert raised.value.reason == "STORE_UNAVAILABLE"
    assert time.monotonic() - began < 2


def every_question(store):
    """Return a call for each thing a store does, of runs that nobody asked for before."""
    mine, other, planned = (a_run(job=secrets.token_hex(4)) for _ in range(3))
    return {
        "create": lambda: store.create_results([a_result()]),
        "get": lambda: store.get_result("a", NOW),
        "list": lambda: store.list_results(ResultQuery(), after=None, limit=9, now=NOW),
        "count": lambda: store.count_results(ResultQuery()),
        "summaries of results": lambda: list(store.read_summaries(NOW, NOW + LEASE)),
        "claim": lambda: claim(store, mine),
        "plan": lambda: store.plan_parts(claim(store, planned).run, some_parts()),
        "parts": lambda: store.open_parts(replace(mine, plan=1)),
        "pause": lambda: store.set_paused(secrets.token_hex(4), paused=True, now=NOW),
        "prune": lambda: store.prune_runs("nightly", before_key="3", limit=9),
        "letter": lambda: store.record_dead_letter(a_letter(secrets.token_hex(4))),
        "letters": lambda: store.list_dead_letters(after=None, limit=9),
        "finish": lambda: store.finish_run(claim(store, other).run, [], now=NOW),
        "run": lambda: store.get_run("nightly", "2026-11-21"),
        "runs": lambda: store.list_runs(RunQuery(), after=None, limit=9),
        "summaries": lambda: store.list_summaries(RunQuery(), after=None, limit=9),
    }


def failures(store):
    """Ask everything at once, and return how each ended and after how long."""

    def ask(question):
        began = time.monotonic()
        try:
            question()
            outcome = "answered"
        except UnavailableError as error:
            outcome = error.reason
        return outcome, time.monotonic() - began

    questions = every_question(store)
    with ThreadPoolExecutor(len(questions)) as pool:
        return dict(zip(questions, pool.map(ask, questions.values()), strict=True))


def test_a_stopped_killed_and_restarted_firestore(open_url, monkeypatch):
    """Everything ends in time with 503, and works again when Firestore does, in the same store."""
    with firestore_emulator() as emulator:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator.host)
        store = open_url(emulator.new_url("?shards=2"))
        assert {outcome for outcome, _ in failures(store).values()} == {"answered"}
        threads = threading.active_count()

        emulator.pause()
        stopped = failures(store)
        emulator.resume()
        after_stop = failures(store)
        emulator.kill()
        killed = failures(store)
        emulator.start()
        after_kill = failures(store)

        assert {outcome for outcome, _ in stopped.values()} == {"STORE_UNAVAILABLE"}
        assert max(seconds for _, seconds in stopped.values()) < DEADLINE_SECONDS
        assert {outcome for outcome, _ in after_stop.values()} == {"answered"}
        assert {outcome for outcome, _ in killed.values()} == {"STORE_UNAVAILABLE"}
        assert max(seconds for _, seconds in killed.values()) < 3
        assert {outcome for outcome, _ in after_kill.values()} == {"answered"}
        assert store.count_results(ResultQuery()) == 1
        assert threading.active_count() <= threads + 1


def test_a_long_outage_is_over_when_it_is_over(open_url, firestore, url, monkeypatch):
    """The wait between two tries to connect does not grow with the outage."""
    with proxy_to(("127.0.0.1", firestore.port)) as proxy:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", f"127.0.0.1:{proxy.port}")
        store = open_url(url)
        proxy.refuse()
        began = time.monotonic()
        while time.monotonic() < began + 9:
            with pytest.raises(UnavailableError):
                store.count_results(ResultQuery())

        proxy.resume()
        again = time.monotonic()
        while failures(store)["count"][0] != "answered":
            assert time.monotonic() < again + 20

        assert time.monotonic() - again < 2.5


# --- Rules


def test_the_rules_let_nobody_in_but_servers(open_url, monkeypatch):
    """A phone or a browser, signed in or not, can neither read nor write; our functions do both."""
    with firestore_emulator(ROOT / "firestore.rules") as emulator:
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", emulator.host)
        url = emulator.new_url()
        store = open_url(url)
        store.create_results([a_result(id="secret")])
        claim(store)
        documents = f"/v1/projects/{url.removeprefix('firestore://').replace('/', '/databases/')}/documents"

        answers = {
            (method, path): emulator.request(method, documents + path, body)[0]
            for method, path, body in (
                ("GET", "/results/secret", None),
                ("GET", "/results", None),
                ("GET", "/runs/nightly@2026-11-21", None),
                ("POST", "/results?documentId=mine", "{}"),
                ("PATCH", "/results/secret", "{}"),
                ("DELETE", "/results/secret", None),
                ("POST", ":runQuery", '{"structuredQuery": {"from": [{"collectionId": "results"}]}}'),
            )
        }
        owner = emulator.request("GET", f"{documents}/results/secret", headers={"Authorization": "Bearer owner"})

        assert set(answers.values()) == {403}, answers
        assert owner[0] == 200
        assert store.get_result("secret", NOW) is not None
