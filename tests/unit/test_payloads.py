"""Large payloads beside the database: what goes where, what is removed and what stays, step by failing step."""

import os
import signal
import stat
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from shared.config import child_environment
from shared.errors import ConfigurationError, IdempotencyError, PayloadTooLargeError, ServiceError, UnavailableError
from shared.records import ResultQuery
from shared.stores import open_store
from shared.stores.objects import open_objects
from shared.stores.objects.folder import FolderObjects
from shared.stores.packing import MAX_PAYLOAD_BYTES, MAX_ROW_BYTES
from shared.stores.payloads import PayloadStore
from tests.contract.factories import NOW, a_result

LARGE = f'"{"x" * MAX_ROW_BYTES}"'


class Faulty:
    """Stands in front of a store and fails a call of one name: before it, or after it was carried out."""

    def __init__(self, inner):
        self.inner = inner
        self.calls = []
        self.failures = {}

    def fail(self, name, error, *, after=False):
        """Let the next call of this name fail."""
        self.failures[name] = (error, after)

    def __getattr__(self, name):
        found = getattr(self.inner, name)
        if not callable(found):
            return found

        def call(*args, **kwargs):
            self.calls.append(name)
            error, after = self.failures.pop(name, (None, False))
            if error and not after:
                raise error
            answer = found(*args, **kwargs)
            if error:
                raise error
            return answer

        return call


@pytest.fixture
def folder(tmp_path):
    """Return where objects are to lie."""
    return tmp_path / "state" / "objects"


@pytest.fixture
def objects(folder):
    """Return an object store that fails when told."""
    return Faulty(FolderObjects(folder))


@pytest.fixture
def rows(tmp_path):
    """Return a database that fails when told."""
    store = open_store(f"sqlite:///{tmp_path}/nightshift.db")
    yield Faulty(store)
    store.close()


@pytest.fixture
def store(rows, objects):
    """Return both together."""
    return PayloadStore(rows, objects)


def files(folder):
    """Return the objects that lie in a folder, and whatever else."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def held(store, result):
    """Return what the database holds of a result."""
    return store.inner.get_result(result.id, NOW)


# What goes where


@pytest.mark.parametrize(
    ("instances", "predictions"),
    [("a" * (MAX_ROW_BYTES - 1), "b"), ("é" * (MAX_ROW_BYTES // 2), ""), ("", "🙂" * (MAX_ROW_BYTES // 4))],
    ids=["ASCII", "two bytes each", "four bytes each"],
)
def test_up_to_900_kib_of_utf8_stay_in_the_row(store, rows, folder, instances, predictions):
    """The limit itself is a row's, one byte more is an object's; what counts is bytes, not characters."""
    small = a_result(instances=instances, predictions=predictions)
    large = a_result(instances=instances, predictions=predictions + "1")

    store.create_results([small, large])

    assert held(rows, small) == small
    assert held(rows, large).payload_object.size_bytes == MAX_ROW_BYTES + 1
    assert (held(rows, large).instances, held(rows, large).predictions) == ("", "")
    assert len(files(folder)) == 1
    assert store.get_result(small.id, NOW) == small
    assert store.get_result(large.id, NOW) == large


@pytest.mark.parametrize("character", ["x", "é"])
def test_up_to_31_mb_are_kept_and_a_byte_more_is_refused_with_the_whole_batch(store, folder, character):
    """What could not be answered again is not taken."""
    text = character * ((MAX_PAYLOAD_BYTES - 1) // len(character.encode()))
    largest = a_result(instances=text, predictions="1" * (MAX_PAYLOAD_BYTES - len(text.encode())))
    store.create_results([largest])

    with pytest.raises(PayloadTooLargeError) as raised:
        store.create_results([a_result(), a_result(instances=LARGE), replace(largest, id="b", instances=text + "1")])

    assert (raised.value.http_status, raised.value.reason) == (413, "PAYLOAD_TOO_LARGE")
    assert store.get_result(largest.id, NOW) == largest
    assert store.count_results(ResultQuery()) == 1
    assert len(files(folder)) == 1


def test_the_largest_go_elsewhere_until_the_rest_fits_into_one_call(rows, objects, folder):
    """A database that bounds a call gets no more, counted in bytes; results keep their order."""
    rows.inner.max_inline_bytes = 1000
    results = [a_result(instances="é" * size, predictions="") for size in (100, 300, 99, 200, 1, 300)]
    store = PayloadStore(rows, objects)

    stored = store.create_results(results)

    assert [held(rows, result).payload_object is not None for result in results] == [
        *(False, True, False, False, False, True)
    ]
    assert [item.result for item in stored] == results
    assert store.list_results(ResultQuery(order="asc"), after=None, limit=9, now=NOW) == sorted(
        results, key=lambda result: result.id
    )


def test_an_object_is_compressed_hashed_and_for_its_owner_alone(store, rows, folder):
    """The file holds instances and predictions, one after the other."""
    result = a_result(instances=LARGE, predictions="[2]")
    store.create_results([result])

    (file,) = files(folder)

    assert zlib.decompress(file.read_bytes()).decode() == LARGE + "[2]"
    assert file.stat().st_size < len(LARGE) / 50
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert held(rows, result).payload_object.name == str(file.relative_to(folder))
    assert held(rows, result).payload_object.instances_bytes == len(LARGE)


# Reading


@pytest.mark.parametrize(
    "spoil",
    [
        lambda mine, other: mine.unlink(),
        lambda mine, other: mine.write_bytes(b""),
        lambda mine, other: mine.write_bytes(mine.read_bytes()[:-20]),
        lambda mine, other: mine.write_bytes(mine.read_bytes()[: len(mine.read_bytes()) // 2]),
        lambda mine, other: mine.write_bytes(other.read_bytes()),
        lambda mine, other: mine.write_bytes(b"not compressed"),
        lambda mine, other: mine.write_bytes(zlib.compress(zlib.decompress(mine.read_bytes()) + b"1")),
        lambda mine, other: mine.write_bytes(zlib.compress(b"1" * 100_000_000)),
    ],
    ids=["missing", "empty", "cut", "half", "swapped", "no zlib", "a byte more", "a bomb"],
)
def test_a_payload_that_is_not_what_was_stored_is_lost(store, folder, spoil):
    """A clear failure that names the result, never half a payload nor another's; the other result is unharmed."""
    mine, other = (a_result(id=name, instances=LARGE, predictions=f'"{name}{os.urandom(99).hex()}"') for name in "ab")
    store.create_results([mine, other])
    spoil(*files(folder))

    for read in (lambda: store.get_result("a", NOW), lambda: list_all(store)):
        with pytest.raises(ServiceError) as raised:
            read()
        assert (raised.value.http_status, raised.value.reason) == (500, "PAYLOAD_LOST")
        assert raised.value.metadata == {"id": "a"}
    assert store.get_result("b", NOW) == other
    assert [result.id for result in list_all(store, payloads=False)] == ["b", "a"]
    assert store.get_result("a", NOW, payloads=False).model == "digits"


