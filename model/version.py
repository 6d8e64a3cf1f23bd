"""One version of a model: what it says of itself, and the runtime that serves it once it is asked for."""

import hashlib
import os
from pathlib import Path

from shared.errors import ModelError
from shared.lazy import Once

from .manifest import Manifest
from .runtimes import Runtime


class ModelVersion:
    """A version that a registry found: sound or broken, loaded at most once in a process.

    Args:
        folder: Where its files lie: `<models folder>/<name>/<version>`.
        manifest: What its model.json says; None when it is broken.
        broken: Why it cannot be served, in a sentence for the operator; None when it can.
        pool_size: How many calls may run in the model at the same time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        manifest: Manifest | None = None,
        broken: str | None = None,
        pool_size: int = 2,
    ) -> None:
        self.name = folder.parent.name
        self.version = int(folder.name)
        self.manifest = manifest
        self.broken = broken
        self._folder = folder
        self._pool_size = pool_size
        self._runtime = Once(self._build)

    def load(self) -> Runtime:
        """Return the runtime that serves this version, building it on the first call.

        Raises:
            ModelError: The version is broken, a file is not what model.json says, or the runtime that
                it needs is not here. The next call tries again.
        """
        return self._runtime()

    def _build(self) -> Runtime:
        where = f"{self.name}/{self._folder.name}"
        if self.manifest is None:
            raise ModelError(self.broken or f"{where}: has no model.json")
        file = self.manifest.litert_file
        if file is None:
            runtimes = " or ".join(self.manifest.runtimes)
            raise ModelError(f"{where}: needs the runtime {runtimes}; only litert can serve it here")
        try:
            from .runtimes.litert import LiteRTRuntime  # not sooner: scanning must stay cheap
        except ImportError as error:
            raise ModelError(f"{where}: needs the package ai-edge-litert: {error}") from error
        return LiteRTRuntime(
            self._read(self.manifest, file),
            self.manifest.signatures,
            where=f"{where}/{file}",
            pool_size=self._pool_size,
        )

    def _read(self, manifest: Manifest, file: str) -> bytes:
        """Return a file's content, which must be what the manifest recorded."""
        where, path = f"{self.name}/{self._folder.name}/{file}", self._folder / file
        recorded = manifest.files[file]
        if not path.resolve().is_relative_to(self._folder.parent.parent):
            raise ModelError(f"{where}: leads out of the models folder")
        try:
            with path.open("rb") as stream:
                size_bytes = os.fstat(stream.fileno()).st_size
                if size_bytes != recorded.size_bytes:
                    raise ModelError(f"{where}: is {size_bytes} bytes, model.json says {recorded.size_bytes}")
                content = stream.read()
        except OSError as error:
            raise ModelError(f"{where}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != recorded.sha256:
            raise ModelError(f"{where}: sha256 does not match model.json")
        return content
