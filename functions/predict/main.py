"""predict: answers predictions for every model and version in MODELS_DIR, in the dialects clients already speak."""

from pathlib import Path

import functions_framework

from model.registry import Registry
from shared.config import Settings, read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.errors import ConfigurationError, ServiceError
from shared.guard import Limits
from shared.lazy import Once
from shared.routing import Response

from .deadlines import Deadlines
from .inference_protocol import InferenceProtocolApi, is_protocol_path, protocol_routes, render_protocol_error
from .prediction_log import open_prediction_log
from .serving import ServingApi, render_error, serving_routes

_settings = Once(read_settings)
_registry = Once(lambda: Registry.scan(_settings().models_dir))
_log = Once(lambda: open_prediction_log(_settings()))
_serving = Once(lambda: ServingApi(_registry(), _settings().default_model, _log()))
_protocol = Once(lambda: InferenceProtocolApi(_registry(), _settings().model_timeout_seconds, _log()))


def _render_error(error: ServiceError, path: str) -> Response:
    """Render an error in the dialect that the path belongs to."""
    return render_protocol_error(error, path) if is_protocol_path(path) else render_error(error, path)


def _prepare(settings: Settings) -> None:
    # A bucket is asked once a worker serves; before the fork nothing may hold a connection.
    if isinstance(settings.models_dir, Path) and not settings.models_dir.is_dir():
        raise ConfigurationError([f"MODELS_DIR: expected a folder of models, {settings.models_dir} is none"])
    if settings.log_predictions and not settings.project_id:
        raise ConfigurationError(["LOG_PREDICTIONS: expected PROJECT_ID with it, to find PREDICTIONS_TOPIC in"])


_endpoint = Endpoint(
    "predict",
    [*serving_routes(_serving), *protocol_routes(_protocol)],
    # Vertex AI takes 1.5 MiB a request; so do we, unless MAX_BODY_BYTES says more.
    Limits(
        max_body_bytes=1_572_864,
        accept_gzip=True,
        deadlines=Deadlines(lambda: _settings().model_timeout_seconds),
    ),
    _render_error,
    _prepare,
)


@functions_framework.http
def predict(request: HttpRequest) -> HttpResponse:
    """Answer TensorFlow Serving's REST API, the Open Inference Protocol, and `POST /` for the default model."""
    return _endpoint(request)
