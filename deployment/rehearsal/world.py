"""What the rehearsed cloud holds: resources and their IAM policies by full name, kept in a file between runs."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .roles import check_member, check_role
from .wire import ApiError, Request, already_exists, not_found, service_disabled

Resource = dict[str, Any]
_WITH_CONDITIONS = 3


class World:
    """Resources by full name, such as `//pubsub.googleapis.com/projects/p/topics/t`.

    One lock: a request is answered whole before the next begins, so what it saw still holds when it writes.

    Attributes:
        resources: By full name.
        policies: IAM policies, by the full name of what they guard.
        folder: Where state and uploads are kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = threading.RLock()
        self._path = folder / "state.json"
        kept = json.loads(self._path.read_text("utf-8")) if self._path.exists() else {}
        self.resources: dict[str, Resource] = kept.get("resources", {})
        self.policies: dict[str, Resource] = kept.get("policies", {})
        self._counter: int = kept.get("counter", 0)

    def save(self) -> None:
        """Write everything down; a reader sees the state before or after."""
        state = {"resources": self.resources, "policies": self.policies, "counter": self._counter}
        draft = self._path.with_suffix(".draft")
        draft.write_text(json.dumps(state, indent=1, sort_keys=True), "utf-8")
        draft.replace(self._path)

    def next_number(self) -> int:
        """Return a number that was not given before."""
        self._counter += 1
        return self._counter

    def find(self, name: str) -> Resource | None:
        """Return a resource, or None."""
        return self.resources.get(name)

    def get(self, name: str) -> Resource:
        """Return a resource.

        Raises:
            ApiError: 404; there is none.
        """
        found = self.resources.get(name)
        if found is None:
            raise not_found(_short(name))
        return found

    def create(self, name: str, resource: Resource) -> Resource:
        """Keep a new resource.

        Raises:
            ApiError: 409; there is one of this name.
        """
        if name in self.resources:
            raise already_exists(_short(name))
        self.resources[name] = resource
        return resource

    def delete(self, name: str) -> Resource:
        """Forget a resource and its policy, and return it.

        Raises:
            ApiError: 404; there is none.
        """
        found = self.get(name)
        del self.resources[name]
        self.policies.pop(name, None)
        return found

    def below(self, prefix: str) -> list[Resource]:
        """Return the resources right under a prefix such as `//pubsub.googleapis.com/projects/p/topics/`, by name."""
        names = (n for n in self.resources if n.startswith(prefix) and "/" not in n[len(prefix) :])
        return [self.resources[name] for name in sorted(names)]

    def policy(self, name: str) -> Resource:
        """Return an IAM policy with its etag; an empty one where none was set."""
        policy = self.policies.get(name) or {"version": 1, "bindings": []}
        return {**policy, "etag": _etag(policy)}

    def set_policy(self, name: str, policy: Resource) -> Resource:
        """Keep an IAM policy.

        Raises:
            ApiError: 409; somebody else set it since it was read. 400; a role or a service account in it does not
                exist.
        """
        if policy.get("etag") not in (None, "", self.policy(name)["etag"]):
            raise ApiError(
                409, "ABORTED", "There were concurrent policy changes. Please retry the whole read-modify-write"
            )
        for binding in policy.get("bindings", []):
            check_role(name, binding.get("role", ""))
            for member in binding.get("members", []):
                check_member(member)
                self._check_account(member)
        bindings = [binding for binding in policy.get("bindings", []) if binding.get("members")]
        self.policies[name] = {"version": policy.get("version", 1), "bindings": bindings}
        return self.policy(name)

    def has_role(self, name: str, role: str, member: str) -> bool:
        """Say whether a policy itself grants a role to a member."""
        bindings = self.policy(name)["bindings"]
        return any(b["role"] == role and member in b["members"] for b in bindings)

    def project_number(self, project: str) -> str:
        """Return a project's number.

        Raises:
            ApiError: 404; there is no such project.
        """
        return str(self.get(f"//cloudresourcemanager.googleapis.com/projects/{project}")["projectNumber"])

    def project_id(self, project: str) -> str:
        """Return the id of a project that may be given by its number.

        Raises:
            ApiError: 403; there is no such project, which is told no one apart from one that is somebody else's.
        """
        for known in self.below("//cloudresourcemanager.googleapis.com/projects/"):
            if project in (known["projectId"], str(known["projectNumber"])):
                return str(known["projectId"])
        raise ApiError(403, "PERMISSION_DENIED", f"The caller does not have permission on project {project}.")

    def require_enabled(self, project: str, service: str) -> None:
        """Let a call of an API pass.

        Raises:
            ApiError: 403; the API is not enabled in the project.
        """
        if not self.is_enabled(project, service):
            raise service_disabled(service, project)

    def is_enabled(self, project: str, service: str) -> bool:
        """Say whether an API is enabled in a project."""
        return self.find(f"//serviceusage.googleapis.com/projects/{project}/services/{service}") is not None

    def agent_exists(self, email: str) -> bool:
        """Say whether one of Google's own service agents has been made."""
        return self.find(f"//serviceagents/{email}") is not None

    def _check_account(self, member: str) -> None:
        kind, _, email = member.partition(":")
        if kind != "serviceAccount":
            return
        account = email.removesuffix(".iam.gserviceaccount.com")
        project = account.partition("@")[2]
        own = f"//iam.googleapis.com/projects/{project}/serviceAccounts/{email}"
        if account.startswith("service-") or "@" not in email:
            known = self.agent_exists(email)
        else:
            known = self.find(own) is not None or project in ("developer.gserviceaccount.com",)
        if not known:
            raise ApiError(400, "INVALID_ARGUMENT", f"Service account {email} does not exist.")


def policy_handlers(
    world: World, name_of: Callable[[Request], str]
) -> tuple[Callable[[Request], Resource], Callable[[Request], Resource]]:
    """Return what answers getIamPolicy and setIamPolicy of a kind of resource; one that is not there is 404.

    Args:
        world: What there is.
        name_of: The full name that a request means.
    """

    def read(request: Request) -> Resource:
        world.get(name_of(request))
        return as_asked(world.policy(name_of(request)), request)

    def write(request: Request) -> Resource:
        world.get(name_of(request))
        return world.set_policy(name_of(request), request.json.get("policy", {}))

    return read, write


def as_asked(policy: Resource, request: Request) -> Resource:
    """Return a policy as whoever asks can read it: who asks for no version 3 gets no conditions, but odd roles."""
    asked = request.query.get("options.requestedPolicyVersion")
    asked = asked or request.json.get("options", {}).get("requestedPolicyVersion", 1)
    if int(asked) >= _WITH_CONDITIONS:
        return policy
    return {**policy, "bindings": [_without_condition(binding) for binding in policy["bindings"]]}


@contextmanager
def locked(world: World) -> Iterator[World]:
    """Hold the world, and write it down at the end."""
    with world.lock:
        yield world
        world.save()


def _without_condition(binding: Resource) -> Resource:
    condition = binding.get("condition")
    if not condition:
        return binding
    digest = hashlib.sha256(json.dumps(condition, sort_keys=True).encode()).hexdigest()[:20]
    return {"role": f"{binding['role']}_withcond_{digest}", "members": binding["members"]}


def _etag(policy: Resource) -> str:
    digest = hashlib.sha256(json.dumps(policy, sort_keys=True).encode()).hexdigest()
    # Of hexadecimal digits, so that it is the same in both alphabets of base64: gcloud writes it back in the other one.
    return base64.b64encode(digest[:12].encode()).decode()


def _short(name: str) -> str:
    return name.removeprefix("//").partition("/")[2]