def list_all(store, **kwargs):
    """List everything there is."""
    return store.list_results(ResultQuery(), after=None, limit=9, now=NOW, **kwargs)


def test_no_bit_of_an_object_may_flip(store, folder):
    """Any single bit: the payload is lost, or the bit is one that its content does not hang on."""
    result = a_result(instances=os.urandom(500_000).hex(), predictions="[2]")
    store.create_results([result])
    (file,) = files(folder)
    content = file.read_bytes()
    answers = []

    for position in range(0, len(content) * 8, len(content) * 8 // 99):
        flipped = bytearray(content)
        flipped[position // 8] ^= 1 << position % 8
        file.write_bytes(flipped)
        answers.append(answer_of(store, result))

    assert {answer == result for answer in answers if answer != "PAYLOAD_LOST"} <= {True}
    assert answers.count("PAYLOAD_LOST") > 90


def answer_of(store, result):
    """Return what a reader gets: the result, or the reason of the failure."""
    try:
        return store.get_result(result.id, NOW)
    except ServiceError as error:
        return error.reason


def test_without_payloads_no_object_is_touched(store, objects):
    """Neither by id nor in a list."""
    result = a_result(instances=LARGE)
    store.create_results([result])
    objects.calls.clear()

    assert store.get_result(result.id, NOW, payloads=False).instances == ""
    assert [found.id for found in list_all(store, payloads=False)] == [result.id]
    assert objects.calls == []


def test_a_page_fetches_no_more_than_it_may_hold(store, objects):
    """max_chars bounds what is in memory, eight fetches at once or not; the rest follows."""
    store.create_results([a_result(instances=f'"{"é" * 1_500_000}"') for _ in range(20)])
    objects.calls.clear()

    found = store.list_results(ResultQuery(), after=None, limit=500, now=NOW, max_chars=9_000_000)

    assert len(found) == 3
    assert objects.calls == ["get"] * 3


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "a/..", "..", ".", "", "a//b", "a\0", "a/", "é"])
def test_a_name_never_leads_out_of_the_folder(folder, tmp_path, name):
    """Whatever a row says: nothing outside is read, written or removed."""
    outside = tmp_path / "state" / "x"
    (folder / "a").mkdir(parents=True)
    outside.write_bytes(b"mine")
    objects = FolderObjects(folder)

    for attempt in (lambda: objects.get(name), lambda: objects.put(name, b"evil"), lambda: objects.delete(name)):
        with pytest.raises(ServiceError) as raised:
            attempt()
        assert raised.value.reason == "PAYLOAD_LOST"
    assert outside.read_bytes() == b"mine"


