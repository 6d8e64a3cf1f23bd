"""Google's sign-in in front of the page (Identity-Aware Proxy): whether it stands there, and whom it lets through."""

from collections.abc import Iterator

from deployment.bindings import Binding, binding_changes
from deployment.changes import Change, change
from deployment.gcloud import Command
from deployment.names import Names
from deployment.present import Present, Resource
from deployment.service_files import Service

_API = "iap.googleapis.com"
_ROLE = "roles/iap.httpsResourceAccessor"
_NOTE = "run.googleapis.com/iap-enabled"


def is_behind_sign_in(names: Names, service: Service) -> bool:
    """Say whether a function is to have it in front: the page, where WEB_ACCESS=iap says so."""
    return service.function == "web" and names.environment.web_access == "iap"


def sign_in_agent(names: Names) -> str:
    """Return the account in whose name it calls the page, as IAM policies name it."""
    return f"serviceAccount:service-{names.project_number}@gcp-sa-iap.iam.gserviceaccount.com"


def sign_in_changes(names: Names, service: Service, present: Present) -> Iterator[Change]:
    """Yield what puts it in front, and lets exactly INVOKERS_WEB through, and the account of the smoke tests."""
    there = present.named_services().get(service.service)
    if not (there and _is_on(there)):
        identity: Command = ("beta", "services", "identity", "create", f"--service={_API}")
        yield change(f"sign-in of {service.service}", "off", "on", identity, _switch(names, service, "--iap"))
    members = {names.member("smoke"), *names.environment.invokers.get(service.function, ())}
    wanted = {(_ROLE, member) for member in members}
    yield from _people(names, service, present, wanted)


def no_sign_in_changes(names: Names, service: Service, present: Present) -> Iterator[Change]:
    """Yield what takes it away, where it is: the people first, since nobody looks for them once it is off."""
    there = present.named_services().get(service.service)
    if there and _is_on(there):
        yield from _people(names, service, present, set())
        yield change(f"sign-in of {service.service}", "on", "off", _switch(names, service, "--no-iap"))


def _people(names: Names, service: Service, present: Present, wanted: set[Binding]) -> Iterator[Change]:
    place = f"--region={names.environment.region}"
    # It answers for a service that is there alone, and not before it is enabled.
    readable = service.service in present.named_services() and _API in present.enabled
    policy = present.policy(_policy_url(names, service), "POST") if readable else {}

    def command(verb: str) -> Command:
        what = ("--resource-type=cloud-run", f"--service={service.service}", place)
        return ("beta", "iap", "web", f"{verb}-iam-policy-binding", *what)

    yield from binding_changes(f"sign-in of {service.service}", policy, wanted, command, lambda each: each[0] == _ROLE)


def _switch(names: Names, service: Service, flag: str) -> Command:
    place = f"--region={names.environment.region}"
    return ("beta", "run", "services", "update", service.service, place, flag, "--format=none")


def _policy_url(names: Names, service: Service) -> str:
    place = f"projects/{names.project_number}/iap_web/cloud_run-{names.environment.region}"
    return f"https://iap.googleapis.com/v1/{place}/services/{service.service}:getIamPolicy"


def _is_on(there: Resource) -> bool:
    return bool(there["metadata"].get("annotations", {}).get(_NOTE) == "true")
