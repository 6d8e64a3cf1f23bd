"""Cloud Build: the uploaded archive becomes an image, or is refused as Google's Python buildpack refuses it."""

import hashlib
import io
import re
import shutil
import threading
import traceback
import uuid
import warnings
import zipfile
from pathlib import Path
from typing import Any

from .artifactregistry_images import Image, parse_image, put_image
from .bodies import now, only
from .revisions_environment import UnusableError, python_of
from .run_names import Place, place_of
from .storage_objects import object_bytes
from .wire import Api, ApiError, Request, api, invalid, route
from .world import Resource, World, locked

_OPERATIONS = "//cloudbuild.googleapis.com"
_TYPE = "type.googleapis.com/google.devtools.cloudbuild.v1."
_BUILDER_ROLES = ("roles/run.builder", "roles/cloudbuild.builds.builder")
_FIELDS = {"storageSource", "imageUri", "buildpackBuild", "serviceAccount", "tags", "workerPool", "machineType"}
_BUILDPACK_FIELDS = {
    "baseImage",
    "functionTarget",
    "environmentVariables",
    "enableAutomaticUpdates",
    "projectDescriptor",
}
_STACKS = {"310": "google-22", "311": "google-22", "312": "google-22", "313": "google-22", "314": "google-24"}


def cloudbuild_api(world: World) -> Api:
    """Return the API: the operations of builds, which Cloud Run's `builds:submit` begins."""

    def operation(request: Request) -> Resource:
        return world.get(f"{_OPERATIONS}{request.path.removeprefix('/v1')}")

    path = "/v1/projects/{project}/locations/{region}/operations/{operation}"
    return api("cloudbuild.googleapis.com", route("GET", path, operation))


def submit_build(world: World, request: Request) -> Resource:
    """Answer Cloud Run's `builds:submit`: check who builds and what, and begin.

    Raises:
        ApiError: 400; the request is wrong. 403; the build's service account is not there. 404; the archive is not.
    """
    place = place_of(world, request.parts["project"], request.parts["region"])
    given = only(request.json, _FIELDS)
    pack = only(given.get("buildpackBuild", {}), _BUILDPACK_FIELDS)
    world.require_enabled(place.project, "cloudbuild.googleapis.com")
    base = _base_image(place, pack.get("baseImage", ""))
    if not pack.get("functionTarget"):
        raise invalid("buildpackBuild.functionTarget: the rehearsal builds functions alone")
    source = given.get("storageSource", {})
    archive = object_bytes(world, source.get("bucket", ""), source.get("object", ""))
    account = _build_account(world, place, given.get("serviceAccount"))
    image, identity = parse_image(given.get("imageUri", "")), str(uuid.uuid4())
    build: dict[str, Any] = {
        "id": identity,
        "name": f"projects/{place.number}/locations/{place.region}/builds/{identity}",
        "projectId": place.project,
        "status": "WORKING",
        "createTime": now(),
        "serviceAccount": account,
        "logUrl": f"https://console.cloud.google.com/cloud-build/builds;region={place.region}/{identity}",
    }
    name = f"projects/{place.project}/locations/{place.region}/operations/{identity}"
    metadata = {"@type": f"{_TYPE}BuildOperationMetadata", "build": build}
    operation: Resource = {"name": name, "metadata": metadata, "done": False}
    world.create(f"{_OPERATIONS}/{name}", operation)
    began = {**operation, "metadata": {**metadata, "build": dict(build)}}
    arguments = (world, operation, archive, image, pack["functionTarget"])
    threading.Thread(target=_build, args=arguments, name=f"build-{identity}", daemon=True).start()
    return {"buildOperation": began, "baseImageUri": base}


def _build(world: World, operation: Resource, archive: bytes, image: Image, target: str) -> None:
    build, error = operation["metadata"]["build"], ""
    try:
        contents = _make(world.folder, archive, target)
        with locked(world):
            put_image(world, image, contents["digest"], contents)
    except UnusableError as refusal:
        error = str(refusal)
    except ApiError as refusal:
        error = f"pushing {image.repository}/{image.name}: {refusal.message}"
    except Exception:  # a fault of the rehearsal itself: shown whole, where the build's failure is shown
        error = traceback.format_exc()
    with locked(world):
        build["finishTime"] = now()
        build["status"] = "FAILURE" if error else "SUCCESS"
        if error:
            build["statusDetail"] = error
            operation["error"] = {"code": 2, "message": f"Build failed: {error}"}
        else:
            build["results"] = {"images": [{"name": image.name, "digest": contents["digest"]}]}
            operation["response"] = {"@type": f"{_TYPE}Build", **build}
        operation["done"] = True


def _make(folder: Path, archive: bytes, target: str) -> dict[str, str]:
    """Unpack an archive where its digest says, and return what is needed to run it.

    Raises:
        UnusableError: The buildpack would not take it.
    """
    draft = folder / "builds" / f"draft-{uuid.uuid4()}"
    draft.mkdir(parents=True)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            files.extractall(draft)
        _check_sources(draft)
        digest = _digest(draft, target)
        python = python_of(draft / "requirements.txt", folder / "environments")
        home = folder / "builds" / digest.removeprefix("sha256:")
        if not home.exists():
            draft.rename(home)
    except zipfile.BadZipFile as error:
        raise UnusableError(f"the source is no ZIP archive: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return {"digest": digest, "target": target, "python": str(python)}


def _check_sources(folder: Path) -> None:
    for name in ("main.py", "requirements.txt"):
        if not (folder / name).is_file():
            raise UnusableError(f"missing {name}: a function's source is a main.py with its requirements.txt beside it")
    for path in sorted(folder.rglob("*.py")):
        try:
            with warnings.catch_warnings(action="ignore"):
                compile(path.read_bytes(), str(path.relative_to(folder)), "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            raise UnusableError(f"python -m compileall failed: {path.relative_to(folder)}: {error}") from error


def _digest(folder: Path, target: str) -> str:
    whole = hashlib.sha256(target.encode())
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name, content = str(path.relative_to(folder)).encode(), path.read_bytes()
        whole.update(b"%d %s %d " % (len(name), name, len(content)) + content)
    return f"sha256:{whole.hexdigest()}"


def _base_image(place: Place, name: str) -> str:
    found = re.search(r"python(3[0-9]+)(:|@|$)", name)
    if not found or found[1] not in _STACKS:
        raise invalid(
            f"buildpackBuild.baseImage: expected one of {', '.join(f'python{v}' for v in _STACKS)}, got {name!r}"
        )
    return f"{place.region}-docker.pkg.dev/serverless-runtimes/{_STACKS[found[1]]}/runtimes/python{found[1]}"


def _build_account(world: World, place: Place, name: str | None) -> str:
    """Return the resource name of the account that builds, by default Compute Engine's."""
    email = name.rpartition("/")[2] if name else f"{place.number}-compute@developer.gserviceaccount.com"
    own = f"projects/{place.project}/serviceAccounts/{email}"
    if world.find(f"//iam.googleapis.com/{own}") is None:
        raise ApiError(
            403, "PERMISSION_DENIED", f"Build service account {email} does not exist, or is not usable by you."
        )
    project = f"//cloudresourcemanager.googleapis.com/projects/{place.project}"
    if not any(world.has_role(project, role, f"serviceAccount:{email}") for role in _BUILDER_ROLES):
        text = f"Build failed because the service account {email} is missing required IAM permissions."
        raise ApiError(400, "FAILED_PRECONDITION", f"{text} Grant it {_BUILDER_ROLES[0]} on the project.")
    return own