# Writing, with one step failing


def test_a_replay_leaves_the_object_it_did_not_need(store, folder):
    """The first object stays the result's; what came the second time is gone."""
    result = a_result(instances=LARGE)
    store.create_results([result])
    before = files(folder)

    (again,) = store.create_results([replace(result, instances=LARGE + " ")])

    assert again.replayed
    assert files(folder) == before
    assert store.get_result(result.id, NOW) == result


def test_a_conflict_removes_its_objects_and_nobody_elses(store, folder):
    """A batch that is refused leaves nothing, also of its other results."""
    result = a_result(instances=LARGE)
    store.create_results([result])
    before = files(folder)

    with pytest.raises(IdempotencyError):
        store.create_results([a_result(instances=LARGE), replace(result, payload_hash="other")])

    assert files(folder) == before
    assert store.get_result(result.id, NOW) == result


def test_an_id_twice_in_one_batch_keeps_one_object(store, folder):
    """The second of them replays the first."""
    result = a_result(instances=LARGE)

    stored = store.create_results([result, result])

    assert [item.replayed for item in stored] == [False, True]
    assert len(files(folder)) == 1
    assert store.get_result(result.id, NOW) == result


@pytest.mark.parametrize(
    "failure", [UnavailableError("gone"), ServiceError("the database failed", reason="STORE_FAILED")]
)
@pytest.mark.parametrize("after", [False, True], ids=["nothing was kept", "everything was kept"])
def test_an_object_stays_where_the_outcome_is_unknown(store, rows, folder, failure, after):
    """The row may point at it; the same call again gives one result with its payload."""
    result = a_result(instances=LARGE)
    rows.fail("create_results", failure, after=after)

    with pytest.raises(ServiceError):
        store.create_results([result])
    (again,) = store.create_results([result])

    assert again.replayed is after
    assert store.get_result(result.id, NOW) == result
    assert store.count_results(ResultQuery()) == 1
    assert len(files(folder)) == (1 if after else 2)


def test_a_database_that_is_full_leaves_no_object(store, rows, folder):
    """Nothing was kept for certain, and the objects may lie on the same disk."""
    rows.fail("create_results", UnavailableError("full", reason="STORE_FULL"))

    with pytest.raises(UnavailableError):
        store.create_results([a_result(instances=LARGE)])

    assert files(folder) == []


def test_a_database_that_is_down_is_noticed_before_an_object_is_written(store, rows, objects):
    """Callers try again, and each time would leave one more."""
    rows.fail("get_result", UnavailableError("gone"))

    with pytest.raises(UnavailableError):
        store.create_results([a_result(instances=LARGE)])

    assert objects.calls == []
    assert "create_results" not in rows.calls


def test_a_database_that_recognises_its_own_row_keeps_the_object(store, rows, folder):
    """A client that tried again by itself finds what it had written, which is no replay of somebody else's."""
    result = a_result(instances=LARGE)
    create = rows.inner.create_results
    rows.inner.create_results = lambda results: [create(results), create(results)][1]

    store.create_results([result])

    assert len(files(folder)) == 1
    assert store.get_result(result.id, NOW) == result


@pytest.mark.parametrize("count", [1, 12])
def test_an_object_store_that_fails_keeps_nothing(store, rows, objects, folder, count):
    """No row without its payload, and the objects of the batch that were written are removed."""
    objects.fail("put", UnavailableError("gone", reason="STORAGE_UNAVAILABLE"))

    with pytest.raises(UnavailableError) as raised:
        store.create_results([a_result(), *(a_result(instances=LARGE) for _ in range(count))])

    assert raised.value.reason == "STORAGE_UNAVAILABLE"
    assert "create_results" not in rows.calls
    assert files(folder) == []


def test_an_object_that_cannot_be_removed_changes_no_answer(store, objects, folder, capfd):
    """It stays, and the log says so once; nobody waits for the others."""
    results = [a_result(instances=LARGE) for _ in range(3)]
    store.create_results(results)
    objects.calls.clear()
    objects.fail("delete", UnavailableError("gone"))

    stored = store.create_results(results)

    assert all(item.replayed for item in stored)
    assert objects.calls.count("delete") == 1
    assert "objects without a row stay" in capfd.readouterr().out
    assert len(files(folder)) == 6


