"""`--rollback`: the traffic to the revisions that had it before, or to one that is named."""

from collections.abc import Sequence

from rich.console import Console

from shared.errors import ConfigurationError

from .planning import Planner
from .release import traffic_command
from .revisions_present import LIVE, PREVIOUS, deployed


def roll_back(out: Console, planner: Planner, only: Sequence[str], revision: str) -> None:
    """Give all traffic to an earlier revision; the one that had it becomes the previous one.

    Args:
        out: Is told what happens.
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
        targets = {name: target for name, target in targets.items() if services[name].traffic != {target: 100}}
    if not targets:
        raise ConfigurationError(["--rollback: expected a revision that had the traffic before; there is none"])
    for name, target in sorted(targets.items()):
        now = max(services[name].traffic, key=lambda each: services[name].traffic[each], default=None)
        tags = (f"--update-tags={LIVE}={target}" + (f",{PREVIOUS}={now}" if now and now != target else ""),)
        planner.gcloud.run(traffic_command(names, name, f"--to-revisions={target}=100", *tags))
        out.print(f"{name}: all traffic to {target}")


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
