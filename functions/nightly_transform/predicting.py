"""Asks the predict function, as any of its clients would."""

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import httpx

from shared.errors import InvalidRequestError, NotFoundError, ServiceError, UnavailableError
from shared.lazy import Once

# Longer than predict waits for a model, which is then its own answer.
TIMEOUT_SECONDS = 75.0
_CONNECT_SECONDS = 10.0
# A wait that somebody else may end: predict's own, and those of what stands before it.
_PASSING = frozenset((408, 429, 502, 503, 504))
_REFUSING = frozenset((401, 403))
_MOST_RETRY_SECONDS = 300


class PredictClient:
    """Asks one predict function; see `contract.Predict`.

    Args:
        url: Where it is.
        in_cloud: Whether it wants to know who asks, by an ID token.
    """

    def __init__(self, url: str, *, in_cloud: bool, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = url
        # Both not before the first question: the worker is forked until then.
        self._http = Once(lambda: httpx.Client(timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS)))
        self._tokens = Once(lambda: _id_tokens(url)) if in_cloud else None

    def __call__(self, instances: Sequence[Any], *, model: str, version: str | None = None) -> list[Any]:
        """Return one prediction an instance, in order."""
        chosen = f"/versions/{quote(version, safe='')}" if version else ""
        headers = {"Content-Type": "application/json"}
        if self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens().token()}"
        try:
            response = self._http().post(
                f"{self._url}/v1/models/{quote(model, safe='')}{chosen}:predict",
                content=json.dumps({"instances": list(instances)}, separators=(",", ":")),
                headers=headers,
            )
        except httpx.TransportError as error:
            raise UnavailableError(
                f"predict did not answer: {type(error).__name__}", reason="PREDICT_UNAVAILABLE"
            ) from error
        return _predictions(response, len(instances))

    def close(self) -> None:
        """Close its connections."""
        self._http().close()


def _id_tokens(audience: str) -> Any:
    # Slow to import, and of no use on a laptop.
    from shared.id_tokens import IdTokens

    return IdTokens(audience)


def _predictions(response: httpx.Response, count: int) -> list[Any]:
    status = response.status_code
    if status == httpx.codes.OK:
        return _answer(response, count)
    text = _error_text(response)
    if status in _PASSING:
        raise UnavailableError(
            f"predict: {text}", reason="PREDICT_UNAVAILABLE", retry_after_seconds=_retry_seconds(response)
        )
    if status == httpx.codes.NOT_FOUND:
        raise NotFoundError(f"predict: {text}", reason="MODEL_NOT_FOUND")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or status in _REFUSING:
        raise ServiceError(f"predict answered {status}: {text}", reason="PREDICT_FAILED")
    raise InvalidRequestError(text, reason="PREDICT_REFUSED")


def _answer(response: httpx.Response, count: int) -> list[Any]:
    try:
        predictions = response.json()["predictions"]
    except (ValueError, KeyError, TypeError) as error:
        raise ServiceError("predict answered something else than predictions", reason="PREDICT_FAILED") from error
    if not isinstance(predictions, list) or len(predictions) != count:
        raise ServiceError(f"predict: expected {count} predictions, one an instance", reason="PREDICT_FAILED")
    return predictions


def _error_text(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)[:1000]
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def _retry_seconds(response: httpx.Response) -> int:
    # It may also be a date, which nothing of ours sends.
    text = response.headers.get("retry-after", "")
    return min(int(text), _MOST_RETRY_SECONDS) if text.isascii() and text.isdigit() else 1
