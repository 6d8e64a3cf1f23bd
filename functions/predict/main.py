"""predict: answers predictions for every model and version in MODELS_DIR, as TensorFlow Serving does."""

import functions_framework

from model.registry import Registry
from shared.config import read_settings
from shared.endpoint import Endpoint, HttpRequest, HttpResponse
from shared.guard import Limits
from shared.lazy import Once

from .serving import ServingApi, render_error, serving_routes

_settings = Once(read_settings)
_registry = Once(lambda: Registry.scan(_settings().models_dir))
_serving = Once(lambda: ServingApi(_registry(), _settings().default_model))

_endpoint = Endpoint(
    "predict",
    serving_routes(_serving),
    # Vertex AI takes 1.5 MiB a request; so do we, unless MAX_BODY_BYTES says more.
    Limits(max_body_bytes=1_572_864, accept_gzip=True),
    render_error,
)


@functions_framework.http
def predict(request: HttpRequest) -> HttpResponse:
    """Answer TensorFlow Serving's REST API, and `POST /` for the default model."""
    return _endpoint(request)
