"""Which roles IAM knows, on what each can be granted, and how members are written."""

import re

from .wire import invalid

_PREDEFINED = {
    "artifactregistry": "admin createOnPushRepoAdmin createOnPushWriter reader repoAdmin serviceAgent writer",
    "cloudbuild": "builds.approver builds.builder builds.editor builds.viewer serviceAgent",
    "cloudscheduler": "admin jobRunner serviceAgent viewer",
    "cloudsql": "admin client editor instanceUser viewer",
    "cloudtrace": "admin agent user",
    "datastore": "backupsAdmin importExportAdmin indexAdmin owner user viewer",
    "errorreporting": "admin user viewer writer",
    "eventarc": "admin eventReceiver serviceAgent viewer",
    "firebaserules": "admin system viewer",
    "iam": "roleAdmin securityAdmin securityReviewer serviceAccountAdmin serviceAccountCreator serviceAccountDeleter "
    "serviceAccountKeyAdmin serviceAccountOpenIdTokenCreator serviceAccountTokenCreator serviceAccountUser "
    "serviceAccountViewer workloadIdentityPoolAdmin workloadIdentityUser",
    "iap": "admin httpsResourceAccessor",
    "logging": "admin bucketWriter configWriter logWriter privateLogViewer viewAccessor viewer",
    "monitoring": "admin alertPolicyEditor alertPolicyViewer editor metricWriter notificationChannelEditor "
    "notificationChannelViewer viewer",
    "pubsub": "admin editor publisher serviceAgent subscriber viewer",
    "resourcemanager": "projectIamAdmin projectMover",
    "run": "admin builder developer invoker jobsExecutor serviceAgent servicesInvoker sourceDeveloper sourceViewer "
    "viewer",
    "secretmanager": "admin secretAccessor secretVersionAdder secretVersionManager viewer",
    "serviceusage": "apiKeysAdmin serviceUsageAdmin serviceUsageConsumer serviceUsageViewer",
    "storage": "admin bucketViewer folderAdmin legacyBucketOwner legacyBucketReader legacyBucketWriter "
    "legacyObjectOwner legacyObjectReader objectAdmin objectCreator objectUser objectViewer",
}
_BASIC = ("roles/owner", "roles/editor", "roles/viewer", "roles/browser")
_KNOWN = {*_BASIC, *(f"roles/{service}.{name}" for service, names in _PREDEFINED.items() for name in names.split())}
_CUSTOM = re.compile(r"(projects|organizations)/[^/]+/roles/[A-Za-z0-9_.]+")
# What guards its own resources with its own roles alone; a project takes them all.
_OWN_ROLES = ("artifactregistry", "iam", "iap", "pubsub", "run", "secretmanager", "storage")
_MEMBER = re.compile(
    r"allUsers|allAuthenticatedUsers|(user|serviceAccount|group):[^@\s:]+@[^@\s]+|domain:[^\s@]+"
    r"|(projectOwner|projectEditor|projectViewer):[^\s]+|(principal|principalSet)://[^\s]+|deleted:[^\s]+"
)


def check_role(name: str, role: str) -> None:
    """Let a role in the policy of a resource pass.

    Args:
        name: The full name of the resource.
        role: Such as `roles/pubsub.publisher`.

    Raises:
        ApiError: 400; there is no such role, or it cannot be granted there.
    """
    if _CUSTOM.fullmatch(role):
        return
    service = name.removeprefix("//").partition(".")[0]
    strange = service in _OWN_ROLES and role not in _BASIC and not role.startswith(f"roles/{service}.")
    if role not in _KNOWN or strange:
        raise invalid(f"Role {role} is not supported for this resource.")


def check_member(member: str) -> None:
    """Let a member pass that is written as IAM writes them.

    Raises:
        ApiError: 400; it is not.
    """
    if not _MEMBER.fullmatch(member):
        raise invalid(
            f"Invalid member {member!r}: expected user:, serviceAccount:, group: or the like before an address."
        )