_OTHER_PROCESS = """
import os, resource, signal, sys
from pathlib import Path
from shared.stores import open_store
from shared.errors import ServiceError
from shared.stores.objects.folder import FolderObjects
from shared.stores.payloads import PayloadStore
from tests.contract.factories import NOW, a_result
rows, objects = open_store(f"sqlite:///{sys.argv[1]}/nightshift.db"), FolderObjects(Path(sys.argv[1], "state/objects"))
store = PayloadStore(rows, objects)
result = a_result(id="kept", payload_hash="same", instances="x" * 1_000_000 + os.urandom(100_000).hex())
"""


def other_process(tmp_path, code):
    """Run code in a process that has the same store."""
    return subprocess.run(
        [sys.executable, "-c", _OTHER_PROCESS + code, str(tmp_path)],
        env=child_environment({}),
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("step", "left", "replayed"),
    [
        ("os.rename = Path.rename = lambda *_: os.kill(os.getpid(), signal.SIGKILL)", 1, False),
        ("rows.create_results = lambda _: os.kill(os.getpid(), signal.SIGKILL)", 1, False),
        ("create = rows.create_results; rows.create_results = lambda r: (create(r), os.kill(os.getpid(), 9))", 1, True),
    ],
    ids=["object not named", "object without row", "row without answer"],
)
def test_a_process_killed_at_any_step_leaves_a_store_that_takes_the_call_again(
    store, tmp_path, folder, step, left, replayed
):
    """kill -9 between object and row: no row; the retry keeps the result whole, once."""
    killed = other_process(tmp_path, step + "\nstore.create_results([result])")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(files(folder)) == left
    assert store.count_results(ResultQuery()) == replayed

    (again,) = store.create_results([a_result(id="kept", payload_hash="same", instances=LARGE)])

    assert again.replayed is replayed
    assert (store.get_result("kept", NOW).instances == LARGE) is not replayed
    assert store.count_results(ResultQuery()) == 1


def test_a_full_disk_is_store_full_and_leaves_nothing(tmp_path, folder, store):
    """503 with a minute to wait; with room again the same call works."""
    code = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
try:
    store.create_results([result])
except ServiceError as error:
    print(error.http_status, error.reason, error.headers["Retry-After"])
"""
    rows_made = store.count_results(ResultQuery())

    answer = other_process(tmp_path, code)

    assert (answer.stdout, rows_made) == ("503 STORE_FULL 60\n", 0)
    assert files(folder) == []
    assert not store.create_results([a_result(id="kept", instances=LARGE)])[0].replayed


@pytest.mark.parametrize("place", ["file/objects", "/proc/objects", "/sys/objects"])
def test_a_folder_that_cannot_be_written_is_unavailable(tmp_path, place):
    """503, whatever is in its way; nothing is kept."""
    (tmp_path / "file").write_text("in the way")
    objects = FolderObjects(tmp_path / place)

    with pytest.raises(UnavailableError) as raised:
        objects.put("a/b", b"content")

    assert raised.value.reason == "STORAGE_UNAVAILABLE"


def test_a_folder_that_cannot_be_read_is_unavailable_and_not_lost(tmp_path):
    """What may come back is not given up."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UnavailableError):
        FolderObjects(tmp_path / "file").get("a/b")


def test_an_object_is_on_the_disk_before_its_name_and_its_name_before_the_answer(folder, monkeypatch):
    """Content, then name, then every folder on the path up to one that was there before."""
    steps = []
    fsync, rename = os.fsync, Path.rename
    paths = {}

    def noted_fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        steps.append(("sync", "draft" if path.name.startswith(".incoming-") else path))
        fsync(descriptor)

    def noted_rename(path, target):
        steps.append(("name", paths.setdefault("target", target)))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)

    FolderObjects(folder).put("a/b/c", b"content")

    target = folder / "a/b/c"
    folders = [folder / "a/b", folder / "a", folder, folder.parent, folder.parent.parent]
    assert steps == [("sync", "draft"), ("name", target), *(("sync", each) for each in folders)]


def test_a_name_that_did_not_reach_the_disk_is_taken_back(folder, monkeypatch):
    """What was not kept for certain is not there."""
    fsync = os.fsync

    def fails_for_folders(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(5, "Input/output error")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails_for_folders)

    with pytest.raises(UnavailableError):
        FolderObjects(folder).put("a", b"content")

    assert files(folder) == []


# URLs


@pytest.mark.parametrize("url", ["", "objects", "file://host/x", "s3://bucket/x", "gs://A/x", "file:x"])
def test_a_url_of_no_object_store_is_a_configuration_error(url):
    """Named before anything is stored."""
    with pytest.raises(ConfigurationError):
        open_objects(url)
