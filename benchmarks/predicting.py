"""The ways to serve a model: predict with either runtime, the plain function, JSON or binary, batched or not."""

from pathlib import Path
from typing import Any

from .calls import Call
from .in_process import Model
from .models import SHAPES, Models
from .pictures import json_array, pixels, raw_bytes
from .server import Source
from .subjects import Subject, digit_example, function_source
from .wire import JsonCheck, as_json, http_request, is_close

PLAIN = Source(Path(__file__).parent / "plain" / "main.py", "predict")
# A picture of 150,528 numbers is 1.6 MB in JSON: more than predict takes unless it is told.
_IMAGE_LIMIT_BYTES = 4 << 20


def digits_subject(name: str, model: Model, *, tensorflow: bool = False) -> Subject:
    """Return predict, asked which digit an image shows; the digit is known from the data, not from the model."""
    call = _digits_call("/v1/models/digits:predict", model)
    return _predict(name, model, call, starts_slowly=tensorflow)


def plain_digits_subject(name: str, model: Model) -> Subject:
    """Return the plain function on the digits model, asked the same."""
    return _plain(name, model, _digits_call("/", model))


def cnn_subject(name: str, models: Models) -> Subject:
    """Return predict on the 28 by 28 model."""
    model = models.added("cnn")
    return _predict(name, model, _scores_call(models, model))


def plain_cnn_subject(name: str, models: Models) -> Subject:
    """Return the plain function on the 28 by 28 model."""
    model = models.added("cnn")
    scores = models.answer(model).outputs["scores"]

    def is_right(value: Any) -> bool:
        (row,) = value["predictions"]
        return is_close(row["scores"], scores)

    return _plain(name, model, Call(http_request("POST", "/", model.body_file.read_bytes()), JsonCheck(is_right)))


def image_subjects(models: Models) -> tuple[Subject, Subject]:
    """Return predict on a 224 by 224 by 3 picture: as JSON of the Open Inference Protocol, and in its binary form."""
    model = models.added("image")
    scores, picture = models.answer(model).outputs["scores"], pixels(*SHAPES["image"])
    tensor = {"name": "image", "shape": [1, *SHAPES["image"]], "datatype": "FP32"}

    def is_right(value: Any) -> bool:
        (output,) = value["outputs"]
        return output["name"] == "scores" and is_close(output["data"], scores)

    def subject(name: str, body: bytes, fields: str = "", content_type: str = "application/json") -> Subject:
        request = http_request("POST", "/v2/models/image/infer", body, fields, content_type)
        call = Call(request, JsonCheck(is_right))
        return _predict(name, model, call, env={"MAX_BODY_BYTES": str(_IMAGE_LIMIT_BYTES)})

    # Spliced in as text: json would write each float32 with the digits of a float64, and twice the size.
    text = as_json({"inputs": [tensor | {"data": None}]}).replace(b"null", json_array(picture).encode())
    raw = raw_bytes(picture)
    head = as_json({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]})
    length = f"Inference-Header-Content-Length: {len(head)}\r\n"
    return (
        subject("image, V2 JSON", text),
        subject("image, V2 binary", head + raw, length, "application/octet-stream"),
    )


def dense_subjects(models: Models) -> tuple[Subject, Subject]:
    """Return predict on the dense model, not batched and batched, a row a request."""
    unbatched, batched = models.dense_unbatched, models.added("dense")
    return (
        _predict("dense, not batched", unbatched, _scores_call(models, unbatched)),
        _predict("dense, batched", batched, _scores_call(models, batched)),
    )


def _digits_call(path: str, model: Model) -> Call:
    digit = digit_example()[1]

    def is_right(value: Any) -> bool:
        return bool([row["digit"] for row in value["predictions"]] == [digit])

    return Call(http_request("POST", path, model.body_file.read_bytes()), JsonCheck(is_right))


def _scores_call(models: Models, model: Model) -> Call:
    """Ask for one row, which must be what the model answers in process."""
    scores = models.answer(model).outputs["scores"]

    def is_right(value: Any) -> bool:
        (row,) = value["predictions"]
        return is_close(row, scores)

    path = f"/v1/models/{model.name}/versions/{model.version}:predict"
    return Call(http_request("POST", path, model.body_file.read_bytes()), JsonCheck(is_right))


def _predict(
    name: str, model: Model, call: Call, *, env: dict[str, str] | None = None, starts_slowly: bool = False
) -> Subject:
    env = {"MODELS_DIR": str(model.models_dir), **(env or {})}
    return Subject(name, function_source("predict"), lambda: call, env, starts_slowly=starts_slowly)


def _plain(name: str, model: Model, call: Call) -> Subject:
    return Subject(name, PLAIN, lambda: call, {"MODEL_FOLDER": str(model.folder)}, starts_slowly=True)
