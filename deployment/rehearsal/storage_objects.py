"""Cloud Storage's objects, once they are there."""

from .bodies import only
from .storage_buckets import bucket_of, stamped
from .storage_content import CHANGEABLE, check_preconditions, keep_object, object_name, object_path
from .wire import Answer, Request, not_found
from .world import Resource, World


def object_bytes(world: World, bucket: str, name: str) -> bytes:
    """Return what an object holds.

    Raises:
        ApiError: 404; there is no such object.
    """
    world.get(object_name(bucket, name))
    return object_path(world, bucket, name).read_bytes()


class Objects:
    """Answers for the objects of every bucket."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        bucket = bucket_of(self._world, request.parts["bucket"])["name"]
        start, prefix = object_name(bucket, ""), request.query.get("prefix", "")
        delimiter = request.query.get("delimiter", "")
        items, prefixes = [], set()
        for full in sorted(n for n in self._world.resources if n.startswith(start + prefix)):
            rest = full[len(start + prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest[: rest.index(delimiter) + len(delimiter)])
            else:
                items.append(self._world.resources[full])
        return {"kind": "storage#objects", "items": items, "prefixes": sorted(prefixes)}

    def get(self, request: Request) -> Answer | Resource:
        found = self._find(request)
        if request.query.get("alt") != "media":
            return found
        data = object_path(self._world, found["bucket"], found["name"]).read_bytes()
        headers = {"Content-Type": found["contentType"], "ETag": found["etag"]}
        headers["X-Goog-Hash"] = f"crc32c={found['crc32c']},md5={found['md5Hash']}"
        first, _, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
        if not first:
            return Answer(data, 200, headers)
        part = data[int(first) : int(last or len(data)) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return Answer(part, 206, headers)

    def patch(self, request: Request) -> Resource:
        found = self._find(request)
        check_preconditions(request, found)
        changed = stamped({**found, **only(request.json, CHANGEABLE)}, int(found["metageneration"]) + 1)
        self._world.resources[object_name(found["bucket"], found["name"])] = changed
        return changed

    def delete(self, request: Request) -> Answer:
        found = self._find(request)
        check_preconditions(request, found)
        self._world.delete(object_name(found["bucket"], found["name"]))
        object_path(self._world, found["bucket"], found["name"]).unlink()
        return Answer(b"", 204)

    def rewrite(self, request: Request) -> Resource:
        found = self._find(request)
        data = object_path(self._world, found["bucket"], found["name"]).read_bytes()
        parts = {"bucket": request.parts["to_bucket"]}
        to = Request(request.method, request.host, request.path, request.query, request.headers, b"", parts)
        about = {name: found[name] for name in CHANGEABLE if name in found}
        about |= {"name": request.parts["to_object"], **request.json}
        made = keep_object(self._world, to, about, data)
        size = {"totalBytesRewritten": made["size"], "objectSize": made["size"]}
        return {"kind": "storage#rewriteResponse", **size, "done": True, "resource": made}

    def _find(self, request: Request) -> Resource:
        bucket = bucket_of(self._world, request.parts["bucket"])["name"]
        found = self._world.find(object_name(bucket, request.parts["object"]))
        if found is None or request.query.get("generation", found["generation"]) != found["generation"]:
            raise not_found(f"No such object: {bucket}/{request.parts['object']}")
        return found
