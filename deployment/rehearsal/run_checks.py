"""What Cloud Run refuses of a service before anything is made: names, sizes, variables, traffic."""

import re
from typing import Any

from .iap import ANNOTATION as _SIGN_IN
from .iap import SERVICE as _IAP
from .run_names import Place
from .run_sizes import CONTAINER, TEMPLATE, check_size
from .wire import ApiError, invalid
from .world import Resource, World

_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?")
_TAG = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")
_GOOGLES_LABEL = re.compile(
    r"(client\.knative\.dev|serving\.knative\.dev|run\.googleapis\.com|cloud\.googleapis\.com)/.+"
)
# A host name holds 63 characters: the tag, three dashes, the service, the project's hash and the region's code.
_TAG_AND_SERVICE_LENGTH = 46
_RESERVED = {"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"}
_MOST_STARTUP_SECONDS = 240
_STAGE = "run.googleapis.com/launch-stage"


def check_service(world: World, place: Place, service: Resource) -> None:
    """Refuse a service as Cloud Run would on receiving it.

    Raises:
        ApiError: 400, or 403 for a service account that is not there.
    """
    name = service.get("metadata", {}).get("name", "")
    if not _SERVICE_NAME.fullmatch(name):
        raise invalid(
            f"metadata.name: {name!r} must use only lowercase alphanumeric characters and dashes, and be < 50"
        )
    template = service.get("spec", {}).get("template", {})
    check_labels("metadata.labels", service["metadata"].get("labels", {}))
    check_labels("spec.template.metadata.labels", template.get("metadata", {}).get("labels", {}))
    spec, annotations = template.get("spec", {}), template.get("metadata", {}).get("annotations", {})
    containers = spec.get("containers", [])
    if len(containers) != 1 or not containers[0].get("image"):
        raise invalid(f"{TEMPLATE}.containers: exactly one container with an image is expected here")
    check_size(spec, annotations)
    _check_scale(annotations)
    _check_environment(containers[0].get("env", []))
    _check_startup_probe(containers[0])
    _check_account(world, place, spec.get("serviceAccountName"))
    _check_sign_in(world, place, service["metadata"].get("annotations", {}))
    check_traffic(world, place, service)


def check_labels(where: str, labels: dict[str, str]) -> None:
    """Refuse labels that Google rejects.

    Raises:
        ApiError: 400.
    """
    for key, value in labels.items():
        if not _LABEL_KEY.fullmatch(key) and not _GOOGLES_LABEL.fullmatch(key):
            raise invalid(f"{where}: Label key {key!r} is not valid")
        if not _LABEL_VALUE.fullmatch(value):
            raise invalid(
                f"{where}: Label value {value!r} of {key} is not valid: lower case, digits, _ and -, 63 at most"
            )


def check_traffic(world: World, place: Place, service: Resource) -> None:
    """Refuse a split that does not add up, a tag that cannot stand in a host name, a revision that is not there.

    Raises:
        ApiError: 400.
    """
    targets = service.get("spec", {}).get("traffic") or [{"latestRevision": True, "percent": 100}]
    total = sum(target.get("percent", 0) for target in targets)
    if total != 100 or any(not 0 <= target.get("percent", 0) <= 100 for target in targets):
        raise invalid(f"spec.traffic: Traffic percentages must sum to 100, got {total}")
    tags = [target["tag"] for target in targets if target.get("tag")]
    for tag in tags:
        name = service["metadata"]["name"]
        if not _TAG.fullmatch(tag) or len(tag) + len(name) > _TAG_AND_SERVICE_LENGTH:
            raise invalid(
                f"spec.traffic: invalid tag {tag!r}: lower case, digits and dashes, 46 with the service's name"
            )
    if len(tags) != len(set(tags)):
        raise invalid("spec.traffic: a tag may be given to one target alone")
    coming = service["spec"].get("template", {}).get("metadata", {}).get("name")
    for target in targets:
        wanted = target.get("revisionName")
        if bool(wanted) == bool(target.get("latestRevision")):
            raise invalid("spec.traffic: exactly one of revisionName and latestRevision is expected in each target")
        if wanted and wanted != coming and not _is_revision(world, place, service, wanted):
            raise invalid(f"spec.traffic: Revision {wanted!r} of service {service['metadata']['name']!r} was not found")


def _is_revision(world: World, place: Place, service: Resource, name: str) -> bool:
    found = world.find(place.revision(name))
    return (
        found is not None and found["metadata"]["labels"]["serving.knative.dev/service"] == service["metadata"]["name"]
    )


def _check_scale(annotations: dict[str, str]) -> None:
    least = annotations.get("autoscaling.knative.dev/minScale", "0")
    most = annotations.get("autoscaling.knative.dev/maxScale", "100")
    if not (least.isdigit() and most.isdigit()) or int(most) < 1 or int(least) > int(most):
        raise invalid(f"spec.template.metadata.annotations: minScale {least} and maxScale {most} do not agree")


def _check_environment(variables: list[dict[str, Any]]) -> None:
    names = [variable.get("name", "") for variable in variables]
    reserved = [name for name in names if name in _RESERVED or name.startswith("X_GOOGLE_")]
    if reserved:
        text = f"The following reserved env names were provided: {', '.join(reserved)}."
        raise invalid(f"{CONTAINER}.env: {text} These values are automatically set by the system.")
    if len(names) != len(set(names)) or not all(name and "=" not in name for name in names):
        raise invalid(f"{CONTAINER}.env: a name is missing, holds = or stands twice")


def _check_startup_probe(container: dict[str, Any]) -> None:
    probe = container.get("startupProbe", {})
    period, most = probe.get("periodSeconds", 10), probe.get("failureThreshold", 3)
    if (
        probe.get("timeoutSeconds", 1) > period
        or period > _MOST_STARTUP_SECONDS
        or period * most > _MOST_STARTUP_SECONDS
    ):
        text = f"timeoutSeconds must not exceed periodSeconds, nor that * failureThreshold {_MOST_STARTUP_SECONDS}"
        raise invalid(f"{CONTAINER}.startupProbe: {text}")
    if probe.get("httpGet") and not probe["httpGet"].get("path", "/").startswith("/"):
        raise invalid(f"{CONTAINER}.startupProbe.httpGet.path: it must begin with a slash")


def _check_sign_in(world: World, place: Place, annotations: dict[str, str]) -> None:
    if _SIGN_IN not in annotations:
        return
    world.require_enabled(place.project, _IAP)
    if annotations[_SIGN_IN] not in ("true", "false"):
        raise invalid(f"metadata.annotations: {_SIGN_IN} must be true or false")
    if annotations.get(_STAGE) not in ("ALPHA", "BETA"):
        text = f"Annotation '{_SIGN_IN}' is not supported in the declared launch stage. Set annotation key '{_STAGE}'"
        raise invalid(f"metadata.annotations: {text} to at least 'BETA'.")


def _check_account(world: World, place: Place, email: str | None) -> None:
    email = email or f"{place.number}-compute@developer.gserviceaccount.com"
    if world.find(f"//iam.googleapis.com/projects/{place.project}/serviceAccounts/{email}") is None:
        text = f"Permission 'iam.serviceaccounts.actAs' denied on service account {email} (or it may not exist)."
        raise ApiError(403, "PERMISSION_DENIED", text)
