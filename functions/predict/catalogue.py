"""`GET /v1/models`: what there is to be asked, in one answer; and for each version, what one could ask it."""

from typing import Any

from model.manifest import Manifest, Signature, TensorSpec
from model.registry import ModelVersion, Registry
from shared.routing import Request, Response, json_response

from .answering import version_headers


def list_models(registry: Registry, default_model: str | None) -> Response:
    """Answer every model with its versions, the newest first; a broken one says why.

    Args:
        registry: The models there are.
        default_model: The model of `POST /`; None: the only one there is.
    """
    default = registry.default_name(default_model)
    return json_response({"default_model": default, "models": [_model(registry, name) for name in registry.names()]})


def example(found: ModelVersion) -> Response:
    """Answer a request that a version can be sent as it stands, and single instances with what they are.

    Raises:
        ModelError: The version is broken.
    """
    manifest = found.sound_manifest()
    samples = manifest.raw.get("samples")
    return json_response(
        {
            "model": found.name,
            "version": str(found.version),
            "example": manifest.example or None,
            "samples": samples if isinstance(samples, list) else [],
        },
        headers=version_headers(found),
    )


def version_of(registry: Registry, request: Request) -> ModelVersion:
    """Return the version that a path of TensorFlow Serving's API names: by number, by label, or the default.

    Raises:
        ServiceError: See `Registry.find`.
    """
    version = request.values["version"]
    return registry.find(request.values["model"], int(version) if version else None, request.values["label"])


def _model(registry: Registry, name: str) -> dict[str, Any]:
    default = registry.default_version(name)
    return {
        "name": name,
        "default_version": None if default is None else str(default),
        "labels": {label: str(version) for label, version in registry.labels(name).items()},
        "versions": [_version(version) for version in reversed(registry.versions(name))],
    }


def _version(version: ModelVersion) -> dict[str, Any]:
    problem = version.broken or version.failure or ""
    known = {"version": str(version.version), "state": "END" if problem else "AVAILABLE", "problem": problem}
    return known | (_described(version.manifest) if version.manifest else {})


def _described(manifest: Manifest) -> dict[str, Any]:
    interface = manifest.raw.get("interface")
    return {
        "description": manifest.description,
        "created_at": manifest.raw.get("created_at"),
        "runtimes": list(manifest.runtimes),
        "size_bytes": manifest.size_bytes,
        "metrics": manifest.metrics,
        "summary": manifest.summary,
        "interface": interface if isinstance(interface, dict) else {},
        "signatures": {name: _signature(signature) for name, signature in manifest.signatures.items()},
    }


def _signature(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": [_tensor(spec, name) for name, spec in signature.inputs.items()],
        "outputs": [_tensor(spec, name) for name, spec in signature.outputs.items()],
    }


def _tensor(spec: TensorSpec, name: str) -> dict[str, Any]:
    shape = None if spec.unknown_rank else [-1 if size is None else size for size in spec.shape]
    return {"name": name, "dtype": spec.dtype, "shape": shape, "minimum": spec.minimum, "maximum": spec.maximum}
