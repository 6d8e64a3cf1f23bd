"""Turns the example request that a model.json holds into arrays, to warm and to measure a version with."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import ModelError

from .manifest import Manifest, Signature, TensorSpec


def example_inputs(manifest: Manifest) -> tuple[str, dict[str, NDArray[Any]]]:
    """Return the signature that the example calls, and its inputs.

    Args:
        manifest: Its example is a request body in row (`instances`) or columnar (`inputs`) form.

    Raises:
        ModelError: The example is not a request that the signature takes.
    """
    where = f"{manifest.name}/{manifest.version}/model.json: example"
    name = manifest.example.get("signature_name") or "serving_default"
    signature = manifest.signatures.get(name)
    if signature is None:
        raise ModelError(f"{where}: the model has no signature {name!r}")
    try:
        return name, _inputs(manifest.example, signature)
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise ModelError(f"{where}: is not a request for the signature {name}: {error}") from error


def _inputs(body: dict[str, Any], signature: Signature) -> dict[str, NDArray[Any]]:
    if "instances" not in body:
        columns = body["inputs"]
        if len(signature.inputs) == 1 and not (isinstance(columns, dict) and columns.keys() == signature.inputs.keys()):
            columns = dict.fromkeys(signature.inputs, columns)
        return {key: _array(columns[key], spec) for key, spec in signature.inputs.items()}
    rows = body["instances"]
    named = isinstance(rows[0], dict) and rows[0].keys() != {"b64"}
    if not named and len(signature.inputs) > 1:
        raise ValueError("plain rows serve a signature of one input only")
    return {key: _array([row[key] for row in rows] if named else rows, spec) for key, spec in signature.inputs.items()}


def _array(value: Any, spec: TensorSpec) -> NDArray[Any]:
    if spec.dtype != "string":
        return np.array(value, spec.dtype)
    return np.array(_bytes(value), object)


def _bytes(value: Any) -> Any:
    """Turn each JSON string, or {"b64": ...}, of a nested list into bytes."""
    if isinstance(value, list):
        return [_bytes(item) for item in value]
    if isinstance(value, dict):
        return base64.b64decode(value["b64"], validate=True)
    return value.encode()
