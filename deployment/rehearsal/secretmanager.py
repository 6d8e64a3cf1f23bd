"""Secret Manager: secrets, their versions and policies; what they hold is in files apart from the state."""

import base64
import os
import re
import shutil
from pathlib import Path

import google_crc32c

from .bodies import decoded, now, only
from .wire import Api, Request, api, invalid, not_found, precondition, route
from .world import Resource, World, policy_handlers

SERVICE = "secretmanager.googleapis.com"
_KNOWN = {
    *("replication", "labels", "annotations", "topics", "expireTime", "ttl", "rotation", "versionAliases"),
    *("versionDestroyTtl", "customerManagedEncryption", "name"),
}
_STATES = {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}


def secretmanager_api(world: World) -> Api:
    """Return the API."""
    secrets = _Secrets(world)
    read, write = policy_handlers(world, secrets.name_of)
    one = "/v1/projects/{project}/secrets/{secret}"
    version = one + "/versions/{version}"
    return api(
        SERVICE,
        route("GET", "/v1/projects/{project}/secrets", secrets.list_all),
        route("POST", "/v1/projects/{project}/secrets", secrets.create),
        route("GET", one, lambda request: world.get(secrets.name_of(request))),
        route("DELETE", one, secrets.delete),
        route("POST", one + ":addVersion", secrets.add_version),
        route("GET", one + ":getIamPolicy", read),
        route("POST", one + ":setIamPolicy", write),
        route("GET", one + "/versions", secrets.versions),
        route("GET", version, secrets.version),
        route("GET", version + ":access", secrets.access),
        *(route("POST", f"{version}:{verb}", secrets.change) for verb in _STATES),
    )


def secret_payload(world: World, project: str, secret: str, version: str = "latest") -> bytes:
    """Return what a version of a secret holds, as a service sees it that mounts the secret.

    Raises:
        ApiError: 404; no such version. 400; it is disabled or destroyed.
    """
    found = _version_of(world, f"//{SERVICE}/projects/{project}/secrets/{secret}", version)
    if found["state"] != "ENABLED":
        raise precondition(f"Secret Version [{found['name']}] is in {found['state']} state.")
    return _path(world, project, secret, found["name"].rpartition("/")[2]).read_bytes()


class _Secrets:
    def __init__(self, world: World) -> None:
        self._world = world

    def list_all(self, request: Request) -> Resource:
        found = self._world.below(f"//{SERVICE}/projects/{self._project(request)}/secrets/")
        return {"secrets": found, "totalSize": len(found)} if found else {}

    def create(self, request: Request) -> Resource:
        secret = request.query.get("secretId", "")
        body = only(request.json, _KNOWN)
        if not re.fullmatch(r"[-A-Za-z0-9_]{1,255}", secret):
            raise invalid(f"The provided Secret ID [{secret}] does not match the expected format [[a-zA-Z_0-9]+]")
        if len(only(body.get("replication", {}), {"automatic", "userManaged"})) != 1:
            raise invalid("A secret needs a replication, automatic or userManaged.")
        name = f"projects/{self._world.project_number(self._project(request))}/secrets/{secret}"
        made = {**body, "name": name, "createTime": now(), "etag": '"1"'}
        return self._world.create(f"//{SERVICE}/projects/{self._project(request)}/secrets/{secret}", made)

    def delete(self, request: Request) -> Resource:
        name = self.name_of(request)
        self._world.delete(name)
        for version in [n for n in self._world.resources if n.startswith(f"{name}/versions/")]:
            del self._world.resources[version]
        shutil.rmtree(_path(self._world, self._project(request), request.parts["secret"], "1").parent, True)
        return {}

    def add_version(self, request: Request) -> Resource:
        secret = self._world.get(self.name_of(request))
        payload = only(only(request.json, {"payload"}).get("payload", {}), {"data", "dataCrc32c"})
        data = decoded(payload.get("data", ""), "payload.data")
        if not data or len(data) > 65536:
            raise invalid(f"A secret version holds 1 to 65536 bytes, not {len(data)}.")
        if int(payload.get("dataCrc32c", google_crc32c.value(data))) != google_crc32c.value(data):
            raise invalid("The checksum of the payload does not match.")
        number = str(len(self._numbers(request)) + 1)
        path = _path(self._world, self._project(request), request.parts["secret"], number)
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(data)
        made = {"name": f"{secret['name']}/versions/{number}", "createTime": now(), "state": "ENABLED", "etag": '"1"'}
        checked = {"clientSpecifiedPayloadChecksum": True} if "dataCrc32c" in payload else {}
        return self._world.create(f"{self.name_of(request)}/versions/{number}", made | checked)

    def versions(self, request: Request) -> Resource:
        self._world.get(self.name_of(request))
        newest_first = sorted(self._numbers(request), reverse=True)
        return {"versions": [self._world.get(f"{self.name_of(request)}/versions/{number}") for number in newest_first]}

    def version(self, request: Request) -> Resource:
        return _version_of(self._world, self.name_of(request), request.parts["version"])

    def access(self, request: Request) -> Resource:
        name = self.version(request)["name"]
        data = secret_payload(self._world, self._project(request), request.parts["secret"], request.parts["version"])
        payload = {"data": base64.b64encode(data).decode(), "dataCrc32c": str(google_crc32c.value(data))}
        return {"name": name, "payload": payload}

    def change(self, request: Request) -> Resource:
        changed = {**self.version(request), "state": _STATES[request.path.rpartition(":")[2]]}
        number = changed["name"].rpartition("/")[2]
        self._world.resources[f"{self.name_of(request)}/versions/{number}"] = changed
        if changed["state"] == "DESTROYED":
            _path(self._world, self._project(request), request.parts["secret"], number).unlink(missing_ok=True)
        return changed

    def name_of(self, request: Request) -> str:
        return f"//{SERVICE}/projects/{self._project(request)}/secrets/{request.parts['secret']}"

    def _numbers(self, request: Request) -> list[int]:
        start = f"{self.name_of(request)}/versions/"
        return [int(name[len(start) :]) for name in self._world.resources if name.startswith(start)]

    def _project(self, request: Request) -> str:
        return self._world.project_id(request.parts["project"])


def _version_of(world: World, secret: str, version: str) -> Resource:
    versions = world.below(f"{secret}/versions/")
    if version == "latest" and versions:
        return max(versions, key=lambda one: int(one["name"].rpartition("/")[2]))
    found = world.find(f"{secret}/versions/{version}")
    if found is None:
        raise not_found(f"Secret Version [{secret.removeprefix(f'//{SERVICE}/')}/versions/{version}]")
    return found


def _path(world: World, project: str, secret: str, version: str) -> Path:
    return world.folder / "secrets" / project / secret / version
