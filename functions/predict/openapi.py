"""`GET /openapi.json`: what predict takes and answers, written from the very signatures that check requests."""

from collections.abc import Mapping
from typing import Any

from model.manifest import Signature, TensorSpec
from model.registry import ModelVersion, Registry

_INTEGER_RANGES = {
    f"{sign}int{bits}": (0 if sign else -(2 ** (bits - 1)), 2 ** (bits if sign else bits - 1) - 1)
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}
_BASE64 = {
    "type": "object",
    "properties": {"b64": {"type": "string", "contentEncoding": "base64"}},
    "required": ["b64"],
    "additionalProperties": False,
}
_ERROR = {
    "description": "What was expected, what came, and where",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}


def describe(registry: Registry, api_version: str) -> dict[str, Any]:
    """Return an OpenAPI 3.1 document of the predict paths of every model that can be served.

    Args:
        registry: The models there are.
        api_version: Nightshift's own version.
    """
    paths: dict[str, Any] = {}
    for name in registry.names():
        sound = [version for version in registry.versions(name) if version.manifest and not version.broken]
        if sound:
            paths[f"/v1/models/{name}:predict"] = {"post": _predict(registry.find(name), f"predict_{name}")}
        for version in sound:
            path = f"/v1/models/{name}/versions/{version.version}:predict"
            paths[path] = {"post": _predict(version, f"predict_{name}_{version.version}")}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Nightshift predict", "version": api_version},
        "paths": paths | {"/health": {"get": {"operationId": "health", "responses": {"200": {"description": "Up"}}}}},
    }


def _predict(version: ModelVersion, operation_id: str) -> dict[str, Any]:
    manifest = version.manifest
    assert manifest is not None  # only sound versions are described
    signatures = manifest.signatures
    requests = [form for name, signature in signatures.items() for form in _request_forms(name, signature)]
    answers = [form for signature in signatures.values() for form in _answer_forms(signature)]
    content: dict[str, Any] = {"schema": {"oneOf": requests} if len(requests) > 1 else requests[0]}
    if manifest.example:
        content["example"] = dict(manifest.example)
    return {
        "operationId": operation_id,
        "summary": manifest.description or f"Predict with {version.name} {version.version}",
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": {
                "description": "The predictions, in the form that was asked for",
                "headers": {
                    "X-Nightshift-Model": {"schema": {"type": "string"}},
                    "X-Nightshift-Version": {"schema": {"type": "string"}},
                },
                "content": {"application/json": {"schema": {"anyOf": answers}}},
            },
            **dict.fromkeys(("400", "404", "413", "503"), _ERROR),
        },
    }


def _request_forms(name: str, signature: Signature) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [_members({key: _tensor(spec, 1) for key, spec in signature.inputs.items()})]
    columns: list[dict[str, Any]] = [
        _members({key: _tensor(spec, 0) for key, spec in signature.inputs.items()}) | {"additionalProperties": True}
    ]
    if len(signature.inputs) == 1:
        (spec,) = signature.inputs.values()
        rows.append(_tensor(spec, 1))
        columns.append(_tensor(spec, 0))
    signature_name = {"type": "string", "const": name}
    named = [] if name == "serving_default" else ["signature_name"]
    return [
        {
            "type": "object",
            "properties": {"signature_name": signature_name, key: value},
            "required": [key, *named],
            "not": {"required": [other]},
        }
        for key, value, other in (
            ("instances", {"type": "array", "minItems": 1, "items": {"anyOf": rows}}, "inputs"),
            ("inputs", {"anyOf": columns}, "instances"),
        )
    ]


def _answer_forms(signature: Signature) -> list[dict[str, Any]]:
    outputs = signature.outputs
    if len(outputs) == 1:
        (spec,) = outputs.values()
        row, whole = _tensor(spec, 1), _tensor(spec, 0)
    else:
        row = _members({name: _tensor(spec, 1) for name, spec in outputs.items()})
        whole = _members({name: _tensor(spec, 0) for name, spec in outputs.items()})
    return [
        _members({"predictions": {"type": "array", "items": row}}) | {"additionalProperties": True},
        _members({"outputs": whole}) | {"additionalProperties": True},
    ]


def _members(members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(members),
        "required": sorted(members),
        "additionalProperties": False,
    }


def _tensor(spec: TensorSpec, skipped: int) -> dict[str, Any]:
    """Return the schema of a tensor's nested lists, without its first dimensions: a row has one less."""
    schema = _element(spec)
    for size in reversed(spec.shape[skipped:]):
        schema = {"type": "array", "items": schema}
        if size is not None:
            schema |= {"minItems": size, "maxItems": size}
    return schema


def _element(spec: TensorSpec) -> dict[str, Any]:
    if spec.dtype in _INTEGER_RANGES:
        least, greatest = _INTEGER_RANGES[spec.dtype]
        return {"type": "integer", "minimum": least, "maximum": greatest}
    if spec.dtype == "bool":
        return {"type": "boolean"}
    if spec.dtype == "string":
        return _BASE64 if spec.name.endswith("_bytes") else {"anyOf": [{"type": "string"}, _BASE64]}
    return {"type": "number"}
