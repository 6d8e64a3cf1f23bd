"""Services and revisions as Knative writes them: what is taken, what is added, what is shown."""

import hashlib
import json
import re
from typing import Any

from .bodies import now, only
from .run_names import Place
from .wire import invalid
from .world import Resource

DEPLOYER = "deployer@example.com"
_METADATA = {"name", "namespace", "labels", "annotations", "generation", "resourceVersion", "uid", "creationTimestamp"}
_METADATA |= {"selfLink", "deletionTimestamp", "ownerReferences", "finalizers", "clusterName", "generateName"}
_TEMPLATE_SPEC = {
    "containers",
    "containerConcurrency",
    "timeoutSeconds",
    "serviceAccountName",
    "volumes",
    "runtimeClassName",
}
_TEMPLATE_SPEC |= {"nodeSelector", "enableServiceLinks", "imagePullSecrets"}
_CONTAINER = {
    "name",
    "image",
    "command",
    "args",
    "env",
    "envFrom",
    "resources",
    "ports",
    "volumeMounts",
    "startupProbe",
}
_CONTAINER |= {"livenessProbe", "readinessProbe", "workingDir", "imagePullPolicy", "securityContext"}
_TARGET = {"revisionName", "latestRevision", "percent", "tag", "url", "configurationName"}


def checked(service: Resource) -> Resource:
    """Return a service as it came, with what may be left out; a field that the API does not know is refused."""
    only(service, {"apiVersion", "kind", "metadata", "spec", "status"})
    if service.get("apiVersion") != "serving.knative.dev/v1" or service.get("kind") != "Service":
        raise invalid("apiVersion and kind: expected serving.knative.dev/v1 and Service")
    spec = only(service.get("spec", {}), {"template", "traffic"})
    template = only(spec.get("template", {}), {"metadata", "spec"})
    only(service.setdefault("metadata", {}), _METADATA)
    only(template.get("metadata", {}), _METADATA)
    only(template.get("spec", {}), _TEMPLATE_SPEC)
    for container in template.get("spec", {}).get("containers", []):
        only(container, _CONTAINER)
    for target in spec.get("traffic", []):
        only(target, _TARGET)
    return service


def complete(place: Place, service: Resource, version: int) -> None:
    """Write what Cloud Run itself writes into a service's metadata."""
    metadata = service["metadata"]
    metadata |= {"namespace": place.number, "resourceVersion": str(version)}
    metadata["selfLink"] = f"/apis/serving.knative.dev/v1/namespaces/{place.number}/services/{metadata['name']}"
    metadata.setdefault("labels", {})["cloud.googleapis.com/location"] = place.region
    annotations = metadata.setdefault("annotations", {})
    annotations["run.googleapis.com/urls"] = json.dumps(place.urls(metadata["name"]), separators=(",", ":"))
    annotations.setdefault("run.googleapis.com/ingress", "all")
    annotations["run.googleapis.com/ingress-status"] = annotations["run.googleapis.com/ingress"]
    annotations.setdefault("serving.knative.dev/creator", DEPLOYER)
    annotations["serving.knative.dev/lastModifier"] = DEPLOYER


def said(service: Resource) -> tuple[Any, Any]:
    """Return what a service says of itself: a change of it is a new generation."""
    return service["metadata"].get("labels"), service["metadata"].get("annotations")


def shown(revision: Resource) -> Resource:
    """Return a revision without what the rehearsal keeps with it."""
    return {key: value for key, value in revision.items() if key != "rehearsal"}


def listed(kind: str, items: list[Resource]) -> Resource:
    """Return a list of one kind."""
    return {"apiVersion": "serving.knative.dev/v1", "kind": kind, "metadata": {}, "items": items, "unreachable": []}


def selected(resource: Resource, selector: str) -> bool:
    """Say whether a label selector means a resource; only `key=value` is rehearsed."""
    labels = resource["metadata"]["labels"]
    for part in filter(None, selector.split(",")):
        found = re.fullmatch(r"\s*([^\s=]+)\s*==?\s*([^\s=]+)\s*", part)
        if not found:
            raise invalid(f"labelSelector: only key=value is rehearsed, got {selector!r}")
        if labels.get(found[1]) != found[2]:
            return False
    return True


def uid(place: Place, name: str) -> str:
    """Return a new identity in the form of a UUID."""
    digest = hashlib.sha256(f"{place.parent}/{name}/{now()}".encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"
