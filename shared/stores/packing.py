"""Which payloads are too large for a row, and the form in which they lie elsewhere."""

import hashlib
import secrets
import zlib
from collections.abc import Sequence

from shared.errors import PayloadTooLargeError, ServiceError
from shared.records import PayloadObject, Result

# Firestore takes 1 MiB a document; what is over this goes to the object store whatever the database.
MAX_ROW_BYTES = 900 * 1024
# What an answer of 32 MB can hold beside everything else.
MAX_PAYLOAD_BYTES = 31_000_000
PAYLOADS_FOLDER = "payloads"
_COMPRESSION_LEVEL = 1  # a third of the time of the usual 6, for a tenth more bytes


def too_large(results: Sequence[Result], max_inline_bytes: int | None) -> list[int]:
    """Return the indexes of the results whose payloads go elsewhere.

    Each that is large, then the largest, until the rest fits into one call.

    Args:
        max_inline_bytes: The most that one call may bring; None: anything.

    Raises:
        PayloadTooLargeError: A payload is more than an answer could hold.
    """
    sizes = [_size_bytes(result.instances) + _size_bytes(result.predictions) for result in results]
    if max(sizes, default=0) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError(
            f"instances and predictions: expected at most {MAX_PAYLOAD_BYTES} bytes together, got {max(sizes)}",
            reason="PAYLOAD_TOO_LARGE",
        )
    order = sorted(range(len(results)), key=lambda index: sizes[index], reverse=True)
    large = [index for index in order if sizes[index] > MAX_ROW_BYTES]
    if max_inline_bytes is not None:
        inline = sum(sizes) - sum(sizes[index] for index in large)
        for index in order[len(large) :]:
            if inline <= max_inline_bytes:
                break
            large.append(index)
            inline -= sizes[index]
    return large


def packed(result: Result) -> tuple[PayloadObject, bytes]:
    """Return what a row says of its payloads, and the object that holds them."""
    instances = result.instances.encode()
    content = instances + result.predictions.encode()
    payload_object = PayloadObject(
        # Never the same name twice: two requests with one key must not write one object.
        name=f"{PAYLOADS_FOLDER}/{result.id[:2]}/{result.id}-{secrets.token_hex(8)}.zz",
        sha256=hashlib.sha256(content).hexdigest(),
        instances_bytes=len(instances),
        size_bytes=len(content),
    )
    return payload_object, zlib.compress(content, _COMPRESSION_LEVEL)


def unpacked(compressed: bytes, held: PayloadObject) -> bytes:
    """Return the content of an object, instances followed by predictions.

    Raises:
        ServiceError: reason PAYLOAD_LOST; it is not what was stored.
    """
    try:
        # One byte more than there should be shows that there is more, without inflating it all.
        content = zlib.decompressobj().decompress(compressed, held.size_bytes + 1)
    except zlib.error:
        content = b""
    if hashlib.sha256(content).hexdigest() != held.sha256:
        raise ServiceError("the payload of a result is not what was stored", reason="PAYLOAD_LOST")
    return content


def _size_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())
