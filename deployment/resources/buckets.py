"""The buckets of payloads and models, and who reads and writes them."""

from collections.abc import Iterator

from deployment.bindings import Binding, binding_changes, is_one_of
from deployment.changes import Change, create
from deployment.gcloud import Command
from deployment.names import Names
from deployment.present import Present

_OBJECT_ROLES = {"read": "roles/storage.objectViewer", "write": "roles/storage.objectUser"}


def bucket_changes(names: Names, present: Present) -> Iterator[Change]:
    """Yield the buckets that are missing, and the grants on them."""
    there = present.named("buckets")
    wanted: dict[str, set[Binding]] = {}
    for use, bucket in names.buckets().items():
        wanted.setdefault(bucket, set()).update(_bindings(names, use))
    for bucket, bindings in wanted.items():
        if bucket not in there:
            make: Command = ("storage", "buckets", "create", f"gs://{bucket}", f"--location={names.environment.region}")
            guarded = ("--uniform-bucket-level-access", "--public-access-prevention", "--soft-delete-duration=7d")
            yield create("bucket", bucket, (*make, *guarded))
        url = f"https://storage.googleapis.com/storage/v1/b/{bucket}/iam"
        policy = present.policy(url) if bucket in there else {}

        def command(verb: str, bucket: str = bucket) -> Command:
            return ("storage", "buckets", f"{verb}-iam-policy-binding", f"gs://{bucket}", "--format=none")

        owned = is_one_of(names.members)
        yield from binding_changes(f"bucket {bucket}", policy, bindings, command, owned)


def _bindings(names: Names, use: str) -> Iterator[Binding]:
    for service in names.services:
        access = service.objects if use == "objects" else "read" if service.models else "none"
        if access != "none":
            yield _OBJECT_ROLES[access], names.member(service.service)
