"""Cloud Storage's buckets and their policies."""

import re

from .bodies import now, only
from .wire import Answer, ApiError, Request, invalid, not_found
from .world import Resource, World

SERVICE = "storage.googleapis.com"
_KNOWN = {
    *("name", "location", "storageClass", "labels", "lifecycle", "versioning", "iamConfiguration", "softDeletePolicy"),
    *("retentionPolicy", "cors", "website", "logging", "defaultEventBasedHold", "encryption", "autoclass", "rpo"),
    *("hierarchicalNamespace", "billing", "customPlacementConfig", "kind", "acl", "defaultObjectAcl"),
}
# What a change may have in its body, and does not change.
_FIXED = {
    *("name", "id", "kind", "location", "locationType", "projectNumber", "selfLink", "metageneration", "etag"),
    *("timeCreated", "updated", "generation", "owner", "satisfiesPZS", "satisfiesPZI"),
}
_LOCATION = re.compile(r"US|EU|ASIA|EUR[457]|NAM4|ASIA1|[A-Z]+-[A-Z]+\d{1,2}")


def bucket_name(bucket: str) -> str:
    """Return the full name of a bucket."""
    return f"//{SERVICE}/buckets/{bucket}"


def bucket_of(world: World, bucket: str) -> Resource:
    """Return a bucket.

    Raises:
        ApiError: 404; there is none. 403; its project has not enabled the API.
    """
    found = world.find(bucket_name(bucket))
    if found is None:
        raise not_found(f"The specified bucket {bucket} does not exist")
    world.require_enabled(world.project_id(found["projectNumber"]), SERVICE)
    return found


def stamped(resource: Resource, metageneration: int) -> Resource:
    """Return a bucket or an object with the marks of a change."""
    return {**resource, "metageneration": str(metageneration), "etag": f"CA{metageneration}=", "updated": now()}


class Buckets:
    """Answers for the buckets of every project."""

    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        number = self._world.project_number(self._project(request))
        found = [b for b in self._world.below(f"//{SERVICE}/buckets/") if b["projectNumber"] == number]
        prefix = request.query.get("prefix", "")
        return {"kind": "storage#buckets", "items": [b for b in found if b["name"].startswith(prefix)]}

    def create(self, request: Request) -> Resource:
        project = self._project(request)
        body = only(request.json, _KNOWN)
        bucket, location = str(body.get("name", "")), str(body.get("location", "US")).upper()
        if not re.fullmatch(r"[a-z0-9][-_.a-z0-9]{1,61}[a-z0-9]", bucket) or bucket.startswith("goog"):
            raise invalid(f"Invalid bucket name: '{bucket}'")
        if not _LOCATION.fullmatch(location):
            raise invalid(f"The specified location constraint is not valid: {location}.")
        made = {
            "kind": "storage#bucket",
            "id": bucket,
            "selfLink": f"https://www.googleapis.com/storage/v1/b/{bucket}",
            "projectNumber": self._world.project_number(project),
            "storageClass": "STANDARD",
            "softDeletePolicy": {"retentionDurationSeconds": "604800", "effectiveTime": now()},
            **body,
            "location": location,
            "locationType": "region" if "-" in location else "multi-region",
            "iamConfiguration": _access(body.get("iamConfiguration", {})),
            "timeCreated": now(),
        }
        if self._world.find(bucket_name(bucket)):
            raise ApiError(409, "ALREADY_EXISTS", "The requested bucket name is not available: it is taken already.")
        self._world.policies[bucket_name(bucket)] = _first_policy(project)
        return self._world.create(bucket_name(bucket), stamped(made, 1))

    def get(self, request: Request) -> Resource:
        return bucket_of(self._world, request.parts["bucket"])

    def patch(self, request: Request) -> Resource:
        """Change the fields that the body has; those that are null go away."""
        current = self.get(request)
        body = {name: value for name, value in only(request.json, _KNOWN | _FIXED).items() if name not in _FIXED}
        if "iamConfiguration" in body:
            body["iamConfiguration"] = _access({**current["iamConfiguration"], **body["iamConfiguration"]})
        labels = {**current.get("labels", {}), **(body.pop("labels", None) or {})}
        changed = {**current, **body, "labels": {k: v for k, v in labels.items() if v is not None}}
        changed = {name: value for name, value in changed.items() if value not in (None, {})}
        changed = stamped(changed, int(current["metageneration"]) + 1)
        self._world.resources[bucket_name(current["name"])] = changed
        return changed

    def delete(self, request: Request) -> Answer:
        bucket = self.get(request)["name"]
        if any(name.startswith(f"{bucket_name(bucket)}/objects/") for name in self._world.resources):
            raise ApiError(409, "FAILED_PRECONDITION", "The bucket you tried to delete is not empty.")
        self._world.delete(bucket_name(bucket))
        return Answer(b"", 204)

    def policy(self, request: Request) -> Resource:
        return {"kind": "storage#policy", **self._world.policy(bucket_name(self.get(request)["name"]))}

    def set_policy(self, request: Request) -> Resource:
        bucket = self.get(request)
        policy = only(request.json, {"kind", "resourceId", "version", "etag", "bindings"})
        members = {member for binding in policy.get("bindings", []) for member in binding.get("members", [])}
        closed = bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
        if closed and {"allUsers", "allAuthenticatedUsers"} & members:
            raise ApiError(412, "FAILED_PRECONDITION", "The member bindings allUsers and allAuthenticatedUsers are not "
                           "allowed since public access prevention is enforced.")  # fmt: skip
        return {"kind": "storage#policy", **self._world.set_policy(bucket_name(bucket["name"]), policy)}

    def no_folders(self, request: Request) -> Resource:
        self.get(request)
        return {"kind": "storage#managedFolders", "items": []}

    def layout(self, request: Request) -> Resource:
        bucket = self.get(request)
        layout: Resource = {"kind": "storage#storageLayout", "bucket": bucket["name"]}
        return layout | {name: bucket[name] for name in ("location", "locationType")}

    def _project(self, request: Request) -> str:
        project = self._world.project_id(request.query.get("project", ""))
        self._world.require_enabled(project, SERVICE)
        return project


def _access(given: Resource) -> Resource:
    uniform = given.get("uniformBucketLevelAccess") or {"enabled": False}
    return {
        "uniformBucketLevelAccess": uniform,
        "publicAccessPrevention": given.get("publicAccessPrevention") or "inherited",
    }


def _first_policy(project: str) -> Resource:
    owners = [f"projectEditor:{project}", f"projectOwner:{project}"]
    readers = [f"projectViewer:{project}"]
    bindings = [
        {"role": "roles/storage.legacyBucketOwner", "members": owners},
        {"role": "roles/storage.legacyBucketReader", "members": readers},
    ]
    return {"version": 1, "bindings": bindings}
