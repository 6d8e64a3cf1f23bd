"""TensorFlow Serving's REST API over the registry of models: https://www.tensorflow.org/tfx/serving/api_rest."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from model.manifest import Signature, TensorSpec
from model.registry import ModelVersion, Registry
from shared.endpoint import google_error
from shared.errors import InvalidRequestError, NotFoundError, ServiceError
from shared.routing import Request, Response, Route, json_response

from . import catalogue
from .answering import answering, run, version_headers
from .decode import columns_to_tensors, parse_body, rows_to_tensors
from .encode import encode_columns, encode_rows
from .examples import encode_classes, encode_values, examples_to_tensors
from .logged_payloads import examples_text, member_text
from .openapi import describe
from .prediction_log import LogPrediction
from .tensors import Tensor

# Version numbers beyond 18 digits exist nowhere; refusing them here keeps integers small.
MODEL_PATH = (
    "(?i:/v1/models)/(?P<model>[^/:]+)(?:(?i:/versions)/(?P<version>[0-9]{1,18})|(?i:/labels)/(?P<label>[^/:]+))?"
)
VERTEX_PATH = "/v1/projects/[^/:]+/locations/[^/:]+/endpoints/(?P<model>[^/:]+):predict"
API_VERSION = "0.1.0"
_PATHS = "/v1/models/MODEL[/versions/N|/labels/LABEL][:predict|:classify|:regress|/metadata]"
_DTYPES = {
    "float16": "DT_HALF",
    "float32": "DT_FLOAT",
    "float64": "DT_DOUBLE",
    "bool": "DT_BOOL",
    "string": "DT_STRING",
}


def render_error(error: ServiceError, path: str) -> Response:
    """Render an error as TensorFlow Serving does under /v1/, as Google does elsewhere."""
    if path[:4].lower() != "/v1/" or path.startswith("/v1/projects/"):
        return google_error(error, path)
    if error.reason == "PATH_NOT_FOUND":
        # What the path said is left out: it is the caller's, and would stand in an error of ours.
        return json_response({"error": f"Malformed request: expected {_PATHS}"}, 400)
    return json_response({"error": error.message}, error.http_status, headers=error.headers)


class ServingApi:
    """What predict answers.

    Args:
        registry: The models there are.
        default_model: The model of `POST /`; None: the only one there is.
        log: Takes every answered prediction.
    """

    def __init__(self, registry: Registry, default_model: str | None, log: LogPrediction) -> None:
        self._registry = registry
        self._default_model = default_model
        self._log = log

    def predict_default(self, request: Request) -> Response:
        """Answer `POST /` with the default model, in Vertex AI's shape."""
        name = self._registry.default_name(self._default_model)
        if name is None:
            raise NotFoundError(
                f"there is no default model: set DEFAULT_MODEL to one of {', '.join(self._registry.names())}",
                reason="NO_DEFAULT_MODEL",
            )
        return _as_vertex(self._registry.find(name), request, self._log)

    def predict_endpoint(self, request: Request) -> Response:
        """Answer Vertex AI's own path; its endpoint id is the model's name here."""
        return _as_vertex(self._registry.find(request.values["model"]), request, self._log)

    def predict(self, request: Request) -> Response:
        """Answer `:predict` in row (`instances`) or columnar (`inputs`) form."""
        return _predicted(self._found(request), request.body, b"", self._log)

    def classify(self, request: Request) -> Response:
        """Answer `:classify` for signatures that take serialized examples."""
        return _results(self._found(request), request.body, encode_classes, self._log)

    def regress(self, request: Request) -> Response:
        """Answer `:regress` for signatures that take serialized examples."""
        return _results(self._found(request), request.body, encode_values, self._log)

    def status(self, request: Request) -> Response:
        """Answer which versions of a model there are, and whether each can be served."""
        if request.values["version"]:
            versions = [self._found(request)]
        else:
            versions = self._registry.versions(request.values["model"])
        states = [
            {
                "version": str(version.version),
                "state": "END" if reason else "AVAILABLE",
                "status": {"error_code": "UNKNOWN" if reason else "OK", "error_message": reason},
            }
            for version in versions
            for reason in (version.broken or version.failure or "",)
        ]
        return json_response({"model_version_status": states})

    def metadata(self, request: Request) -> Response:
        """Answer a version's signatures."""
        found = self._found(request)
        signatures = {name: _signature(signature) for name, signature in found.sound_manifest().signatures.items()}
        spec = {"name": found.name, "signature_name": "", "version": str(found.version)}
        return json_response(
            {"model_spec": spec, "metadata": {"signature_def": {"signature_def": signatures}}},
            headers=version_headers(found),
        )

    def models(self, request: Request) -> Response:
        """Answer every model with its versions."""
        return catalogue.list_models(self._registry, self._default_model)

    def example(self, request: Request) -> Response:
        """Answer what one could ask a version."""
        return catalogue.example(self._found(request))

    def openapi(self, request: Request) -> Response:
        """Answer the OpenAPI document of the models there are."""
        return json_response(describe(self._registry, API_VERSION))

    def _found(self, request: Request) -> ModelVersion:
        return catalogue.version_of(self._registry, request)


