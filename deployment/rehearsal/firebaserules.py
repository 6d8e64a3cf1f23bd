"""Firebase Rules: rulesets, and the release that makes one of them hold for Firestore."""

import uuid

from .bodies import now, only
from .wire import Api, Request, api, invalid, route, service_disabled
from .world import Resource, World

SERVICE = "firebaserules.googleapis.com"
# Of gcloud's own OAuth client: who calls with a person's token and names no project is billed there, and refused.
_GCLOUD_PROJECT = "32555940559"


def firebaserules_api(world: World) -> Api:
    """Return the API."""
    rules = _Rules(world)
    rulesets, releases = "/v1/projects/{project}/rulesets", "/v1/projects/{project}/releases"
    return api(
        SERVICE,
        route("GET", rulesets, rules.rulesets),
        route("POST", rulesets, rules.create_ruleset),
        route("GET", rulesets + "/{ruleset}", rules.ruleset),
        route("DELETE", rulesets + "/{ruleset}", rules.delete_ruleset),
        route("GET", releases, rules.releases),
        route("POST", releases, rules.create_release),
        route("GET", releases + "/{release=**}", rules.release),
        route("PATCH", releases + "/{release=**}", rules.change_release),
        route("DELETE", releases + "/{release=**}", rules.delete_release),
    )


class _Rules:
    def __init__(self, world: World) -> None:
        self._world = world

    def rulesets(self, request: Request) -> Resource:
        found = self._world.below(f"{self._parent(request)}/rulesets/")
        return {"rulesets": [{k: v for k, v in one.items() if k != "source"} for one in found]}

    def create_ruleset(self, request: Request) -> Resource:
        body = only(request.json, {"source", "attachmentPoint"})
        files = only(body.get("source", {}), {"files"}).get("files", [])
        if not files:
            raise invalid("A ruleset needs a source with files.")
        for file in files:
            _check(only(file, {"name", "content", "fingerprint"}))
        full = f"{self._parent(request)}/rulesets/{uuid.uuid4()}"
        made = {"name": full.removeprefix(f"//{SERVICE}/"), "source": body["source"], "createTime": now()}
        return self._world.create(full, made)

    def ruleset(self, request: Request) -> Resource:
        return self._world.get(f"{self._parent(request)}/rulesets/{request.parts['ruleset']}")

    def delete_ruleset(self, request: Request) -> Resource:
        self._world.delete(f"//{SERVICE}/{self.ruleset(request)['name']}")
        return {}

    def releases(self, request: Request) -> Resource:
        start = f"{self._parent(request)}/releases/"
        return {"releases": [r for n, r in sorted(self._world.resources.items()) if n.startswith(start)]}

    def create_release(self, request: Request) -> Resource:
        body = only(request.json, {"name", "rulesetName"})
        start = f"{self._parent(request)}/releases/".removeprefix(f"//{SERVICE}/")
        if not body.get("name", "").startswith(start):
            raise invalid(f"Invalid release name: {body.get('name')}; expected {start}...")
        self._check_ruleset(body)
        made = {**body, "createTime": now(), "updateTime": now()}
        return self._world.create(f"//{SERVICE}/{body['name']}", made)

    def release(self, request: Request) -> Resource:
        return self._world.get(f"{self._parent(request)}/releases/{request.parts['release']}")

    def change_release(self, request: Request) -> Resource:
        current = self.release(request)
        release = only(only(request.json, {"release", "updateMask"}).get("release", {}), {"name", "rulesetName"})
        if release.get("name") != current["name"]:
            raise invalid(f"Invalid release name: {release.get('name')}; expected {current['name']}.")
        self._check_ruleset(release)
        changed = {**current, "rulesetName": release["rulesetName"], "updateTime": now()}
        self._world.resources[f"//{SERVICE}/{current['name']}"] = changed
        return changed

    def delete_release(self, request: Request) -> Resource:
        self._world.delete(f"//{SERVICE}/{self.release(request)['name']}")
        return {}

    def _check_ruleset(self, release: Resource) -> None:
        self._world.get(f"//{SERVICE}/{release.get('rulesetName', '')}")

    def _parent(self, request: Request) -> str:
        project = self._world.project_id(request.parts["project"])
        payer = request.headers.get("x-goog-user-project", _GCLOUD_PROJECT)
        if payer not in (project, self._world.project_number(project)):
            raise service_disabled(SERVICE, payer)
        return f"//{SERVICE}/projects/{project}"


def _check(file: Resource) -> None:
    text = file.get("content", "")
    if "service " not in text or text.count("{") != text.count("}") or "allow " not in text:
        raise invalid(f"{file.get('name')}: compilation errors in the rules: expected one whole service block.")
