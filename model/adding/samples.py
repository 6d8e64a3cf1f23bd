"""Makes inputs to measure and compare a model with, where its owner gave none."""

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..manifest import Signature, TensorSpec

Inputs = dict[str, NDArray[Any]]

# What to try for a dimension of any size but the batch: a short text, a small image, a usual one.
SIZES = (1, 8, 32, 224)
LONGEST_EXAMPLE_BYTES = 1_000_000
SEED = 20


def is_batched(signature: Signature) -> bool:
    """Tell whether dimension 0 of every input and output is the caller's to choose."""
    tensors = (*signature.inputs.values(), *signature.outputs.values())
    return bool(signature.inputs) and all(spec.unknown_rank or spec.shape[:1] == (None,) for spec in tensors)


def sample_inputs(signature: Signature, rows: int, size: int) -> Inputs:
    """Return inputs of the right types and shapes; the same on every call.

    Args:
        rows: How many, if the signature is batched.
        size: Of each other dimension that the signature leaves open.
    """
    random = np.random.default_rng(SEED)
    return {name: _tensor(spec, rows, size, random) for name, spec in signature.inputs.items()}


def repeated(inputs: Mapping[str, NDArray[Any]], rows: int) -> Inputs:
    """Return a batch of the given number of rows, made of those that there are."""
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in inputs.items()}


def request_body(signature_name: str, signature: Signature, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """Write inputs as the request body that carries them: in rows if the signature is batched."""
    columns = {name: _json(array) for name, array in inputs.items()}
    body: dict[str, Any] = {} if signature_name == "serving_default" else {"signature_name": signature_name}
    if not is_batched(signature):
        return body | {"inputs": columns}
    rows = zip(*columns.values(), strict=True)
    return body | {"instances": [dict(zip(columns, row, strict=True)) for row in rows]}


def _tensor(spec: TensorSpec, rows: int, size: int, random: np.random.Generator) -> NDArray[Any]:
    shape = [rows if at == 0 else size for at in range(1)] if spec.unknown_rank else list(spec.shape)
    filled = [(rows if at == 0 else size) if found is None else found for at, found in enumerate(shape)]
    if spec.dtype == "string":
        return np.full(filled, b"a", object)
    if spec.dtype == "bool":
        return np.asarray(random.integers(0, 2, filled), bool)
    if spec.dtype == "uint8":  # an image, as a rule
        return np.asarray(random.integers(0, 256, filled), np.uint8)
    if spec.dtype.startswith(("int", "uint")):  # an index, which may have to be small
        return np.asarray(random.integers(0, 2, filled), spec.dtype)
    return np.asarray(np.round(random.random(filled), 2), spec.dtype)


def _json(array: NDArray[Any]) -> Any:
    if array.dtype != object:
        return np.round(array.astype(np.float64), 2).tolist() if array.dtype.kind == "f" else array.tolist()
    return _text(array.tolist())


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return [_text(item) for item in value]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}
