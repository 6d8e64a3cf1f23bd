"""Requests into results into the store, and back."""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from shared.errors import InvalidRequestError
from shared.log import note
from shared.ports import ResultStore
from shared.records import Result, Stored
from shared.routing import Request, Response, json_response
from shared.stores.bulkhead import Bulkhead
from shared.strict_json import canonical, check_text, kind_of

from .pushes import is_push, read_push
from .reader import PAYLOADS, RawResult, read_batch, read_one
from .summaries import Declarations, check_summary, summarise

_MEMBERS = {"model", "version", "instances", "predictions", "labels", "request_id", "summary", "expires_at"}
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_LABEL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_MAX_LABELS, _MAX_LABEL_CHARS = 64, 256
# Beside a payload of 900 KiB it has to fit into the 1 MiB of a Firestore document.
_MAX_SUMMARY_BYTES = 65_536
# https://www.rfc-editor.org/rfc/rfc3339#section-5.6, in capitals
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)
# No database holds a later year than this one, and no zone may lead beyond it.
_END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


class ResultWriter:
    """Keeps results.

    Args:
        store: Where they go.
        declarations: What each model's summaries hold.
        now: The clock.
    """

    def __init__(self, store: Bulkhead[ResultStore], declarations: Declarations, now: Callable[[], datetime]) -> None:
        self._store = store
        self._declarations = declarations
        self._now = now

    def store_one(self, request: Request) -> Response:
        """Keep one result: 201, and for the same key and body again the same 201, marked as a replay.

        It may come in the envelope of a Pub/Sub push, to which 201 says that the message is done with.
        """
        raw, key, where = read_one(request.body), _header_key(request), ""
        if is_push(raw):
            push = read_push(raw)
            raw, key, where = push.result, key or push.key, "message.data."
        result = self._result(raw, key, where)
        with self._store.entered() as store:
            (stored,) = store.create_results([result])
        note(model=result.model, result_id=result.id, replayed=stored.replayed)
        return json_response(_shown(stored), 201, headers=_replay_header([stored]))

    def store_batch(self, request: Request) -> Response:
        """Keep up to 500 results, all or none; items are answered in their order."""
        key = _header_key(request)
        items = read_batch(request.body)
        results = [
            self._result(item, f"{key}:{index}" if key else None, f"results[{index}].")
            for index, item in enumerate(items)
        ]
        with self._store.entered() as store:
            stored = store.create_results(results)
        shown = [{**_shown(item), "replayed": item.replayed} for item in stored]
        note(results=len(stored))
        return json_response({"results": shown}, 201, headers=_replay_header(stored))

    def _result(self, raw: RawResult, header_key: str | None, where: str) -> Result:
        values, now = raw.values, self._now()
        _check_members(values, where)
        model = _name(values["model"], f"{where}model", 128)
        version = _name(_version(values["version"], where), f"{where}version", 64)
        labels = _labels(values.get("labels", {}), f"{where}labels")
        request_id = _request_id(values.get("request_id"), header_key, where)
        expires_at = _expires_at(values.get("expires_at"), now, f"{where}expires_at")
        hashed = {name: value for name, value in values.items() if name not in ("request_id", "expires_at")}
        hashed |= {"version": version, "labels": labels}
        if expires_at:
            hashed["expires_at"] = expires_at.isoformat()
        return Result(
            id=_id(request_id),
            created_at=now,
            model=model,
            version=version,
            instances=raw.texts["instances"],
            predictions=raw.texts["predictions"],
            summary=_summary(values, self._declarations.get((model, version)), f"{where}summary"),
            payload_hash=hashlib.sha256(canonical(hashed)).hexdigest(),
            labels=labels,
            request_id=request_id,
            expires_at=expires_at,
        )


def _summary(values: Mapping[str, Any], declared: Mapping[str, str] | None, where: str) -> str:
    """Return what jobs count, as compact JSON; what is too long to be kept beside the payload is a count alone."""
    given = "summary" in values
    summary = check_summary(values["summary"], where) if given else summarise(values["predictions"], declared)
    text = json.dumps(summary, separators=(",", ":"))
    if len(text.encode()) <= _MAX_SUMMARY_BYTES:
        return text
    if given:
        raise InvalidRequestError(f"{where}: expected at most {_MAX_SUMMARY_BYTES} bytes", reason="INVALID_SUMMARY")
    return json.dumps({"count": summary["count"]})


