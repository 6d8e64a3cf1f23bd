"""Pages as AIP-158 has them (https://google.aip.dev/158): a size that is coerced, a token that is opaque.

A token holds where the page ended and is signed together with the query it belongs to. It authorises nothing.
"""

import base64
import binascii
import contextlib
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.errors import ConfigurationError, InvalidRequestError
from shared.strict_json import canonical

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 50, 500
_SIGNATURE_BYTES = 16
_MAX_TOKEN_CHARS = 1024


def single_values(query: Mapping[str, Sequence[str]], known: Sequence[str], prefix: str = "") -> dict[str, str]:
    """Return the query's parameters, each of which may be given once.

    Args:
        query: Every value of each parameter.
        known: The parameters there are.
        prefix: Parameters that begin so are taken too.

    Raises:
        InvalidRequestError: reason UNKNOWN_PARAMETER or REPEATED_PARAMETER.
    """
    for name, values in query.items():
        if name not in known and not (prefix and name.startswith(prefix)):
            raise InvalidRequestError(
                f"unknown query parameter {json.dumps(name[:40])}: expected {', '.join(known)}",
                reason="UNKNOWN_PARAMETER",
            )
        if len(values) > 1:
            raise InvalidRequestError(f"{name[:40]}: expected once", reason="REPEATED_PARAMETER")
    return {name: values[0] for name, values in query.items()}


def page_size(text: str | None) -> int:
    """Return the page size asked for: 0 or none is the default, more than 500 is 500.

    Raises:
        InvalidRequestError: reason INVALID_PAGE_SIZE; not a whole number from 0.
    """
    if not text:
        return DEFAULT_PAGE_SIZE
    if not text.isascii() or not text.isdigit():
        raise InvalidRequestError("page_size: expected a whole number from 0 to 500", reason="INVALID_PAGE_SIZE")
    return min(int(text.lstrip("0")[:9] or "0"), MAX_PAGE_SIZE) or DEFAULT_PAGE_SIZE


class PageTokens:
    """Makes and checks page tokens under one secret key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, query: Mapping[str, object], position: Sequence[str | int]) -> str:
        """Return the token for the page that follows `position` in `query`."""
        payload = canonical(list(position))
        return _spelled(self._signature(query, payload) + payload)

    def decode(self, query: Mapping[str, object], token: str) -> list[str | int]:
        """Return the position a token holds.

        Raises:
            InvalidRequestError: reason INVALID_PAGE_TOKEN; cut, altered, or of another query.
        """
        try:
            if len(token) > _MAX_TOKEN_CHARS:
                raise ValueError
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
            # Base64 has several spellings of the same bytes, even with validate; a token has one.
            if _spelled(raw) != token or not hmac.compare_digest(signature, self._signature(query, payload)):
                raise ValueError
            position: list[str | int] = json.loads(payload)
        except (ValueError, binascii.Error):
            raise InvalidRequestError(
                "page_token: expected a token of this very query, as next_page_token gave it",
                reason="INVALID_PAGE_TOKEN",
            ) from None
        return position

    def _signature(self, query: Mapping[str, object], payload: bytes) -> bytes:
        question = canonical(dict(query))
        text = len(question).to_bytes(8, "big") + question + payload
        return hmac.digest(self._key, text, hashlib.sha256)[:_SIGNATURE_BYTES]


def _spelled(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def page_token_key(given: bytes | None, state_dir: Path, in_cloud: bool) -> bytes:
    """Return the key that signs page tokens: the one given, or locally one that is made once and kept.

    Raises:
        ConfigurationError: In the cloud without PAGE_TOKEN_KEY, where each instance would make its own; or it cannot
            be kept.
    """
    if given:
        return given
    if in_cloud:
        raise ConfigurationError(["PAGE_TOKEN_KEY: expected a secret of at least 16 characters, it is not set"])
    try:
        return _kept_key(state_dir)
    except OSError as error:
        raise ConfigurationError([f"STATE_DIR: expected a folder that can be written: {error}"]) from error


def _kept_key(state_dir: Path) -> bytes:
    path = state_dir / "page_token_key"
    if path.exists():
        return path.read_bytes()
    state_dir.mkdir(parents=True, exist_ok=True)
    draft = state_dir / f"page_token_key.{os.getpid()}.{secrets.token_hex(4)}"
    draft.touch(mode=0o600)
    draft.write_bytes(secrets.token_hex(32).encode())
    # Several functions may start at once: the first to link decides.
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    draft.unlink()
    return path.read_bytes()
