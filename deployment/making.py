"""Makes a plan: step by step, each printed before it is made, so that what was done can be read afterwards."""

from collections.abc import Iterable

from rich.console import Console

from .changes import Action, Call, Change, Secret, Step
from .gcloud import Gcloud
from .planning import Plan, Planner
from .release import Release
from .showing import step_text

_WHOLE = 100


def make_plan(out: Console, planner: Planner, plan: Plan, release: Release, percent: int = _WHOLE) -> None:
    """Make every change of a plan; what is made stays made if a later one fails, and the next plan is shorter.

    Args:
        out: Is told every step.
        planner: Knows the project.
        plan: What is to be done.
        release: Builds the functions, tries them and gives them traffic.
        percent: Of the traffic, that new revisions get.

    Raises:
        ServiceError: A step failed.
    """
    make_changes(out, planner, plan.before)
    deployed = [change for change in plan.releases if change.steps]
    release.deploy(deployed, lambda change: make_changes(out, planner, [change]))
    make_changes(out, planner, plan.callers)
    if plan.releases:
        release.give_traffic(plan.releases, percent)
    make_changes(out, planner, plan.opened)
    make_changes(out, planner, plan.after)


def make_changes(out: Console, planner: Planner, changes: Iterable[Change]) -> None:
    """Make changes in their order."""
    for change in changes:
        done = f"{change.what}: {change.after}" if change.after else f"{change.what} {change.before}: removed"
        out.print(done, soft_wrap=True)
        for step in change.steps:
            out.print(f"  {step_text(planner.gcloud, step)}", style="dim", soft_wrap=True)
            _make(planner, planner.gcloud, step)


def _make(planner: Planner, gcloud: Gcloud, step: Step) -> None:
    match step:
        case Call():
            planner.rest.send(step.method, step.url, step.body, **(step.query or {}))
        case Action():
            step.make()
        case Secret():
            gcloud.run(step.command, stdin=step.value())
        case _:
            gcloud.run(step)
