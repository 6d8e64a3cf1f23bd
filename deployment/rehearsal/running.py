"""A rehearsal as a whole: its projects, its APIs behind one proxy, its processes, and the variables that lead there."""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from .artifactregistry import artifactregistry_api, containeranalysis_api
from .billing import billing_api
from .certificates import Authority
from .cloud_scheduler import CloudSchedulerEmulator, cloud_scheduler_emulator
from .cloudbuild import cloudbuild_api
from .cloudresourcemanager import cloudresourcemanager_api
from .control_plane import TOKEN, serving
from .firebaserules import firebaserules_api
from .firestore import firestore_api
from .front_door import front_door_api
from .iam import iam_api
from .iamcredentials import iamcredentials_api
from .iap import iap_api
from .logging import logging_api
from .monitoring import monitoring_api
from .proxy import Proxy
from .pubsub import pubsub_api
from .pubsub_delivery import Messages
from .revisions import Revisions
from .run import run_api
from .run_rollout import resume_rollouts
from .secretmanager import secretmanager_api
from .serviceusage import serviceusage_api
from .storage import storage_api
from .world import World, locked

_APIS = (
    *(serviceusage_api, cloudresourcemanager_api, billing_api, iam_api, iamcredentials_api, storage_api, pubsub_api),
    *(secretmanager_api, firestore_api, firebaserules_api, cloudbuild_api, artifactregistry_api),
    *(containeranalysis_api, logging_api, monitoring_api, iap_api),
)
_LOOPBACK = "127.0.0.1,localhost"


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A rehearsed cloud that answers.

    Attributes:
        world: What there is.
        proxy: The door to it.
        authority: Who signs for its hosts.
        revisions: The processes of what is deployed.
        scheduler: Cloud Scheduler.
        environment: The variables by which gcloud and Google's libraries reach it, and nothing else.
    """

    world: World
    proxy: Proxy
    authority: Authority
    revisions: Revisions
    scheduler: CloudSchedulerEmulator
    environment: Mapping[str, str]


@contextmanager
def running_rehearsal(folder: Path, projects: Sequence[str]) -> Iterator[Rehearsal]:
    """Serve a rehearsed cloud while the block runs.

    Args:
        folder: Where its state is kept; what an earlier rehearsal left there is there again.
        projects: The ids of the projects that there are, made like those of the console: billed, little enabled.
    """
    folder.mkdir(parents=True, exist_ok=True)
    world = World(folder.absolute())
    for project in projects:
        add_project(world, project)
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rehearsal-")))
        messages = Messages(world)
        revisions = Revisions(world, messages)
        stack.callback(revisions.close)
        stack.callback(messages.close)
        door = front_door_api(world, revisions)
        messages.push_through(door.routes[0].handler)
        apis = [door, run_api(world, revisions), *(make(world) for make in _APIS)]
        proxy, authority = stack.enter_context(serving(world, apis, scratch))
        scheduler = stack.enter_context(cloud_scheduler_emulator(world))
        reach = _reach(proxy, authority)
        revisions.reach(reach)
        resume_rollouts(world, revisions)
        (scratch / "token").write_text(TOKEN, "utf-8")
        (scratch / "gcloud").mkdir()
        gcloud = {
            "CLOUDSDK_CONFIG": str(scratch / "gcloud"),
            "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE": str(scratch / "token"),
            "CLOUDSDK_CORE_ACCOUNT": "deployer@example.com",
            "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(authority.ca_path),
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUD_SCHEDULER_EMULATOR_HOST": scheduler.host,
        }
        yield Rehearsal(world, proxy, authority, revisions, scheduler, {**reach, **gcloud})


def add_project(world: World, project: str) -> None:
    """Make a project where it is not there yet, its number made from its id."""
    number = str(10**11 + int.from_bytes(hashlib.sha256(project.encode()).digest()[:4], "big"))
    resource = {"projectId": project, "projectNumber": number, "name": project, "lifecycleState": "ACTIVE"}
    with locked(world):
        world.resources.setdefault(f"//cloudresourcemanager.googleapis.com/projects/{project}", resource)
        for name in ("serviceusage", "cloudresourcemanager", "cloudbilling", "storage", "logging", "monitoring"):
            service = f"{name}.googleapis.com"
            state = {"name": f"projects/{number}/services/{service}", "config": {"name": service}, "state": "ENABLED"}
            world.resources.setdefault(f"//serviceusage.googleapis.com/projects/{project}/services/{service}", state)


def _reach(proxy: Proxy, authority: Authority) -> dict[str, str]:
    authorities = ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
    # In both spellings: gRPC reads the lower one alone, and what it may not reach must not leave this machine.
    proxies = {"HTTPS_PROXY": proxy.url, "https_proxy": proxy.url, "NO_PROXY": _LOOPBACK, "no_proxy": _LOOPBACK}
    return {**dict.fromkeys(authorities, str(authority.ca_path)), **proxies}
