"""Holds a request's arrays to a signature before a runtime sees them."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from shared.errors import InvalidRequestError

from ..manifest import Signature


def find_signature(signatures: Mapping[str, Signature], name: str) -> Signature:
    """Return one signature.

    Raises:
        InvalidRequestError: There is none of this name; TensorFlow Serving's words, and the names there are.
    """
    signature = signatures.get(name)
    if signature is None:
        raise InvalidRequestError(
            f'Serving signature name: "{name}" not found in signature def. '
            f"This model has: {', '.join(sorted(signatures))}"
        )
    return signature


def check_inputs(signature: Signature, inputs: Mapping[str, NDArray[Any]]) -> None:
    """Refuse arrays that are not the signature's; strings come as arrays of Python bytes.

    Raises:
        InvalidRequestError: An input is missing, left over or of another dtype or shape.
    """
    specs = signature.inputs
    if inputs.keys() != specs.keys():
        raise InvalidRequestError(
            f"Expected the inputs {', '.join(sorted(specs))}; got {', '.join(sorted(inputs)) or 'none'}"
        )
    for name, array in inputs.items():
        spec = specs[name]
        if array.dtype.name != ("object" if spec.dtype == "string" else spec.dtype) or not array.dtype.isnative:
            raise InvalidRequestError(f'Input "{name}" should be {spec.dtype}, is {array.dtype}')
        if not spec.unknown_rank and not _fits(array.shape, spec.shape):
            raise InvalidRequestError(
                f'Input "{name}" should have the shape {shape_text(spec.shape)}, has {shape_text(array.shape)}'
            )


def shape_text(shape: tuple[int | None, ...]) -> str:
    """Write a shape as TensorFlow does, with -1 for any size."""
    return f"[{','.join('-1' if size is None else str(size) for size in shape)}]"


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    if len(shape) != len(wanted):
        return False
    for got, size in zip(shape, wanted, strict=True):  # noqa: SIM110 - on every request: a third of any()'s time
        if size is not None and size != got:
            return False
    return True
