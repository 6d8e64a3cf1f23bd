"""Who may call each function: the files' people, the functions that need it, Pub/Sub's pushes and the smoke tests."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from deployment.bindings import Binding, binding_changes
from deployment.changes import Change
from deployment.env_values import PUBLIC
from deployment.gcloud import Command
from deployment.names import Names
from deployment.present import Present
from deployment.revisions_present import PREVIOUS
from deployment.service_files import Service

from .sign_in import is_behind_sign_in, no_sign_in_changes, sign_in_agent, sign_in_changes

_INVOKER = "roles/run.invoker"


def policy_url(names: Names, service: str) -> str:
    """Return where a service's IAM policy is read."""
    place = f"projects/{names.project}/locations/{names.environment.region}"
    return f"https://run.googleapis.com/v1/{place}/services/{service}:getIamPolicy"


def invoker_changes(names: Names, present: Present, released: Collection[str | None]) -> Iterator[Change]:
    """Yield what lets exactly those call a function who may; whoever else was let in by hand is put out again.

    Args:
        names: Of the environment.
        present: The project.
        released: The functions that are being released; of the others only those that are there can be called.
    """
    there = present.named_services()
    for service in names.services:
        if service.service not in there and service.function not in released:
            continue
        if is_behind_sign_in(names, service):
            yield from sign_in_changes(names, service, present)
        policy = present.policy(policy_url(names, service.service)) if service.service in there else {}
        wanted = {(_INVOKER, member) for member in _members(names, service)}
        what = f"callers of {service.service}"
        for change in binding_changes(what, policy, wanted, _command(names, service), _is_invoker):
            yield _alone(names, service, change) if service.function == "web" and is_opening(change) else change
        if not is_behind_sign_in(names, service):
            yield from no_sign_in_changes(names, service, present)


def is_opening(change: Change) -> bool:
    """Say whether a change lets everybody in."""
    return change.kind == "create" and change.after in PUBLIC


def is_closing(change: Change) -> bool:
    """Say whether a change puts everybody out."""
    return change.kind == "delete" and change.before in PUBLIC


def is_public(names: Names, service: Service) -> bool:
    """Say whether anybody may call a function, without saying who they are."""
    return "allUsers" in _members(names, service)


def _members(names: Names, service: Service) -> set[str]:
    of = names.environment
    # What stands in front of the page lets people in, and calls it in its own name.
    if is_behind_sign_in(names, service):
        return {sign_in_agent(names)}
    members = {names.member("smoke"), *of.invokers.get(service.function, ())}
    if service.function == "web" and of.web_access == "public":
        members.add("allUsers")
    if service.subscribes:
        members.add(names.member("push"))
    return members | {names.member(other.service) for other in names.services if service.function in other.calls}


def _command(names: Names, service: Service) -> Callable[[str], Command]:
    place = f"--region={names.environment.region}"

    def command(verb: str) -> Command:
        return ("run", "services", f"{verb}-iam-policy-binding", service.service, place, "--format=none")

    return command


def _alone(names: Names, service: Service, change: Change) -> Change:
    """Return the opening of the page once no earlier revision has a URL: whoever may call one may call them all."""
    place = f"--region={names.environment.region}"
    untag: Command = ("run", "services", "update-traffic", service.service, place, f"--remove-tags={PREVIOUS}")
    return replace(change, steps=((*untag, "--format=none"), *change.steps))


def _is_invoker(binding: Binding) -> bool:
    return binding[0] == _INVOKER