def _header_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise InvalidRequestError(
            "Idempotency-Key: expected 1 to 255 visible ASCII characters", reason="INVALID_IDEMPOTENCY_KEY"
        )
    return key


def _request_id(given: Any, header_key: str | None, where: str) -> str | None:
    if given is None:
        return header_key
    if not isinstance(given, str) or not _KEY.fullmatch(given):
        raise InvalidRequestError(
            f"{where}request_id: expected 1 to 255 visible ASCII characters", reason="INVALID_IDEMPOTENCY_KEY"
        )
    # In a batch or a message an item's own id stands before the key that it came under.
    if header_key is not None and not where and header_key != given:
        raise InvalidRequestError(
            "request_id and Idempotency-Key differ: expected one of them, or the same",
            reason="INVALID_IDEMPOTENCY_KEY",
        )
    return given


def _check_members(values: Mapping[str, Any], where: str) -> None:
    missing = sorted({"model", "version", *PAYLOADS} - values.keys())
    if missing:
        raise InvalidRequestError(f"{where.rstrip('.') or 'the body'}: has no {', '.join(missing)}")
    unknown = sorted(values.keys() - _MEMBERS)
    if unknown:
        shown = json.dumps(unknown[0][:40])
        raise InvalidRequestError(
            f"{where.rstrip('.') or 'the body'}: unknown member {shown}, expected {', '.join(sorted(_MEMBERS))}"
        )


def _version(value: Any, where: str) -> Any:
    if type(value) is int and value >= 0:
        return str(value)
    return value


def _name(value: Any, where: str, max_chars: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= max_chars or not value.isprintable():
        got = kind_of(value) if not isinstance(value, str) else f"{len(value)} characters"
        raise InvalidRequestError(f"{where}: expected 1 to {max_chars} printable characters, got {got}")
    return check_text(value, where)


def _labels(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(value) > _MAX_LABELS:
        raise InvalidRequestError(f"{where}: expected an object of at most {_MAX_LABELS} strings")
    for name, text in value.items():
        if not _LABEL_NAME.fullmatch(name):
            raise InvalidRequestError(f"{where}: expected names of a letter, then up to 62 of A-Z a-z 0-9 _ . -")
        if not isinstance(text, str) or len(text) > _MAX_LABEL_CHARS:
            raise InvalidRequestError(f"{where}.{name}: expected a string of at most {_MAX_LABEL_CHARS} characters")
        check_text(text, f"{where}.{name}")
    return value


def _expires_at(value: Any, now: datetime, where: str) -> datetime | None:
    if value is None:
        return None
    try:
        if not isinstance(value, str) or not _TIME.fullmatch(value):
            raise ValueError
        moment = datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):
        moment = datetime.min.replace(tzinfo=UTC)
    if not now < moment < _END_OF_TIME:
        raise InvalidRequestError(
            f"{where}: expected a time with its offset, such as 2030-01-01T00:00:00Z, after now and before the year "
            "9999",
            reason="INVALID_EXPIRY",
        )
    return moment


def _id(request_id: str | None) -> str:
    digest = hashlib.sha256(b"request_id\0" + request_id.encode()).digest() if request_id else secrets.token_bytes(32)
    return base64.b32encode(digest[:16]).decode().rstrip("=").lower()


def _shown(stored: Stored) -> dict[str, Any]:
    result = stored.result
    return {
        "id": result.id,
        "created_at": _shown_time(result.created_at),
        "model": result.model,
        "version": result.version,
        "labels": dict(result.labels),
        "request_id": result.request_id,
        "expires_at": _shown_time(result.expires_at) if result.expires_at else None,
    }


def _shown_time(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _replay_header(stored: list[Stored]) -> dict[str, str]:
    return {"Idempotency-Replayed": "true"} if all(item.replayed for item in stored) else {}
