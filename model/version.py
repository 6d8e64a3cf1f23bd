"""One version of a model: what it says of itself, and the runtime that serves it once it is asked for."""

import os
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from shared.errors import ModelError, ServiceError
from shared.lazy import Once
from shared.log import log_event

from . import predictor
from .manifest import Manifest
from .memory import refuse_too_large
from .predictor import Predictor
from .runtimes import Runtime
from .storage.ports import VersionFiles

if TYPE_CHECKING:
    from .queueing import QueuedRuntime

# What each runtime is imported as, and what it is installed as.
PACKAGES = {"litert": ("ai_edge_litert", "ai-edge-litert"), "tensorflow": ("tensorflow", "tensorflow")}

# How much faster a row must be in a batch of 8 than alone for a model to be batched: a dense model gains several
# times, a convolutional one nothing.
LEAST_SPEEDUP = 1.3


class ModelVersion:
    """A version that a registry found: sound or broken, loaded at most once in a process.

    Args:
        files: The version's.
        manifest: What its model.json says; None when it is broken.
        broken: Why it cannot be served, in a sentence for the operator; None when it can.
        pool_size: How many calls may run in the model at the same time.

    Attributes:
        failure: Why it could not be loaded when that was last tried; None if it could, or was not tried.
        has_answered: Whether a caller of this process had an answer of it; for whoever answers to say.
    """

    def __init__(
        self,
        files: VersionFiles,
        *,
        manifest: Manifest | None = None,
        broken: str | None = None,
        pool_size: int = 2,
    ) -> None:
        self.name = files.model
        self.version = int(files.folder)
        self.manifest = manifest
        self.broken = broken
        self._files = files
        self.failure: str | None = None
        self.has_answered = False
        self._queue: QueuedRuntime | None = None
        self._pool_size = pool_size
        self._runtime = Once(self._build)
        self._predictor = Once(self._build_predictor)

    def sound_manifest(self) -> Manifest:
        """Return what its model.json says.

        Raises:
            ModelError: The version is broken; says why.
        """
        if self.manifest is None:
            raise ModelError(self.broken or f"{self._files.where}: has no model.json")
        return self.manifest

    def load(self) -> Runtime:
        """Return the runtime that serves this version, built and warmed with its example on the first call.

        It is the first of the manifest's runtimes that is installed.

        Raises:
            ModelError: The version is broken, a file is not what model.json says, or the runtime that
                it needs is not here. The next call tries again.
        """
        try:
            runtime = self._runtime()
        except ModelError as error:
            self.failure = error.message
            raise
        self.failure = None
        self._queue = runtime
        return runtime

    def stuck_seconds(self) -> float:
        """Return for how long the model has been at the same calls with room for no other; 0 if it is not loaded."""
        return self._queue.stuck_seconds() if self._queue else 0.0

    def predictor(self) -> Predictor | None:
        """Return the version's own code around predictions, run on the first call; None where it has none.

        Raises:
            ModelError: It does not run, or is not what model.json says.
        """
        return self._predictor()

    def _build_predictor(self) -> Predictor | None:
        where = f"{self._files.where}/{predictor.FILE}"
        records = self.manifest.files if self.manifest else {}
        if predictor.FILE not in self._files and predictor.FILE not in records:
            return None
        if records and predictor.FILE not in records:
            raise ModelError(f"{where}: is not one of the files that model.json lists")
        return Predictor(self._files.read(predictor.FILE, records.get(predictor.FILE)), where)

    def _build(self) -> "QueuedRuntime":
        where = self._files.where
        manifest = self.sound_manifest()
        refuse_too_large(manifest.size_bytes, where)
        known = [name for name in manifest.runtimes if name in PACKAGES]
        if not known:
            raise ModelError(f"{where}: needs the runtime {' or '.join(manifest.runtimes)}, which is unknown here")
        installed = [name for name in known if find_spec(PACKAGES[name][0])]
        if not installed:
            packages = " or ".join(PACKAGES[name][1] for name in known)
            raise ModelError(f"{where}: needs the package {packages}")
        started = time.monotonic()
        build = self._build_litert if installed[0] == "litert" else self._build_tensorflow
        runtime = build(manifest, where)
        if manifest.example:
            _warm(runtime, manifest)
        seconds = time.monotonic() - started
        log_event(
            "INFO",
            f"{where}: loaded by {installed[0]} in {seconds:.3f} s",
            model=self.name,
            version=str(self.version),
            runtime=installed[0],
            load_seconds=round(seconds, 6),
        )
        return self._queued(runtime, manifest)

    def _queued(self, runtime: Runtime, manifest: Manifest) -> "QueuedRuntime":
        """Bound what waits for it, and batch what waits only for a model that was measured to gain by it."""
        from .batching import BatchingRuntime  # not sooner: scanning must stay cheap
        from .queueing import QueuedRuntime

        measured = manifest.raw.get("batching", {}).get("speedup_at_8", 0)
        if isinstance(measured, int | float) and measured >= LEAST_SPEEDUP:
            # The fewer lanes, the larger the batches; the cores left over read requests and write answers.
            lanes = max(1, min(self._pool_size, (os.cpu_count() or 1) // 2))
            return BatchingRuntime(runtime, manifest.signatures, lanes=lanes)
        return QueuedRuntime(runtime, lanes=self._pool_size)

    # Each runtime is imported here and not sooner: scanning must stay cheap, and few versions need TensorFlow.

    def _build_litert(self, manifest: Manifest, where: str) -> Runtime:
        from .runtimes.litert import LiteRTRuntime

        file = manifest.litert_file
        if file is None:
            raise ModelError(f"{where}/model.json: has the runtime litert and no file for it")
        content = self._files.read(file, manifest.files[file])
        return LiteRTRuntime(
            content,
            manifest.signatures,
            where=f"{where}/{file}",
            pool_size=self._pool_size,
            file_names=manifest.litert_signatures,
        )

    def _build_tensorflow(self, manifest: Manifest, where: str) -> Runtime:
        with self._files.saved_model(manifest) as folder:
            from .runtimes.tensorflow import TensorFlowRuntime

            return TensorFlowRuntime(folder, manifest.signatures, where=where, pool_size=self._pool_size)


def _warm(runtime: Runtime, manifest: Manifest) -> None:
    """Answer the example once, so that the first caller does not pay for what is set up on first use.

    An example that fails is the operator's to mend and no reason to refuse requests that would do.
    """
    from .example import example_inputs

    try:
        runtime.run(*example_inputs(manifest))
    except ServiceError as error:
        log_event(
            "WARNING", f"{manifest.name}/{manifest.version}: its example fails, so it starts cold: {error.message}"
        )
