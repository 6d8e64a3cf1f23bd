"""Who may call each function: the files' people, the functions that need it, Pub/Sub's pushes and the smoke tests."""

from collections.abc import Collection, Iterator

from deployment.bindings import Binding, binding_changes
from deployment.changes import Change, change
from deployment.gcloud import Command
from deployment.names import Names
from deployment.present import Present
from deployment.service_files import Service

_INVOKER = "roles/run.invoker"
_IAP_ROLE = "roles/iap.httpsResourceAccessor"


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
    place = f"--region={names.environment.region}"
    for service in names.services:
        if service.service not in there and service.function not in released:
            continue
        if service.function == "web" and names.environment.web_access == "iap":
            yield from _iap_changes(names, service, there.get(service.service, {}))
        policy = present.policy(policy_url(names, service.service)) if service.service in there else {}

        def command(verb: str, name: str = service.service) -> Command:
            return ("run", "services", f"{verb}-iam-policy-binding", name, place, "--format=none")

        wanted = {(_INVOKER, member) for member in _members(names, service)}
        yield from binding_changes(f"callers of {service.service}", policy, wanted, command, _is_invoker)


def is_public(names: Names, service: Service) -> bool:
    """Say whether anybody may call a function, without saying who they are."""
    return "allUsers" in _members(names, service)


def _members(names: Names, service: Service) -> set[str]:
    of, members = names.environment, {names.member("smoke")}
    # What stands in front of the page lets people in, and calls it in its own name.
    behind_iap = service.function == "web" and of.web_access == "iap"
    if behind_iap:
        members.add(f"serviceAccount:service-{names.project_number}@gcp-sa-iap.iam.gserviceaccount.com")
    else:
        members.update(of.invokers.get(service.function, ()))
    if service.function == "web" and of.web_access == "public":
        members.add("allUsers")
    if service.subscribes:
        members.add(names.member("push"))
    return members | {names.member(other.service) for other in names.services if service.function in other.calls}


def _iap_changes(names: Names, service: Service, there: dict[str, object]) -> Iterator[Change]:
    metadata = there.get("metadata", {})
    notes = metadata.get("annotations", {}) if isinstance(metadata, dict) else {}
    if notes.get("run.googleapis.com/iap-enabled") == "true":
        return
    place = f"--region={names.environment.region}"
    switch: Command = ("beta", "run", "services", "update", service.service, place, "--iap")
    identity: Command = ("beta", "services", "identity", "create", "--service=iap.googleapis.com")
    people: list[Command] = [
        (
            *(
                "beta",
                "iap",
                "web",
                "add-iam-policy-binding",
                "--resource-type=cloud-run",
                f"--service={service.service}",
            ),
            *(place, f"--member={member}", f"--role={_IAP_ROLE}"),
        )
        for member in names.environment.invokers.get("web", ())
    ]
    yield change("sign-in in front of web", "off", "Identity-Aware Proxy", identity, switch, *people)


def _is_invoker(binding: Binding) -> bool:
    return binding[0] == _INVOKER
