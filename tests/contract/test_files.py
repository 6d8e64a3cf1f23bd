"""Files: the same behaviours in a folder and in a bucket."""

import gc
import tracemalloc
import warnings
from pathlib import Path

import pytest

from shared.errors import InvalidRequestError, NotFoundError, ServiceError, UnavailableError
from shared.ports import Files
from shared.stores.objects import open_files, open_objects

MEBIBYTE = 1024 * 1024
LEADING_OUT = ["..", "../x", "a/../x", "a/..", "/x", "/", "", "a//b", "a/", "./x", "a/./b", ".incoming-x", "a/.hidden"]
IMPOSSIBLE = ["a\0b", "a\\b", "a\nb", "\ud800", "x" * 256, "é" * 128, "x/" * 512 + "x", "payloads/aa/x.zz"]


def read(files, name):
    """Return a file's content."""
    with files.open(name) as file:
        return file.read()


class FilesContract:
    """What holds for files wherever they lie; subclasses give `files`, `objects`, and `drafts` to count them."""

    def test_a_file_is_read_as_it_was_written(self, files):
        """Pieces of any size, empty ones too, come back as one; so does nothing at all."""
        files.write("a/b=c/day 1:é.bin", iter([b"one", b"", b"\n\0", b"two"]))
        files.write("empty", [])

        assert read(files, "a/b=c/day 1:é.bin") == b"one\n\0two"
        assert read(files, "empty") == b""

    def test_a_file_replaces_the_one_before(self, files):
        """The name stands for the last content, longer or shorter."""
        files.write("x", [b"first and longer"])
        files.write("x", [b"second"])

        assert read(files, "x") == b"second"
        assert files.names("") == ["x"]

    def test_names_are_those_that_begin_so_sorted(self, files):
        """A prefix is text, not a folder; sorted as text."""
        for name in ("b/2", "b/10", "b/1/x", "bb", "a", "c"):
            files.write(name, [b"."])

        assert files.names("") == ["a", "b/1/x", "b/10", "b/2", "bb", "c"]
        assert files.names("b") == ["b/1/x", "b/10", "b/2", "bb"]
        assert files.names("b/") == ["b/1/x", "b/10", "b/2"]
        assert files.names("b/1") == ["b/1/x", "b/10"]
        assert files.names("d/e/f") == []

    def test_lines_are_read_in_order(self, files):
        """A file is iterated and read by lines, as any other."""
        files.write("x", [b"a\nb", b"b\nc"])

        with files.open("x") as file:
            assert [file.readline(2), *file] == [b"a\n", b"bb\n", b"c"]

    def test_a_file_that_is_not_there_says_so(self, files):
        """404 FILE_NOT_FOUND, also where a folder would have to be a file; removing it is no error."""
        files.write("a/b", [b"."])

        for name in ("a", "x", "a/b/c", "x/y"):
            files.delete(name)
            with pytest.raises(NotFoundError) as raised:
                files.open(name)
            assert raised.value.reason == "FILE_NOT_FOUND"
        assert files.names("") == ["a/b"]

    def test_a_removed_file_is_gone(self, files):
        """And the others are not."""
        files.write("a", [b"."])
        files.write("b", [b"."])

        files.delete("a")

        assert files.names("") == ["b"]

    def test_what_fails_half_way_leaves_what_was_there(self, files, drafts):
        """A file is there whole or not at all: neither a part of the new one, nor something unfinished beside it."""
        files.write("x", [b"old"])

        def breaking():
            yield b"n" * (9 * MEBIBYTE)
            raise RuntimeError("broken")

        for name in ("x", "y"):
            with pytest.raises(RuntimeError, match="broken"):
                files.write(name, breaking())

        assert files.names("") == ["x"]
        assert read(files, "x") == b"old"
        assert drafts() == 0

    @pytest.mark.parametrize("name", [*LEADING_OUT, *IMPOSSIBLE])
    def test_a_name_that_leads_out_is_refused(self, files, name):
        """400 INVALID_NAME, whatever is asked for, and the message shows the name without its control characters."""
        for call in (files.open, files.delete, lambda name: files.write(name, [b"x"])):
            with pytest.raises(InvalidRequestError) as raised:
                call(name)
            assert raised.value.reason == "INVALID_NAME"
            assert raised.value.message.isascii()
            assert "\0" not in raised.value.message

    @pytest.mark.parametrize("prefix", ["..", "../", "/", "a/../", "a\\", "a\0", "payloads/"])
    def test_a_prefix_that_leads_out_is_refused(self, files, prefix):
        """400 INVALID_NAME too."""
        with pytest.raises(InvalidRequestError) as raised:
            files.names(prefix)
        assert raised.value.reason == "INVALID_NAME"

    def test_payloads_of_results_are_no_files(self, files, objects):
        """They lie in the same place, and are neither listed nor reached."""
        objects.put("payloads/aa/x.zz", b"payload")

        assert files.names("") == []

    def test_a_large_file_streams(self, files):
        """64 MiB are written and read with a fraction of that in memory, to the last byte."""
        piece = bytes(range(256)) * 4096
        tracemalloc.start()
        try:
            files.write("x", (piece for _ in range(64)))
            count = 0
            with files.open("x") as file:
                while read_now := file.read(MEBIBYTE):
                    assert read_now == piece
                    count += 1
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

        assert count == 64
        assert peak_bytes < self.most_bytes


