"""What becomes of a service that is put: it is checked, its revision made, its traffic set."""

import copy

from .bodies import now
from .revisions import Revisions
from .run_checks import check_service
from .run_names import Place
from .run_rollout import condition, roll_out, settle
from .run_shapes import DEPLOYER, complete, said, uid
from .wire import ApiError, invalid
from .world import Resource, World

_CONSONANTS = "bcdfghjklmnpqrstvwxz"
_DEFAULT_PROBE = {"tcpSocket": {"port": 8080}, "timeoutSeconds": 240, "periodSeconds": 240, "failureThreshold": 1}


def put_service(
    world: World, revisions: Revisions, place: Place, service: Resource, kept: Resource | None, dry_run: bool
) -> Resource:
    """Make a service what it is to be, or say why not; its new revision, if it needs one, starts on its own.

    Args:
        world: Where it goes.
        revisions: Run what is deployed.
        place: Where it is.
        service: As it is to be, with the generation and the status that it has so far.
        kept: As it is; None: there is none.
        dry_run: Check it only.

    Raises:
        ApiError: Cloud Run would refuse it.
    """
    service["spec"]["traffic"] = service["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}]
    check_service(world, place, service)
    changed = kept is None or service["spec"]["template"] != kept["spec"]["template"]
    if changed:
        _check_new_name(world, place, service)
    if dry_run:
        return service
    if kept is None or service["spec"] != kept["spec"] or said(service) != said(kept):
        service["metadata"]["generation"] += 1
    complete(place, service, world.next_number())
    revision = _new_revision(world, place, service) if changed else None
    if revision:
        service["status"]["latestCreatedRevisionName"] = revision["metadata"]["name"]
    world.resources[place.service(service["metadata"]["name"])] = service
    settle(world, place, service)
    if revision:
        roll_out(world, revisions, place, revision)
    return service


def _check_new_name(world: World, place: Place, service: Resource) -> None:
    name = service["spec"]["template"].get("metadata", {}).get("name")
    if name and not name.startswith(f"{service['metadata']['name']}-"):
        raise invalid(f"spec.template.metadata.name: {name!r} must begin with the service's name and a dash")
    if name and world.find(place.revision(name)):
        raise ApiError(409, "ALREADY_EXISTS", f"Revision named '{name}' with different configuration already exists.")


def _new_revision(world: World, place: Place, service: Resource) -> Resource:
    template, generation = copy.deepcopy(service["spec"]["template"]), service["metadata"]["generation"]
    owner = service["metadata"]["name"]
    about, spec = template.get("metadata", {}), template["spec"]
    name = about.get("name") or f"{owner}-{generation:05d}-{_suffix(world.next_number())}"
    labels = {
        **about.get("labels", {}),
        "serving.knative.dev/service": owner,
        "serving.knative.dev/configuration": owner,
        "serving.knative.dev/configurationGeneration": str(generation),
        "cloud.googleapis.com/location": place.region,
    }
    spec.setdefault("serviceAccountName", f"{place.number}-compute@developer.gserviceaccount.com")
    spec["containers"][0].setdefault("startupProbe", _DEFAULT_PROBE)
    metadata = {**about, "name": name, "namespace": place.number, "labels": labels, "generation": 1}
    metadata["annotations"] = {**about.get("annotations", {}), "serving.knative.dev/creator": DEPLOYER}
    metadata |= {"creationTimestamp": now(), "uid": uid(place, name), "resourceVersion": str(world.next_number())}
    waiting = [
        condition(kind, "Unknown", "Deploying...") for kind in ("Ready", "ContainerHealthy", "ResourcesAvailable")
    ]
    status = {"observedGeneration": 1, "conditions": waiting, "logUrl": "https://console.cloud.google.com/logs"}
    revision = {"apiVersion": "serving.knative.dev/v1", "kind": "Revision", "metadata": metadata, "spec": spec}
    return world.create(place.revision(name), {**revision, "status": status})


def _suffix(number: int) -> str:
    return "".join(_CONSONANTS[number // len(_CONSONANTS) ** place % len(_CONSONANTS)] for place in range(3))
