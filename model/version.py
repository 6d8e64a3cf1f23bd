"""One version of a model: what it says of itself, and the runtime that serves it once it is asked for."""

import time
from importlib.util import find_spec
from pathlib import Path

from shared.errors import ModelError, ServiceError
from shared.lazy import Once
from shared.log import log_event

from . import predictor
from .files import check_saved_model, checked_content
from .manifest import Manifest
from .predictor import Predictor
from .runtimes import Runtime

# What each runtime is imported as, and what it is installed as.
PACKAGES = {"litert": ("ai_edge_litert", "ai-edge-litert"), "tensorflow": ("tensorflow", "tensorflow")}

# How much faster a row must be in a batch of 8 than alone for a model to be batched: a dense model gains several
# times, a convolutional one nothing.
LEAST_SPEEDUP = 1.3


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
        self._predictor = Once(self._build_predictor)

    def sound_manifest(self) -> Manifest:
        """Return what its model.json says.

        Raises:
            ModelError: The version is broken; says why.
        """
        if self.manifest is None:
            raise ModelError(self.broken or f"{self.name}/{self._folder.name}: has no model.json")
        return self.manifest

    def load(self) -> Runtime:
        """Return the runtime that serves this version, built and warmed with its example on the first call.

        It is the first of the manifest's runtimes that is installed.

        Raises:
            ModelError: The version is broken, a file is not what model.json says, or the runtime that
                it needs is not here. The next call tries again.
        """
        return self._runtime()

    def predictor(self) -> Predictor | None:
        """Return the version's own code around predictions, run on the first call; None where it has none.

        Raises:
            ModelError: It does not run, or is not what model.json says.
        """
        return self._predictor()

    def _build_predictor(self) -> Predictor | None:
        where = f"{self.name}/{self._folder.name}/{predictor.FILE}"
        records = self.manifest.files if self.manifest else {}
        if not (self._folder / predictor.FILE).is_file() and predictor.FILE not in records:
            return None
        if records and predictor.FILE not in records:
            raise ModelError(f"{where}: is not one of the files that model.json lists")
        return Predictor(checked_content(self._folder, predictor.FILE, records.get(predictor.FILE)), where)

    def _build(self) -> Runtime:
        where = f"{self.name}/{self._folder.name}"
        manifest = self.sound_manifest()
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
        log_event("INFO", f"{where}: loaded by {installed[0]} in {time.monotonic() - started:.3f} s", model=self.name)
        return self._batched(runtime, manifest)

    def _batched(self, runtime: Runtime, manifest: Manifest) -> Runtime:
        """Batch requests only for a model that was measured to gain by it."""
        measured = manifest.raw.get("batching", {}).get("speedup_at_8", 0)
        if not isinstance(measured, int | float) or measured < LEAST_SPEEDUP:
            return runtime
        from .batching import BatchingRuntime

        return BatchingRuntime(runtime, manifest.signatures, lanes=self._pool_size)

    # Each runtime is imported here and not sooner: scanning must stay cheap, and few versions need TensorFlow.

    def _build_litert(self, manifest: Manifest, where: str) -> Runtime:
        from .runtimes.litert import LiteRTRuntime

        file = manifest.litert_file
        if file is None:
            raise ModelError(f"{where}/model.json: has the runtime litert and no file for it")
        content = checked_content(self._folder, file, manifest.files[file])
        return LiteRTRuntime(
            content,
            manifest.signatures,
            where=f"{where}/{file}",
            pool_size=self._pool_size,
            file_names=manifest.litert_signatures,
        )

    def _build_tensorflow(self, manifest: Manifest, where: str) -> Runtime:
        check_saved_model(self._folder, manifest)
        from .runtimes.tensorflow import TensorFlowRuntime

        return TensorFlowRuntime(self._folder, manifest.signatures, where=where, pool_size=self._pool_size)


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
