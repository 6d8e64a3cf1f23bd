"""predict: answers predictions for every model and version in MODELS_DIR, as TensorFlow Serving does."""

import functions_framework

from model.registry import Registry
from shared.config import read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.guard import Limits
from shared.lazy import Once
from shared.routing import Route

from .serving import MODEL_PATH, PredictApi, render_error

_settings = Once(read_settings)
_api = Once(lambda: PredictApi(Registry.scan(_settings().models_dir), _settings().default_model))

_endpoint = Endpoint(
    "predict",
    [
        Route("POST", "/", lambda request: _api().predict_default(request), content_types=None),
        Route("POST", f"{MODEL_PATH}:predict", lambda request: _api().predict(request), content_types=None),
        Route("GET", MODEL_PATH, lambda request: _api().status(request)),
        Route("GET", f"{MODEL_PATH}/metadata", lambda request: _api().metadata(request)),
    ],
    # Vertex AI takes 1.5 MiB a request; so do we, unless MAX_BODY_BYTES says more.
    Limits(max_body_bytes=1_572_864, accept_gzip=True),
    render_error,
)


@functions_framework.http
def predict(request: HttpRequest) -> HttpResponse:
    """Answer TensorFlow Serving's REST API, and `POST /` for the default model."""
    return _endpoint(request)
