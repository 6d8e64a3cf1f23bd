"""classify and regress: features in JSON into serialized tf.Examples, and scores back into JSON.

The kind of a feature comes from its JSON token, as in TensorFlow Serving: 2 is an integer, 2.0 a float, "s" bytes.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy

from model.manifest import Signature
from shared.errors import InvalidRequestError, ModelError, PayloadTooLargeError
from shared.strict_json import kind_of

from .encode import encode_columns
from .tensors import Tensor, bytes_of, is_base64

_INT64 = range(-(2**63), 2**63)
# What all share is copied into each example: a request of a megabyte could ask for many gigabytes.
MAX_CONTEXT_BYTES = 1 << 24


def examples_to_tensors(order: Mapping[str, Any], signature: Signature) -> dict[str, Tensor]:
    """Serialize a request's examples for a signature that takes them.

    Args:
        order: The request: `examples`, a list of objects of features, and `context`, features that all share.
        signature: One input of strings.

    Raises:
        InvalidRequestError: The signature takes no examples, or a feature is none; says which.
        PayloadTooLargeError: The context, once for each example, is over 16 MiB.
    """
    specs = list(signature.inputs.values())
    if len(specs) != 1 or specs[0].dtype != "string":
        raise InvalidRequestError("this signature does not take serialized examples: ask with :predict")
    examples, context = order.get("examples"), order.get("context", {})
    if not isinstance(examples, list) or not examples:
        raise InvalidRequestError(f"examples: expected a list of objects, at least one; got {kind_of(examples)}")
    if not isinstance(context, dict):
        raise InvalidRequestError(f"context: expected an object; got {kind_of(context)}")
    shared = _serialized(context, "context")
    if len(shared) * len(examples) > MAX_CONTEXT_BYTES:
        raise PayloadTooLargeError(
            f"context: is copied into each example: expected at most {MAX_CONTEXT_BYTES} bytes in all, "
            f"got {len(shared)} for each of {len(examples)}"
        )
    array = numpy.empty(len(examples), object)
    for index, example in enumerate(examples):
        place = f"examples[{index}]"
        if not isinstance(example, dict):
            raise InvalidRequestError(f"{place}: expected an object; got {kind_of(example)}")
        # By protobuf's rules the two are one message, in which an example's own feature takes the context's place.
        array[index] = shared + _serialized(example, place)
    return {specs[0].name: array}


def encode_classes(outputs: Mapping[str, Tensor]) -> bytes:
    """Return the text of classify's `results`: for each example its [label, score] pairs.

    Raises:
        ModelError: The signature's outputs are neither `classes` nor `scores`, or not of one shape.
    """
    classes, scores = outputs.get("classes"), outputs.get("scores")
    shape = next((array.shape for array in (classes, scores) if array is not None), None)
    if shape is None or len(shape) != 2 or any(a is not None and a.shape != shape for a in (classes, scores)):
        raise ModelError("classify: expected outputs classes and scores of shape [batch, classes]")
    labels = _columns(classes) if classes is not None else [[""] * shape[1]] * shape[0]
    numbers = _columns(scores) if scores is not None else [[0.0] * shape[1]] * shape[0]
    rows = [[list(pair) for pair in zip(*row, strict=True)] for row in zip(labels, numbers, strict=True)]
    return json.dumps(rows, separators=(",", ":")).encode()


def encode_values(outputs: Mapping[str, Tensor]) -> bytes:
    """Return the text of regress's `results`: one number an example.

    Raises:
        ModelError: The signature has no output `outputs` of shape [batch] or [batch, 1].
    """
    values = outputs.get("outputs")
    if values is None or values.ndim not in (1, 2) or (values.ndim == 2 and values.shape[1] != 1):
        raise ModelError("regress: expected one output, outputs, of shape [batch] or [batch, 1]")
    return encode_columns({"outputs": values.reshape(-1)})


def _columns(array: Tensor) -> Any:
    return json.loads(encode_columns({"scores": array}))


def _serialized(features: Mapping[str, Any], where: str) -> bytes:
    from model.savedmodel.schema import message_class  # not sooner: protobuf would delay every start

    example = message_class("Example")()
    for name, value in features.items():
        place = f"{where}.{name[:40]}"
        bytes_of(name, f"{where}: the name of a feature")
        values = value if isinstance(value, list) else [value]
        kinds = {_kind(item, place) for item in values}
        if len(kinds) > 1:
            raise InvalidRequestError(f"{place}: expected values of one kind, got {' and '.join(sorted(kinds))}")
        if kinds:
            kind = kinds.pop()
            field, convert = _FIELDS[kind]
            getattr(example.features.feature[name], field).value.extend(convert(item, place) for item in values)
        else:
            example.features.feature[name].SetInParent()
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def _kind(value: object, where: str) -> str:
    if isinstance(value, str) or is_base64(value):
        return "bytes"
    if isinstance(value, float):
        return "float"
    if isinstance(value, int) and int(value) in _INT64:
        return "int64"
    raise InvalidRequestError(f"{where}: expected a number of 64 bits, text, or base64; got {kind_of(value)}")


_FIELDS: Mapping[str, tuple[str, Callable[[Any, str], Any]]] = {
    "bytes": ("bytes_list", bytes_of),
    "float": ("float_list", lambda value, _: value),
    "int64": ("int64_list", lambda value, _: int(value)),
}
