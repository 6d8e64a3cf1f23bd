"""What Cloud Storage's objects hold: metadata in the world, bytes in files below it."""

import base64
import hashlib
from pathlib import Path
from urllib.parse import quote

import google_crc32c

from .bodies import now, only
from .storage_buckets import bucket_name, bucket_of, stamped
from .wire import ApiError, Request
from .world import Resource, World

CHANGEABLE = {"contentType", "cacheControl", "contentEncoding", "contentDisposition", "metadata", "customTime"}
_KNOWN = {*CHANGEABLE, "name", "bucket", "size", "storageClass", "md5Hash", "crc32c", "kind", "acl", "contentLanguage"}


def keep_object(world: World, request: Request, about: Resource, data: bytes) -> Resource:
    """Keep a new object, or a new generation of one, and return its metadata.

    Args:
        world: Where it goes.
        request: The upload: its bucket, its name where `about` has none, and its preconditions.
        about: The metadata that the caller gave.
        data: What it holds.

    Raises:
        ApiError: 400; a checksum that the caller gave is not that of the data. 404; no such bucket. 412; a
            precondition does not hold.
    """
    bucket = bucket_of(world, request.parts["bucket"])["name"]
    only(about, _KNOWN)
    name = about.get("name") or request.query.get("name", "")
    if not name or len(name.encode()) > 1024 or "\n" in name:
        raise ApiError(400, "INVALID_ARGUMENT", f"Invalid object name: {name!r}")
    check_preconditions(request, world.find(object_name(bucket, name)))
    path_of_url = f"storage/v1/b/{bucket}/o/{quote(name, safe='')}"
    generation = str(1_700_000_000_000_000 + world.next_number())
    made = {
        "kind": "storage#object",
        "id": f"{bucket}/{name}/{generation}",
        "selfLink": f"https://www.googleapis.com/{path_of_url}",
        "mediaLink": f"https://storage.googleapis.com/download/{path_of_url}?alt=media",
        "contentType": "application/octet-stream",
        "storageClass": "STANDARD",
        **about,
        "name": name,
        "bucket": bucket,
        "generation": generation,
        "size": str(len(data)),
        "md5Hash": base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode(),
        "crc32c": base64.b64encode(google_crc32c.value(data).to_bytes(4, "big")).decode(),
        "timeCreated": now(),
    }
    for checksum in ("md5Hash", "crc32c"):
        if about.get(checksum) not in (None, made[checksum]):
            raise ApiError(400, "INVALID_ARGUMENT", f"Provided {checksum} does not match what was received.")
    path = object_path(world, bucket, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    world.resources[object_name(bucket, name)] = stamped(made, 1)
    return world.resources[object_name(bucket, name)]


def check_preconditions(request: Request, current: Resource | None) -> None:
    """Let a change of an object pass.

    Raises:
        ApiError: 412; the object is not of the generation that the request asks for.
    """
    for name, field in (("ifGenerationMatch", "generation"), ("ifMetagenerationMatch", "metageneration")):
        wanted = request.query.get(name)
        if wanted is not None and wanted != (current or {}).get(field, "0"):
            raise ApiError(412, "FAILED_PRECONDITION", "At least one of the pre-conditions you specified did not hold.")


def object_name(bucket: str, name: str) -> str:
    """Return the full name of an object."""
    return f"{bucket_name(bucket)}/objects/{name}"


def object_path(world: World, bucket: str, name: str) -> Path:
    """Return the file that holds an object's bytes."""
    file = quote(name, safe="")
    return world.folder / "objects" / bucket / (file if len(file) < 200 else hashlib.sha256(name.encode()).hexdigest())
