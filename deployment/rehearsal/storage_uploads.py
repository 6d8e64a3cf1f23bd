"""The three ways in which bytes come to Cloud Storage: at once, with their metadata, or in parts."""

import json
import re
from email import message_from_bytes
from email.message import Message

from .storage_buckets import bucket_of
from .storage_content import keep_object
from .wire import Answer, Request, invalid, not_found
from .world import Resource, World

_RESUME = 308


class Uploads:
    """Answers for uploads; those that come in parts are held in memory until the last one."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._open: dict[str, tuple[Request, Resource, bytes]] = {}

    def begin(self, request: Request) -> Answer | Resource:
        kind = request.query.get("uploadType")
        content_type = request.headers.get("content-type", "application/octet-stream")
        if kind == "media":
            return keep_object(self._world, request, {"contentType": content_type}, request.body)
        if kind == "multipart":
            about, data = _two_parts(content_type, request.body)
            return keep_object(self._world, request, about, data)
        if kind != "resumable":
            raise invalid(f"Invalid uploadType: {kind}")
        bucket_of(self._world, request.parts["bucket"])
        about = request.json
        about.setdefault("contentType", request.headers.get("x-upload-content-type", "application/octet-stream"))
        number = str(self._world.next_number())
        self._open[number] = (request, about, b"")
        url = f"https://{request.host}{request.path}?uploadType=resumable&upload_id={number}"
        return Answer(b"", 200, {"Location": url, "X-GUploader-UploadID": number})

    def take(self, request: Request) -> Answer | Resource:
        """Take a part: the last one makes the object; before that the answer says how much is there."""
        number = request.query.get("upload_id", "")
        if number not in self._open:
            raise not_found(f"upload {number}")
        first, about, data = self._open[number]
        span = request.headers.get("content-range", "")
        found = re.fullmatch(r"bytes (\*|(\d+)-(\d+))/(\*|\d+)", span) if span else None
        if span and not found:
            raise invalid(f"Failed to parse Content-Range header: {span}")
        if found and found[2] and int(found[2]) != len(data):
            raise invalid(f"Invalid request. There were {len(data)} bytes, and the part begins at {found[2]}.")
        data += request.body
        if found and found[4] != str(len(data)):
            self._open[number] = (first, about, data)
            return Answer(b"", _RESUME, {"Range": f"bytes=0-{len(data) - 1}"} if data else {})
        del self._open[number]
        return keep_object(self._world, first, about, data)


def _two_parts(content_type: str, body: bytes) -> tuple[Resource, bytes]:
    message: Message = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode())
    boundary = (message.get_boundary() or "").strip("'")
    if not boundary:
        raise invalid(f"A multipart upload without a boundary: {content_type}")
    # By hand: the email package would change the line ends of the bytes.
    # gcloud's older library puts the boundary in single quotes, which Google takes for quotes.
    pieces = body.split(b"--" + boundary.strip("'").encode())
    if len(pieces) != 4:
        raise invalid(f"A multipart upload has two parts, not {len(pieces) - 2}.")
    metadata, media = (piece.split(b"\n", 1)[1] for piece in pieces[1:3])
    heads, texts = zip(*(_split(part) for part in (metadata, media)), strict=True)
    about = json.loads(texts[0])
    about.setdefault("contentType", heads[1] or "application/octet-stream")
    return about, texts[1]


def _split(part: bytes) -> tuple[str, bytes]:
    end = re.search(rb"\r?\n\r?\n", part)
    if not end:
        raise invalid("A part of the multipart upload has no end of its headers.")
    text = part[end.end() :]
    text = text[:-2] if text.endswith(b"\r\n") else text[:-1]
    return message_from_bytes(part[: end.end()]).get_content_type(), text
