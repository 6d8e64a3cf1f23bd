"""How a service comes to be what was asked for: its newest revision started, its traffic moved, its conditions told."""

import threading
import traceback
from typing import Any

from .account_access import has_role
from .artifactregistry_images import find_image, parse_image
from .bodies import now
from .revisions import Revisions
from .revisions_environment import UnusableError
from .run_names import Place, all_services, place_of_service
from .wire import ApiError
from .world import Resource, World, locked

CONDITIONS = ("Ready", "ContainerHealthy", "ResourcesAvailable")


def roll_out(world: World, revisions: Revisions, place: Place, revision: Resource) -> None:
    """Bring up a revision on a thread of its own; its conditions and its service's say when and how that ended."""
    arguments = (world, revisions, place, revision)
    name = f"roll-out-{revision['metadata']['name']}"
    threading.Thread(target=_roll_out, args=arguments, name=name, daemon=True).start()


def resume_rollouts(world: World, revisions: Revisions) -> None:
    """Go on with what was under way when an earlier rehearsal of the same folder ended."""
    for service in all_services(world):
        place = place_of_service(world, service)
        for revision in world.below(place.revision("")):
            own = revision["metadata"]["labels"]["serving.knative.dev/service"] == service["metadata"]["name"]
            if own and _ready(revision)["status"] == "Unknown":
                roll_out(world, revisions, place, revision)


def settle(world: World, place: Place, service: Resource) -> None:
    """Set a service's status to what its specification and its revisions make of it.

    Where a revision that traffic or a tag is meant for is not ready, traffic stays as it was.
    """
    name, status, targets = service["metadata"]["name"], service["status"], service["spec"]["traffic"]
    newest = world.get(place.revision(status["latestCreatedRevisionName"]))
    if _ready(newest)["status"] == "True":
        status["latestReadyRevisionName"] = newest["metadata"]["name"]
    latest = status.get("latestReadyRevisionName")
    status |= {"observedGeneration": service["metadata"]["generation"], "url": place.url(name)}
    status["address"] = {"url": place.url(name)}
    names = [target.get("revisionName") or latest or newest["metadata"]["name"] for target in targets]
    routed = _worst([found for one in names if (found := world.find(place.revision(one)))])
    if routed["status"] == "True":
        status["traffic"] = [_resolved(place, name, target, latest) for target in targets]
    made = {"ConfigurationsReady": _told(newest), "RoutesReady": routed}
    whole = next((state for state in made.values() if state["status"] != "True"), {"status": "True"})
    status["conditions"] = [condition(kind, **state) for kind, state in {"Ready": whole, **made}.items()]


def _worst(revisions: list[Resource]) -> dict[str, str]:
    """Return the state of the first revision that failed, else of the first that is not ready yet, else of any."""
    states = sorted(
        (_told(revision) for revision in revisions),
        key=lambda state: ("False", "Unknown", "True").index(state["status"]),
    )
    return states[0]


def _told(revision: Resource) -> dict[str, str]:
    """Return a revision's state as its service tells it."""
    ready = _ready(revision)
    state: dict[str, str] = {key: ready[key] for key in ("status", "message", "reason") if key in ready}
    if state["status"] == "False":
        state["message"] = (
            f"Revision '{revision['metadata']['name']}' is not ready and cannot serve traffic. {ready['message']}"
        )
    return state


def _ready(revision: Resource) -> dict[str, str]:
    found: dict[str, str] = revision["status"]["conditions"][0]
    return found


def condition(kind: str, status: str, message: str = "", reason: str = "") -> dict[str, str]:
    """Return a condition as Knative writes it."""
    made = {"type": kind, "status": status, "lastTransitionTime": now(), "message": message, "reason": reason}
    return {key: value for key, value in made.items() if value}


def _roll_out(world: World, revisions: Revisions, place: Place, revision: Resource) -> None:
    problem = ""
    try:
        with locked(world):
            _resolve_image(world, place, revision)
            _check_volumes(world, place, revision)
        revisions.start(place, revision)
    except UnusableError as error:
        problem = str(error)
    except Exception:  # a fault of the rehearsal itself: shown whole, where the revision's failure is shown
        problem = traceback.format_exc()
    if revisions.closed:
        return
    with locked(world):
        state = ("False", problem, "HealthCheckContainerError") if problem else ("True",)
        revision["status"]["conditions"] = [condition(kind, *state) for kind in CONDITIONS]
        service = world.find(place.service(revision["metadata"]["labels"]["serving.knative.dev/service"]))
        if service:
            settle(world, place, service)


def _resolve_image(world: World, place: Place, revision: Resource) -> None:
    url = revision["spec"]["containers"][0]["image"]
    try:
        image = parse_image(url)
    except ApiError as error:
        raise UnusableError(error.message) from error
    if image.project != place.project:
        agent = f"service-{place.number}@serverless-robot-prod.iam.gserviceaccount.com"
        _check_reader(world, image.repository_name, image.project, agent, url)
    version = find_image(world, image)
    if version is None:
        raise UnusableError(f"Image '{url}' not found.")
    digest = version["rehearsal"]["digest"]
    revision["rehearsal"] = {"version": f"{image.package}/versions/{digest}"}
    revision["status"]["imageDigest"] = image.with_digest(digest)


def _check_reader(world: World, repository: str, project: str, agent: str, url: str) -> None:
    if not has_role(world, repository, "roles/artifactregistry.reader", f"serviceAccount:{agent}"):
        raise UnusableError(
            f"Google Cloud Run Service Agent {agent} must have permission to read the image, {url}. Ensure that the "
            "provided container image URL is correct and that the above account has permission to access the image. "
            f"Note that the image is from project [{project}], which is not the same as this project."
        )


def _check_volumes(world: World, place: Place, revision: Resource) -> None:
    for volume in revision["spec"].get("volumes", []):
        bucket = volume.get("csi", {}).get("volumeAttributes", {}).get("bucketName")
        if bucket and not any(name.endswith(f"/buckets/{bucket}") for name in world.resources):
            raise UnusableError(f"mounting volume {volume['name']!r} failed: bucket {bucket} does not exist")


def _resolved(place: Place, service: str, target: dict[str, Any], latest: str | None) -> dict[str, Any]:
    made = {"revisionName": target.get("revisionName") or latest}
    made |= {key: target[key] for key in ("percent", "latestRevision", "tag") if target.get(key)}
    if target.get("tag"):
        made["url"] = place.url(service, target["tag"])
    return made
