"""The function that one writes first to serve a SavedModel: TensorFlow, loaded on the first request. No part of ours.

Measured beside predict, on the same model and with the same requests. MODEL_FOLDER names the SavedModel.
"""

import os
import threading
from typing import Any

import flask
import functions_framework
import tensorflow as tf

_lock = threading.Lock()
_loaded: list[Any] = []


@functions_framework.http
def predict(request: flask.Request) -> dict[str, Any]:
    """Answer `{"instances": [{"image": ...}, ...]}` with a prediction for each."""
    with _lock:
        if not _loaded:
            _loaded.append(tf.saved_model.load(os.environ["MODEL_FOLDER"]))
    serve = _loaded[0].signatures["serving_default"]
    images = [instance["image"] for instance in request.get_json()["instances"]]
    outputs = serve(image=tf.constant(images, tf.float32))
    columns = {name: tensor.numpy().tolist() for name, tensor in outputs.items()}
    rows = zip(*columns.values(), strict=True)
    return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}