class TestFolder(FilesContract):
    """Files in a folder."""

    most_bytes = 8 * MEBIBYTE

    @pytest.fixture
    def place(self, tmp_path) -> Path:
        return tmp_path / "made" / "objects"

    @pytest.fixture
    def files(self, place) -> Files:
        return open_files(f"file://{place}")

    @pytest.fixture
    def objects(self, place):
        return open_objects(f"file://{place}")

    @pytest.fixture
    def drafts(self, place):
        return lambda: sum(path.name.startswith(".") for path in place.rglob("*"))

    def test_what_a_crash_left_behind_is_no_file(self, files, place):
        """A draft has a name that no file can have."""
        files.write("a/x", [b"."])
        (place / "a" / ".incoming-1").write_bytes(b"half")

        assert files.names("a") == ["a/x"]

    def test_a_file_in_the_way_of_a_folder_is_named(self, files):
        """A folder cannot hold both a and a/b."""
        files.write("a/b/c", [b"."])

        for name in ("a/b", "a/b/c/d"):
            with pytest.raises(InvalidRequestError) as raised:
                files.write(name, [b"x"])
            assert raised.value.reason == "INVALID_NAME"
        assert read(files, "a/b/c") == b"."

    def test_a_place_that_cannot_be_reached_is_unavailable(self, tmp_path):
        """503, so that the run is tried again."""
        (tmp_path / "file").write_text("in the way")

        with pytest.raises(UnavailableError):
            open_files(f"file://{tmp_path}/file/objects").write("a", [b"x"])


class TestBucket(FilesContract):
    """Files in a bucket."""

    # The emulator shares this process, and holds the file itself about twice.
    most_bytes = 64 * MEBIBYTE * 5

    @pytest.fixture
    def files(self, cloud_storage):
        _, bucket = cloud_storage
        files = open_files(f"gs://{bucket}/some/where")
        yield files
        files._bucket.close()

    @pytest.fixture
    def objects(self, cloud_storage):
        objects = open_objects(f"gs://{cloud_storage[1]}/some/where")
        yield objects
        objects._bucket.close()

    @pytest.fixture
    def drafts(self):
        return lambda: 0

    def test_a_file_is_one_upload_in_pieces(self, files, cloud_storage):
        """Nine mebibytes go up in pieces of four, and come down so."""
        emulator, _ = cloud_storage
        files.write("x", [b"x" * (9 * MEBIBYTE)])
        sent, emulator.calls[:] = list(emulator.calls), []

        with files.open("x") as file:
            assert file.read(10) == b"x" * 10
        read_calls = list(emulator.calls)

        assert [method for method, path in sent if "/upload/" in path] == ["POST", "PUT", "PUT", "PUT"]
        assert len(read_calls) == 2, "asked for what it is, and for one piece"

    def test_a_file_replaced_while_it_is_read_is_no_mixture(self, files, cloud_storage):
        """Reading on is an error, since the rest would be of another file."""
        files.write("x", [b"a" * (5 * MEBIBYTE)])
        with files.open("x") as file:
            assert file.read(1) == b"a"

            files.write("x", [b"b" * (5 * MEBIBYTE)])

            with pytest.raises(ServiceError):
                file.read(5 * MEBIBYTE)
        # The library leaves the answers of failed downloads to the garbage collector.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    def test_a_bucket_that_does_not_answer_is_unavailable(self, files, cloud_storage):
        """503 on every call, the bucket's name in the log alone."""
        emulator, bucket = cloud_storage
        files._bucket._patience["retry"] = files._bucket._patience["retry"].with_timeout(0.2)
        emulator.before = lambda method, path: 503

        for call in (files.open, files.names, files.delete, lambda name: files.write(name, [b"x"])):
            with pytest.raises(UnavailableError) as raised:
                call("x")
            assert bucket not in raised.value.message
