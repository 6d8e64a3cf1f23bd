"""The store contract with payloads beside the database: in a folder, and in a bucket."""

import gc
import warnings
from dataclasses import replace
from datetime import timedelta

import pytest

from shared.errors import ServiceError, UnavailableError
from shared.records import ResultQuery
from shared.stores import open_results, open_store
from shared.stores.objects.bucket import BucketObjects
from shared.stores.payloads import PayloadStore
from tests.contract.factories import NOW, a_result, in_parallel
from tests.contract.result_contract import ResultContract

LARGE = f'"{"x" * 1_000_000}"'


def disconnect(objects):
    """Close the client's connections; a function keeps its own until it ends."""
    objects._bucket.close()
    # The library leaves the answers of failed downloads to the garbage collector.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def hurry(store):
    """Let the client give up soon on what it tries again."""
    patience = store._objects._bucket._patience
    patience["retry"] = patience["retry"].with_timeout(0.3)


class LargeContract(ResultContract):
    """What holds for small results holds for large ones, and nothing of the difference shows."""

    def test_large_and_small_payloads_list_alike(self, store):
        """Each comes back whole, in the query's order, as if it lay in its row."""
        results = [
            a_result(id=name, instances=LARGE[: size - 1] + '"') for name, size in zip("abcd", SIZES, strict=True)
        ]

        stored = store.create_results(results)

        assert [item.result for item in stored] == results
        assert store.list_results(ResultQuery(order="asc"), after=None, limit=9, now=NOW) == results
        assert store.get_result("b", NOW) == results[1]

    def test_without_payloads_the_rest_comes_back(self, store, objects):
        """Instances and predictions are empty then, wherever they lie; what is found, and the rest, is the same."""
        results = [
            a_result(id="a", labels={"a": "b"}, expires_at=NOW + timedelta(days=1)),
            a_result(id="b", created_at=NOW + timedelta(days=1), instances=LARGE),
        ]
        store.create_results(results)
        bare = [replace(result, instances="", predictions="") for result in results]

        listed = store.list_results(ResultQuery(order="asc"), after=None, limit=9, now=NOW, payloads=False)
        found = [store.get_result(result.id, NOW, payloads=False) for result in results]

        assert [replace(result, payload_object=None) for result in listed] == bare
        assert found == listed
        assert len(objects()) == 1

    def test_threads_creating_one_large_result_keep_one_object(self, store, objects):
        """Of simultaneous creates one keeps; the others' objects are gone, and its own is not."""
        result = a_result(instances=LARGE)

        answers = in_parallel(8, lambda n: store.create_results([replace(result, predictions=str(n))])[0])

        (kept,) = [n for n, answer in enumerate(answers) if not answer.replayed]
        assert store.get_result(result.id, NOW).predictions == str(kept)
        assert store.get_result(result.id, NOW).instances == LARGE
        assert len(objects()) == 1

    def test_large_results_that_conflict_leave_one_whole(self, store, objects):
        """Whoever comes first; the others are refused and leave nothing."""
        result = a_result(instances=LARGE)

        def create(n):
            try:
                return store.create_results([replace(result, predictions=str(n), payload_hash=str(n))])[0].result
            except ServiceError as error:
                return error.reason

        answers = in_parallel(8, create)

        assert answers.count("IDEMPOTENCY_KEY_REUSED") == 7
        assert store.get_result(result.id, NOW) in answers
        assert len(objects()) == 1


SIZES = [1_000_000, 10, 950_000, 900_000]


class TestSqliteAndFolder(LargeContract):
    """A laptop's store."""

    @pytest.fixture
    def objects(self, tmp_path):
        """Return a lister of the objects there are."""
        return lambda: [path for path in (tmp_path / "objects").rglob("*") if path.is_file()]

    @pytest.fixture
    def store(self, tmp_path):
        """Return a store in fresh folders."""
        store = open_results(f"sqlite:///{tmp_path}/nightshift.db", f"file://{tmp_path}/objects")
        yield store
        store.close()


class TestSqliteAndBucket(LargeContract):
    """Payloads in Cloud Storage."""

    @pytest.fixture
    def objects(self, cloud_storage):
        """Return a lister of the objects there are."""
        emulator, name = cloud_storage
        return lambda: emulator.names(name)

    @pytest.fixture
    def store(self, tmp_path, cloud_storage):
        """Return a store in a fresh database and an empty bucket."""
        rows = open_store(f"sqlite:///{tmp_path}/nightshift.db")
        objects = BucketObjects(f"gs://{cloud_storage[1]}/a/prefix")
        yield PayloadStore(rows, objects)
        rows.close()
        disconnect(objects)

    @pytest.mark.parametrize("spoil", ["missing", "cut", "swapped"])
    def test_an_object_that_is_not_what_was_stored_is_lost(self, store, objects, cloud_storage, spoil):
        """As in a folder: a clear failure for this result alone."""
        emulator, bucket = cloud_storage
        store.create_results([a_result(id=name, instances=LARGE + name) for name in "ab"])
        mine, other = objects()
        content = emulator.content(bucket, other if spoil == "swapped" else mine)
        emulator.storage.delete_file(bucket, mine)
        if spoil != "missing":
            emulator.put(bucket, mine, content if spoil == "swapped" else content[:500])

        with pytest.raises(ServiceError) as raised:
            store.get_result("a", NOW)

        assert (raised.value.http_status, raised.value.reason) == (500, "PAYLOAD_LOST")
        assert store.get_result("b", NOW).instances == LARGE + "b"

    def test_an_upload_whose_answer_was_lost_is_recognised(self, cloud_storage):
        """The client tries again by itself, and is told that there is such an object: its own."""
        objects = BucketObjects(f"gs://{cloud_storage[1]}")

        for _ in range(2):
            objects.put("payloads/a/b", b"content")

        assert objects.get("payloads/a/b") == b"content"
        disconnect(objects)

    def test_a_bucket_that_does_not_answer_keeps_nothing(self, store, cloud_storage):
        """503, no row, and the same call works once it does."""
        emulator, _ = cloud_storage
        hurry(store)
        emulator.before = lambda method, path: 503
        result = a_result(instances=LARGE)

        with pytest.raises(UnavailableError):
            store.create_results([result])

        assert store.count_results(ResultQuery()) == 0
        emulator.before = lambda method, path: None
        assert not store.create_results([result])[0].replayed
        assert store.get_result(result.id, NOW) == result

    # The library leaves the answers of failed downloads to the garbage collector, which may come at any time.
    @pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
    def test_a_bucket_that_does_not_answer_a_reader_has_lost_nothing(self, store, cloud_storage):
        """What may come back is not given up."""
        emulator, _ = cloud_storage
        hurry(store)
        store.create_results([a_result(id="a", instances=LARGE)])
        emulator.before = lambda method, path: 503

        with pytest.raises(UnavailableError):
            store.get_result("a", NOW)

        assert store.get_result("a", NOW, payloads=False).id == "a"
