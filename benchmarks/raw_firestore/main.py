"""The function that one writes first to keep results in Firestore: its client, and nothing else. No part of ours.

Measured beside store-result, with the same requests. PROJECT and DATABASE name the database.
"""

import json
import os
from functools import cache
from typing import Any

import flask
import functions_framework
from google.cloud import firestore


@functions_framework.http
def raw_firestore(request: flask.Request) -> Any:
    """Keep one result or a batch of them."""
    body, key = request.get_json(), request.headers["Idempotency-Key"]
    collection = _client().collection("results")
    if request.path != "/batch":
        collection.document(key).create(_document(body))
        return {"id": key}, 201
    batch, ids = _client().batch(), []
    for index, each in enumerate(body["results"]):
        ids.append(f"{key}:{index}")
        batch.create(collection.document(ids[-1]), _document(each))
    batch.commit()
    return {"results": [{"id": each} for each in ids]}, 201


def _document(body: dict[str, Any]) -> dict[str, Any]:
    # Firestore takes no array within an array, so that payloads have to be text.
    texts = {name: json.dumps(body[name]) for name in ("instances", "predictions")}
    own = {"model": body["model"], "version": body["version"], "labels": body.get("labels", {})}
    return {**own, **texts, "created_at": firestore.SERVER_TIMESTAMP}


@cache
def _client() -> firestore.Client:
    return firestore.Client(project=os.environ["PROJECT"], database=os.environ["DATABASE"])