def serving_routes(api: Callable[[], ServingApi]) -> list[Route]:
    """Return the routes of TensorFlow Serving's API; bodies of any content type, as there."""
    return [
        Route("POST", "/", lambda request: api().predict_default(request), content_types=None),
        Route("POST", VERTEX_PATH, lambda request: api().predict_endpoint(request), content_types=None),
        Route("POST", f"{MODEL_PATH}(?i::predict)", lambda request: api().predict(request), content_types=None),
        Route("POST", f"{MODEL_PATH}(?i::classify)", lambda request: api().classify(request), content_types=None),
        Route("POST", f"{MODEL_PATH}(?i::regress)", lambda request: api().regress(request), content_types=None),
        Route("GET", "/openapi.json", lambda request: api().openapi(request)),
        Route("GET", "(?i:/v1/models)", lambda request: api().models(request)),
        Route("GET", MODEL_PATH, lambda request: api().status(request)),
        Route("GET", f"{MODEL_PATH}/example", lambda request: api().example(request)),
        Route("GET", f"{MODEL_PATH}(?i:/metadata)", lambda request: api().metadata(request)),
    ]


def _as_vertex(found: ModelVersion, request: Request, log: LogPrediction) -> Response:
    extra = {
        "deployedModelId": f"{found.name}-{found.version}",
        "model": f"models/{found.name}",
        "modelDisplayName": found.name,
        "modelVersionId": str(found.version),
    }
    return _predicted(found, request.body, b"," + json.dumps(extra)[1:-1].encode(), log)


def _predicted(found: ModelVersion, body: bytes, extra: bytes, log: LogPrediction) -> Response:
    with answering(found) as headers:
        order = parse_body(body)
        name, signature = _signature_of(found, order)
        if ("instances" in order) == ("inputs" in order):
            raise InvalidRequestError(
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
                if "inputs" in order
                else "Missing 'inputs' or 'instances' key"
            )
        if "instances" in order:
            asked, answered, text = "instances", b"predictions", _rows(found, name, signature, order["instances"])
        else:
            outputs = run(found, name, columns_to_tensors(order["inputs"], signature))
            asked, answered, text = "inputs", b"outputs", encode_columns(outputs)
        log(found, lambda: (member_text(body, order, asked), text))
        return Response(b'{"%b":%b%b}\n' % (answered, text, extra), headers=headers)


def _rows(found: ModelVersion, name: str, signature: Signature, instances: Any) -> bytes:
    """Answer the row form, through the version's own predictor.py where it has one."""
    predictor = found.predictor()
    if predictor is None:
        return encode_rows(run(found, name, rows_to_tensors(instances, signature)))
    prepared = predictor.preprocess(instances)
    predictions = json.loads(encode_rows(run(found, name, rows_to_tensors(prepared, signature))))
    return json.dumps(predictor.postprocess(predictions), separators=(",", ":")).encode()


def _results(
    found: ModelVersion, body: bytes, encode: Callable[[Mapping[str, Tensor]], bytes], log: LogPrediction
) -> Response:
    with answering(found) as headers:
        order = parse_body(body)
        name, signature = _signature_of(found, order)
        text = encode(run(found, name, examples_to_tensors(order, signature)))
        log(found, lambda: (examples_text(body, order), text))
        return Response(b'{"results":' + text + b"}\n", headers=headers)


def _signature_of(found: ModelVersion, order: Mapping[str, Any]) -> tuple[str, Signature]:
    signatures = found.sound_manifest().signatures
    name = order.get("signature_name", "")
    if not isinstance(name, str):
        raise InvalidRequestError("'signature_name' key must be a string value.")
    name = name or "serving_default"
    if name not in signatures:
        raise InvalidRequestError(
            f"Serving signature name: not found in signature def: expected one of {', '.join(signatures)}",
            reason="SIGNATURE_NOT_FOUND",
        )
    return name, signatures[name]


def _signature(signature: Signature) -> dict[str, Any]:
    return {
        "inputs": {name: _tensor_info(spec) for name, spec in signature.inputs.items()},
        "outputs": {name: _tensor_info(spec) for name, spec in signature.outputs.items()},
        "method_name": signature.method_name,
        "defaults": {},
    }


def _tensor_info(spec: TensorSpec) -> dict[str, Any]:
    sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape]
    return {
        "dtype": _DTYPES.get(spec.dtype, f"DT_{spec.dtype.upper()}"),
        "tensor_shape": {"dim": sizes, "unknown_rank": spec.unknown_rank},
        "name": spec.tensor_name or spec.name,
    }
