"""Whether models answer, found out by having each answer once: what a startup probe waits for."""

from collections.abc import Sequence

from model.example import example_inputs
from model.registry import ModelVersion, Registry
from shared.errors import ServiceError, UnavailableError


class Readiness:
    """Loads versions and tries them; what answered once is not tried again.

    Probes come often, and predictions have more use of the time.

    Args:
        stuck_seconds: A version whose every place has been at the same request for longer is not ready.
    """

    def __init__(self, stuck_seconds: float) -> None:
        self._stuck_seconds = stuck_seconds
        self._answered: set[ModelVersion] = set()

    def of_all(self, registry: Registry) -> tuple[bool, dict[str, str]]:
        """Tell whether every model has a version that answers, and why others do not, by <model>/<version>."""
        states = [self.of_model(registry, name) for name in registry.names()]
        return all(ready for ready, _ in states), {key: why for _, broken in states for key, why in broken.items()}

    def of_model(self, registry: Registry, name: str) -> tuple[bool, dict[str, str]]:
        """Tell the same of one model: its default version is tried first, then the highest.

        Raises:
            NotFoundError: There is no such model.
        """
        default = registry.default_version(name)
        return self.of_versions(sorted(registry.versions(name), key=lambda version: version.version == default))

    def of_versions(self, versions: Sequence[ModelVersion]) -> tuple[bool, dict[str, str]]:
        """Tell whether one of these versions answers, the last tried first, and why others do not."""
        broken = {_key(version): version.broken for version in versions if version.broken}
        for version in reversed(versions):
            if version.broken:
                continue
            try:
                self._try(version)
                return True, broken
            except ServiceError as error:
                broken[_key(version)] = error.message
        return False, broken

    def _try(self, version: ModelVersion) -> None:
        """Load a version and run its example; one without an example is ready when it is loaded.

        Raises:
            ServiceError: It does not load, does not answer, or has been at the same calls for too long.
        """
        if version.stuck_seconds() > self._stuck_seconds:
            raise UnavailableError(f"MODEL_STUCK: at the same requests for over {self._stuck_seconds:g} seconds")
        if version in self._answered:
            return
        runtime = version.load()
        if version.manifest is not None and version.manifest.example:
            runtime.run(*example_inputs(version.manifest))
        self._answered.add(version)


def _key(version: ModelVersion) -> str:
    return f"{version.name}/{version.version}"
