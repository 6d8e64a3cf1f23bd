"""`--rollback`: the traffic to the revisions that had it before, or to one that is named."""

from collections.abc import Sequence

from shared.errors import ConfigurationError

from .changes import Change, change
from .names import Names
from .planning import Planner
from .release import traffic_command
from .revisions_present import LIVE, PREVIOUS, Deployed, deployed


def rollbacks(planner: Planner, only: Sequence[str], revision: str) -> list[Change]:
    """Return what gives all traffic to an earlier revision; the one that had it becomes the previous one.

    Args:
        planner: Knows the project.
        only: Which functions; none: all that have a previous revision.
        revision: Of one function; empty: the one that had the traffic before.

    Raises:
        ConfigurationError: There is no such revision, or nothing to go back to.
    """
    names, there = planner.names, planner.present.named_services()
    services = {s.service: deployed(there[s.service]) for s in names.services if s.service in there}
    if revision:
        targets = {_owner(planner, list(services), revision): revision}
    else:
        wanted = {name.replace("_", "-") for name in only} or services.keys()
        targets = {
            name: services[name].tags[PREVIOUS] for name in services.keys() & wanted if PREVIOUS in services[name].tags
        }
        targets = {name: target for name, target in targets.items() if not services[name].is_split({target: 100})}
    if not targets:
        raise ConfigurationError(["--rollback: expected a revision that had the traffic before; there is none"])
    if "web" in targets and names.environment.web_access == "public":
        _check_read_only(planner, targets["web"])
    return [_change(names, name, services[name], target) for name, target in sorted(targets.items())]


def _change(names: Names, service: str, there: Deployed, target: str) -> Change:
    now = max(there.traffic, key=lambda each: there.traffic[each], default=None)
    tags = f"--update-tags={LIVE}={target}" + (f",{PREVIOUS}={now}" if now and now != target else "")
    before = ", ".join(f"{name} {percent} %" for name, percent in there.traffic.items()) or "none"
    step = traffic_command(names, service, f"--to-revisions={target}=100", tags)
    return change(f"traffic of {service}", before, f"{target} 100 %", step)


def _check_read_only(planner: Planner, revision: str) -> None:
    """Make sure that everybody may call no page that can change something.

    Raises:
        ConfigurationError: The revision can.
    """
    region = planner.names.environment.region
    found = planner.gcloud.read("run", "revisions", "describe", revision, f"--region={region}")
    (container,) = found["spec"]["containers"]
    if {"name": "READ_ONLY", "value": "1"} not in container.get("env", ()):
        raise ConfigurationError([f"--rollback: expected a revision of web that is read-only, {revision} is not"])


def _owner(planner: Planner, services: list[str], revision: str) -> str:
    """Return the service that a revision is of."""
    region = planner.names.environment.region
    listed = planner.gcloud.read("run", "revisions", "list", f"--region={region}")
    owners: dict[str, str] = {
        each["metadata"]["name"]: each["metadata"]["labels"]["serving.knative.dev/service"] for each in listed
    }
    if owners.get(revision) not in services:
        there = ", ".join(sorted(name for name, owner in owners.items() if owner in services)) or "there are none"
        raise ConfigurationError([f"--rollback: expected one of {there}, got {revision!r}"])
    return owners[revision]
