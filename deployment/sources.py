"""What is uploaded for each function, and whether its models need TensorFlow."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from functions._staging.stage import stage
from shared.config import ROOT
from shared.errors import ConfigurationError, ServiceError

from .digests import folder_digest
from .environment import Environment
from .gcloud import Gcloud
from .service_files import Service


@dataclass(frozen=True, slots=True)
class Source:
    """A function as it is uploaded.

    Attributes:
        folder: What is uploaded, and nothing else.
        digest: Of it, and of the Python that it is built for.
        tensorflow: Model versions that LiteRT cannot serve, such as `text/2`; with any, TensorFlow is installed.
    """

    folder: Path
    digest: str
    tensorflow: tuple[str, ...] = ()


def make_source(service: Service, environment: Environment, gcloud: Gcloud, root: Path = ROOT) -> Source:
    """Lay out a function under build/, as it is uploaded.

    Args:
        service: The function.
        environment: Says which Python, and where the models are.
        gcloud: Reads the manifests of models that are in a bucket.
        root: The repository.

    Raises:
        ConfigurationError: The function includes what is not there.
        ServiceError: The models' bucket cannot be read.
    """
    needing = tuple(_needing_tensorflow(environment, gcloud, root)) if service.models else ()
    # One folder an environment: two deployments at a time are of two environments.
    place = root / "build" / environment.name / service.function
    folder = stage(service.function, place, root, tensorflow=bool(needing))
    return Source(folder, folder_digest(folder, also=environment.python_runtime), needing)


def _needing_tensorflow(environment: Environment, gcloud: Gcloud, root: Path) -> Iterable[str]:
    if environment.models_dir:
        manifests = _manifests_of_bucket(environment.models_dir.rstrip("/"), gcloud)
    else:
        found = sorted((root / "model").glob("*/[0-9]*/"))
        manifests = {f"{path.parent.name}/{path.name}": _manifest(path / "model.json") for path in found}
    return [version for version, manifest in manifests.items() if "litert" not in manifest.get("runtimes", ())]


def _manifests_of_bucket(url: str, gcloud: Gcloud) -> dict[str, dict[str, Any]]:
    """Return the manifest of each version in a bucket; empty for one that has none."""
    try:
        lines = gcloud.run(("storage", "ls", f"{url}/*/*/**")).split()
    except ServiceError as error:
        # An empty bucket, or one that the plan is yet to make.
        if "matched no objects" in error.message or "not found: 404" in error.message:
            return {}
        raise
    paths = [line.removeprefix(f"{url}/") for line in lines]
    versions = {"/".join(path.split("/")[:2]) for path in paths if path.split("/")[1].isdigit()}
    found: dict[str, dict[str, Any]] = {}
    for version in sorted(versions):
        described = f"{version}/model.json" in paths
        where = f"{url}/{version}/model.json"
        found[version] = _read(gcloud.run(("storage", "cat", where)), version) if described else {}
    return found


def _manifest(path: Path) -> dict[str, Any]:
    return _read(path.read_text("utf-8"), f"{path.parent.parent.name}/{path.parent.name}") if path.exists() else {}


def _read(text: str, version: str) -> dict[str, Any]:
    try:
        return dict(json.loads(text))
    except ValueError as error:
        raise ConfigurationError([f"model {version}: model.json: expected a JSON object, {error}"]) from None
