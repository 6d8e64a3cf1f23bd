"""Cloud Storage on loopback: the gcp-storage-emulator package, made to honour preconditions, which it ignores."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from gcp_storage_emulator import server
from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import buckets
from gcp_storage_emulator.storage import Storage
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage as client_library


class StorageEmulator:
    """A running emulator.

    Attributes:
        url: For STORAGE_EMULATOR_HOST.
        calls: Method and path of every request.
        before: Called with method and path before each request is answered, so that a test can interfere; a status
            that it returns is the answer.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.before: Callable[[str, str], int | None] = _do_nothing
        self.storage = _Storage(use_memory_fs=True)
        self.one_at_a_time = threading.RLock()
        self._numbers = itertools.count(1)
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread.start()

    def new_bucket(self) -> str:
        """Return the name of an empty bucket, and forget what happened before."""
        self.calls, self.before = [], _do_nothing
        name = f"models-{next(self._numbers)}"
        buckets.create_bucket(name, self.storage)
        return name

    def put(self, bucket: str, name: str, content: bytes) -> None:
        """Make or replace an object, as somebody else would."""
        options = {"api_endpoint": self.url}
        with client_library.Client("any", AnonymousCredentials(), client_options=options) as client:
            client.bucket(bucket).blob(name).upload_from_string(content)

    def names(self, bucket: str) -> list[str]:
        """Return what objects there are."""
        with self.one_at_a_time:
            return sorted(found["name"] for found in self.storage.get_file_list(bucket)[0])

    def content(self, bucket: str, name: str) -> bytes:
        """Return what an object holds."""
        with self.one_at_a_time:
            return bytes(self.storage.get_file(bucket, name))

    def stop(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


@contextmanager
def storage_emulator() -> Iterator[StorageEmulator]:
    """Run an emulator until the block ends."""
    emulator = StorageEmulator()
    try:
        yield emulator
    finally:
        emulator.stop()


def _do_nothing(method: str, path: str) -> None:
    return None


class _PreconditionFailedError(Exception):
    pass


class _Storage(Storage):  # type: ignore[misc]
    """Refuses to read or write an object that is not of the generation that the request under way wants.

    https://cloud.google.com/storage/docs/request-preconditions
    """

    wanted: int | None = None

    def create_file(self, bucket_name: str, file_name: str, *args: Any, **options: Any) -> Any:
        self._check(bucket_name, file_name)
        return super().create_file(bucket_name, file_name, *args, **options)

    def create_resumable_upload(self, bucket_name: str, file_name: str, *args: Any, **options: Any) -> Any:
        self._check(bucket_name, file_name)
        return super().create_resumable_upload(bucket_name, file_name, *args, **options)

    def get_file(self, bucket_name: str, file_name: str, *args: Any, **options: Any) -> Any:
        self._check(bucket_name, file_name)
        return super().get_file(bucket_name, file_name, *args, **options)

    def _check(self, bucket: str, name: str) -> None:
        if self.wanted is None:
            return
        try:
            generation = int(self.get_file_obj(bucket, name)["generation"])
        except NotFound:
            generation = 0
        if generation != self.wanted:
            raise _PreconditionFailedError


class _Handler(server.RequestHandler):  # type: ignore[misc]
    def __init__(self, emulator: StorageEmulator, *args: Any) -> None:
        self._emulator = emulator
        super().__init__(emulator.storage, *args)

    def do_GET(self) -> None:  # noqa: N802 - http.server looks it up by this name
        self._answer("GET")

    def do_POST(self) -> None:  # noqa: N802 - http.server looks it up by this name
        self._answer("POST")

    def do_PUT(self) -> None:  # noqa: N802 - http.server looks it up by this name
        self._answer("PUT")

    def do_DELETE(self) -> None:  # noqa: N802 - http.server looks it up by this name
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        path, _, query = self.path.partition("?")
        self._emulator.calls.append((method, path))
        status = self._emulator.before(method, path)
        wanted = parse_qs(query).get("ifGenerationMatch")
        with self._emulator.one_at_a_time:
            self.storage.wanted = int(wanted[0]) if wanted else None
            try:
                if status is None:
                    return server.Router(self).handle(method)
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
            except _PreconditionFailedError:
                status = HTTPStatus.PRECONDITION_FAILED
            finally:
                self.storage.wanted = None
        response = server.Response(self)
        response.status = HTTPStatus(status)
        response.json({"error": {"code": response.status.value, "message": response.status.phrase}})
        return response.close()
