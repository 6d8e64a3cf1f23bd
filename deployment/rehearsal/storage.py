"""Cloud Storage's JSON API."""

from .storage_buckets import SERVICE, Buckets
from .storage_objects import Objects
from .storage_uploads import Uploads
from .wire import Api, api, route
from .world import World


def storage_api(world: World) -> Api:
    """Return the API."""
    buckets, objects, uploads = Buckets(world), Objects(world), Uploads(world)
    bucket = "/storage/v1/b/{bucket}"
    one = bucket + "/o/{object=**}"
    return api(
        SERVICE,
        route("GET", "/storage/v1/b", buckets.list_all),
        route("POST", "/storage/v1/b", buckets.create),
        route("GET", bucket, buckets.get),
        route("PATCH", bucket, buckets.patch),
        route("DELETE", bucket, buckets.delete),
        route("GET", bucket + "/iam", buckets.policy),
        route("PUT", bucket + "/iam", buckets.set_policy),
        route("GET", bucket + "/storageLayout", buckets.layout),
        route("GET", bucket + "/managedFolders", buckets.no_folders),
        route("GET", bucket + "/o", objects.list_all),
        route("POST", bucket + "/o/{object=**}/rewriteTo/b/{to_bucket}/o/{to_object=**}", objects.rewrite),
        route("GET", one, objects.get),
        route("PATCH", one, objects.patch),
        route("DELETE", one, objects.delete),
        route("GET", "/download" + one, objects.get),
        route("POST", "/upload" + bucket + "/o", uploads.begin),
        route("PUT", "/upload" + bucket + "/o", uploads.take),
        route("POST", "/resumable/upload" + bucket + "/o", uploads.begin),
        route("PUT", "/resumable/upload" + bucket + "/o", uploads.take),
    )
