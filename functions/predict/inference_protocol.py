"""The Open Inference Protocol (V2), which KServe, Triton and MLServer speak, over the registry of models.

https://github.com/kserve/open-inference-protocol, with Triton's binary tensor extension.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from model.manifest import TensorSpec
from model.registry import ModelVersion, Registry
from shared.errors import ServiceError, UnavailableError
from shared.routing import Request, Response, Route, json_response

from .answering import answering, run, version_headers
from .decode import parse_body
from .logged_payloads import columns_text
from .prediction_log import LogPrediction
from .readiness import Readiness
from .serving import API_VERSION
from .v2_infer import DEFAULT_SIGNATURE, read_call, write_answer
from .v2_tensors import datatype_of, shape_of

_MODEL_PATH = "/v2/models/(?P<model>[^/]+)(?:/versions/(?P<version>[0-9]{1,18}))?"
# The protocol names platforms <project>_<format>; what a version is served with comes first in its manifest.
_PLATFORMS = {"litert": "litert_tflite", "tensorflow": "tensorflow_savedmodel"}


def is_protocol_path(path: str) -> bool:
    """Tell whether a path, answered or not, is of this protocol."""
    return path == "/v2" or path.startswith("/v2/")


def render_protocol_error(error: ServiceError, path: str) -> Response:
    """Render an error as the protocol has it: one text."""
    return json_response({"error": error.message}, error.http_status, headers=error.headers)


class InferenceProtocolApi:
    """What predict answers under /v2.

    Args:
        registry: The models there are.
        stuck_seconds: For how long a model may be at the same requests and still be ready.
        log: Takes every answered prediction.
    """

    def __init__(self, registry: Registry, stuck_seconds: float, log: LogPrediction) -> None:
        self._registry = registry
        self._log = log
        self._readiness = Readiness(stuck_seconds)

    def server_metadata(self, request: Request) -> Response:
        """Answer what this server is and which extensions it has."""
        return json_response({"name": "nightshift", "version": API_VERSION, "extensions": ["binary_tensor_data"]})

    def server_ready(self, request: Request) -> Response:
        """Load every model and have it answer once; 200 when each has a version that does."""
        ready, broken = self._readiness.of_all(self._registry)
        if not ready:
            raise _not_ready(broken)
        return json_response({"ready": True, "broken": broken} if broken else {"ready": True})

    def model_ready(self, request: Request) -> Response:
        """Load a model, or the version that is named, and have it answer once."""
        name = request.values["model"]
        if request.values["version"]:
            ready, broken = self._readiness.of_versions([self._found(request)])
        else:
            ready, broken = self._readiness.of_model(self._registry, name)
        if not ready:
            raise _not_ready(broken)
        return json_response({"name": name, "ready": True})

    def model_metadata(self, request: Request) -> Response:
        """Answer a version's inputs and outputs, and which versions there are."""
        found = self._found(request)
        manifest = found.sound_manifest()
        signature = manifest.signatures.get(DEFAULT_SIGNATURE) or next(iter(manifest.signatures.values()))
        sound = [version for version in self._registry.versions(found.name) if version.broken is None]
        metadata = {
            "name": found.name,
            "versions": [str(version.version) for version in sound],
            "platform": _PLATFORMS.get(manifest.runtimes[0], manifest.runtimes[0]),
            "inputs": [_tensor_metadata(spec) for spec in signature.inputs.values()],
            "outputs": [_tensor_metadata(spec) for spec in signature.outputs.values()],
        }
        return json_response(metadata, headers=version_headers(found))

    def repository_index(self, request: Request) -> Response:
        """Answer every version there is; those that can be served, when the body says {"ready": true}."""
        only_ready = bool(request.body) and parse_body(request.body).get("ready") is True
        versions = [version for name in self._registry.names() for version in self._registry.versions(name)]
        index = [
            {
                "name": version.name,
                "version": str(version.version),
                "state": "UNAVAILABLE" if version.broken else "READY",
                "reason": version.broken or "",
            }
            for version in versions
            if not (only_ready and version.broken)
        ]
        return json_response(index)

    def infer(self, request: Request) -> Response:
        """Answer a prediction."""
        found = self._found(request)
        with answering(found) as headers:
            signatures = found.sound_manifest().signatures
            call = read_call(request, signatures)
            outputs = run(found, call.signature_name, call.inputs)
            answer = write_answer(found.name, str(found.version), call, outputs, signatures[call.signature_name])
            # In the columnar form: what a result holds should not depend on the dialect that it was asked in.
            answered = {name: outputs[name] for name in call.outputs}
            self._log(found, lambda: (columns_text(call.inputs), columns_text(answered)))
            return replace(answer, headers={**answer.headers, **headers})

    def _found(self, request: Request) -> ModelVersion:
        version = request.values["version"]
        return self._registry.find(request.values["model"], int(version) if version else None)


def protocol_routes(api: Callable[[], InferenceProtocolApi]) -> list[Route]:
    """Return the routes of the protocol; bodies of any content type, as their servers take them."""
    return [
        Route("GET", "/v2/?", lambda request: api().server_metadata(request)),
        Route("GET", "/v2/health/live", lambda _: json_response({"live": True})),
        Route("GET", "/v2/health/ready", lambda request: api().server_ready(request)),
        Route("GET", _MODEL_PATH, lambda request: api().model_metadata(request)),
        Route("GET", f"{_MODEL_PATH}/ready", lambda request: api().model_ready(request)),
        Route("POST", f"{_MODEL_PATH}/infer", lambda request: api().infer(request), content_types=None),
        Route("POST", "/v2/repository/index", lambda request: api().repository_index(request), content_types=None),
    ]


def _tensor_metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": datatype_of(spec), "shape": shape_of(spec)}


def _not_ready(broken: Mapping[str, str]) -> UnavailableError:
    reasons = "; ".join(f"{version}: {why}" for version, why in broken.items())
    return UnavailableError(f"not ready: {reasons}", reason="MODEL_NOT_READY")
