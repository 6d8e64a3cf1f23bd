"""An infer call of the Open Inference Protocol: from body to tensors, and from tensors to body."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from model.manifest import Signature, TensorSpec
from shared.errors import InvalidRequestError, UnimplementedError
from shared.routing import Request, Response
from shared.strict_json import check_text, kind_of

from .decode import parse_body
from .v2_json_tensors import tensor_from_json, tensor_to_json
from .v2_tensors import (
    Array,
    checked_shape,
    datatype_of,
    deduced_shape,
    shape_of,
    tensor_from_bytes,
    tensor_to_bytes,
)

DEFAULT_SIGNATURE = "serving_default"
HEADER_LENGTH = "Inference-Header-Content-Length"
# Parameters of Triton's other extensions that would change the answer; ignoring them would answer something else.
_REFUSED_OUTPUT_PARAMETERS = ("classification", "shared_memory_region")


@dataclass(frozen=True, slots=True)
class InferCall:
    """What a request asks for.

    Attributes:
        signature_name: One of the model's.
        inputs: A tensor for each of the signature's inputs.
        outputs: The outputs to answer, in this order, and whether each is to be binary.
        id: What the caller named the request; None when it did not.
    """

    signature_name: str
    inputs: dict[str, Array]
    outputs: dict[str, bool]
    id: str | None = None


def read_call(request: Request, signatures: Mapping[str, Signature]) -> InferCall:
    """Decode a request: JSON alone, JSON followed by tensors as raw bytes, or nothing but one tensor's bytes.

    Raises:
        InvalidRequestError: The request is not of this protocol, or not what the signature takes.
        UnimplementedError: It asks for something of the protocol that there is not.
    """
    body = request.body
    header_bytes = _header_length(request)
    if header_bytes == 0:
        return _raw_call(body, signatures)
    call = parse_body(body if header_bytes is None else body[:header_bytes])
    parameters = _parameters(call, "parameters")
    name, signature = _signature(parameters.get("signature_name", DEFAULT_SIGNATURE), signatures)
    return InferCall(
        signature_name=name,
        inputs=_inputs(call.get("inputs"), body, header_bytes, signature),
        outputs=_outputs(call.get("outputs", []), _flag(parameters, "binary_data_output", False), signature),
        id=_id(call.get("id")),
    )


def write_answer(
    model: str, version: str, call: InferCall, tensors: Mapping[str, Array], signature: Signature
) -> Response:
    """Encode the outputs that were asked for, JSON first and then whatever is binary.

    Raises:
        InvalidRequestError: An output asked for as JSON is no text.
        UnimplementedError: An output's datatype has no form in this protocol.
    """
    outputs, parts = [], []
    for name, binary in call.outputs.items():
        array = tensors[name]
        output: dict[str, Any] = {
            "name": name,
            "datatype": datatype_of(signature.outputs[name]),
            "shape": list(array.shape),
        }
        if binary:
            parts.append(tensor_to_bytes(name, array))
            output["parameters"] = {"binary_data_size": len(parts[-1])}
        else:
            output["data"] = orjson.Fragment(tensor_to_json(name, array))
        outputs.append(output)
    answer = {"model_name": model, "model_version": version, "outputs": outputs}
    if call.id is not None:
        answer["id"] = call.id
    text = orjson.dumps(answer)
    if not parts:
        return Response(text + b"\n")
    headers = {HEADER_LENGTH: str(len(text))}
    return Response(b"".join((text, *parts)), content_type="application/octet-stream", headers=headers)


def _header_length(request: Request) -> int | None:
    """Return how many bytes of the body are JSON; None when all are."""
    text = request.headers.get(HEADER_LENGTH.lower())
    if text is None:
        return None
    # 18 digits are an exabyte; Python refuses to convert thousands of them.
    length = int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else -1
    if not 0 <= length <= len(request.body):
        raise InvalidRequestError(f"{HEADER_LENGTH}: expected 0 to {len(request.body)}, the length of the body")
    return length


def _raw_call(body: bytes, signatures: Mapping[str, Signature]) -> InferCall:
    """Read a body that is one tensor and nothing else, as Triton does: its shape follows from its size."""
    name, signature = _signature(DEFAULT_SIGNATURE, signatures)
    if len(signature.inputs) != 1:
        raise InvalidRequestError(
            f"{HEADER_LENGTH}: 0 means a body of one raw tensor; this model takes {_described(signature.inputs)}"
        )
    (spec,) = signature.inputs.values()
    # BYTES: the whole body is one element; Triton wants no length before it.
    raw = len(body).to_bytes(4, "little") + body if spec.dtype == "string" else body
    tensor = tensor_from_bytes(raw, 0, len(raw), spec, checked_shape(deduced_shape(spec, len(body)), spec))
    return InferCall(name, {spec.name: tensor}, dict.fromkeys(signature.outputs, True))


def _signature(name: object, signatures: Mapping[str, Signature]) -> tuple[str, Signature]:
    if not isinstance(name, str) or name not in signatures:
        raise InvalidRequestError(
            f"signature_name: expected one of {', '.join(signatures)}; without one it is {DEFAULT_SIGNATURE}",
            reason="SIGNATURE_NOT_FOUND",
        )
    return name, signatures[name]


def _inputs(entries: object, body: bytes, header_bytes: int | None, signature: Signature) -> dict[str, Array]:
    """Decode all inputs; the binary ones follow the JSON part in the order of the entries."""
    tensors: dict[str, Array] = {}
    at = len(body) if header_bytes is None else header_bytes
    for entry, spec in _named(entries, "inputs", signature.inputs):
        _check_datatype(entry.get("datatype"), spec)
        shape = checked_shape(entry.get("shape"), spec)
        size_bytes = _binary_size(entry, spec)
        if size_bytes is None:
            tensors[spec.name] = tensor_from_json(entry["data"], spec, shape)
            continue
        if at + size_bytes > len(body):
            hint = f"; the header {HEADER_LENGTH} tells where they begin" if header_bytes is None else ""
            raise InvalidRequestError(
                f'input "{spec.name}": expected {size_bytes} bytes after the JSON, got {len(body) - at}{hint}'
            )
        tensors[spec.name] = tensor_from_bytes(body, at, size_bytes, spec, shape)
        at += size_bytes
    missing = [name for name in signature.inputs if name not in tensors]
    if missing:
        raise InvalidRequestError(f"inputs: {missing[0]} is missing; the model takes {_described(signature.inputs)}")
    if at != len(body):
        raise InvalidRequestError(f"the body has {len(body) - at} bytes more than its inputs")
    return tensors


def _outputs(entries: object, binary: bool, signature: Signature) -> dict[str, bool]:
    """Return the outputs to answer, all of them when none is named, and whether each is to be binary."""
    if entries == []:
        return dict.fromkeys(signature.outputs, binary)
    outputs = {}
    for entry, spec in _named(entries, "outputs", signature.outputs):
        place = f'output "{spec.name}": parameters'
        parameters = _parameters(entry, place)
        for name in _REFUSED_OUTPUT_PARAMETERS:
            if name in parameters:
                raise UnimplementedError(f"{place}: {name} is not served", reason="PARAMETER_UNIMPLEMENTED")
        outputs[spec.name] = _flag(parameters, "binary_data", binary)
    return outputs


def _named(entries: object, where: str, specs: Mapping[str, TensorSpec]) -> Iterator[tuple[dict[str, Any], TensorSpec]]:
    """Yield each entry with the tensor it names: a known one, and none twice."""
    if not isinstance(entries, list):
        raise InvalidRequestError(f"{where}: expected an array of objects, got {kind_of(entries)}")
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        place = f"{where}[{index}]"
        if not isinstance(entry, dict):
            raise InvalidRequestError(f"{place}: expected an object, got {kind_of(entry)}")
        name = entry.get("name")
        if not isinstance(name, str) or name not in specs:
            got = json.dumps(name[:40]) if isinstance(name, str) else kind_of(name)
            raise InvalidRequestError(f"{place}: no tensor is named {got}; the model has {_described(specs)}")
        if name in seen:
            raise InvalidRequestError(f"{place}: {name} is there twice")
        seen.add(name)
        yield entry, specs[name]


def _check_datatype(given: object, spec: TensorSpec) -> None:
    if given != datatype_of(spec):
        got = json.dumps(given[:40]) if isinstance(given, str) else kind_of(given)
        raise InvalidRequestError(f'input "{spec.name}": expected datatype {datatype_of(spec)}, got {got}')


def _binary_size(entry: Mapping[str, Any], spec: TensorSpec) -> int | None:
    """Return how many bytes of the body are this input; None when it is JSON."""
    place = f'input "{spec.name}": parameters'
    size_bytes = _parameters(entry, place).get("binary_data_size")
    if (size_bytes is None) != ("data" in entry):
        raise InvalidRequestError(f'input "{spec.name}": expected either data or parameters.binary_data_size')
    if size_bytes is not None and (type(size_bytes) is not int or size_bytes < 0):
        raise InvalidRequestError(f"{place}: expected binary_data_size to be a whole number from 0 on")
    return size_bytes


def _parameters(owner: Mapping[str, Any], place: str) -> dict[str, Any]:
    parameters = owner.get("parameters", {})
    if not isinstance(parameters, dict):
        raise InvalidRequestError(f"{place}: expected an object, got {kind_of(parameters)}")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str, default: bool) -> bool:
    flag = parameters.get(name, default)
    if not isinstance(flag, bool):
        raise InvalidRequestError(f"parameters.{name}: expected true or false, got {kind_of(flag)}")
    return flag


def _id(value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidRequestError(f"id: expected a string, got {kind_of(value)}")
    return value if value is None else check_text(value, "id")


def _described(specs: Mapping[str, TensorSpec]) -> str:
    return ", ".join(f"{spec.name} ({datatype_of(spec)} {shape_of(spec)})" for spec in specs.values())
