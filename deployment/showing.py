"""What people read: the header, the plan as a table, what runs where, and how many calls it took."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from .changes import Action, Call, Change, Secret, Step
from .environment import Environment
from .gcloud import Calls, Gcloud, shown
from .revisions_present import Deployed

_SIGNS = {"create": "+ create", "change": "~ change", "drift": "! drift", "delete": "- delete"}
_STYLES = {"create": "green", "change": "yellow", "drift": "magenta", "delete": "red"}
_NARROWEST = 100


def console() -> Console:
    """Return where everything is written; wide enough for a table when it is no terminal."""
    made = Console(highlight=False, markup=False, emoji=False)
    return made if made.is_terminal else Console(highlight=False, markup=False, emoji=False, width=max(_NARROWEST, 160))


def show_header(out: Console, environment: Environment, account: str, commit: str, *, protected: bool) -> None:
    """Say where this goes, and what."""
    facts = (f"project {environment.project_id}", f"region {environment.region}", f"as {account}", f"commit {commit}")
    out.print(
        f"{environment.name}: {', '.join(facts)}{', protected' if protected else ''}", style="bold", soft_wrap=True
    )


def show_plan(out: Console, changes: Sequence[Change]) -> None:
    """Print what is to be changed."""
    table = Table(box=None, pad_edge=False)
    for heading in ("", "what", "is", "becomes"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "")
    for change in changes:
        table.add_row(_SIGNS[change.kind], change.what, change.before, change.after, style=_STYLES[change.kind])
    out.print(table)
    counts = (f"{sum(change.kind == kind for change in changes)} to {kind}" for kind in ("create", "change", "delete"))
    drifts = sum(change.kind == "drift" for change in changes)
    changed_by_hand = f", {drifts} changed by hand to put right" if drifts else ""
    out.print(f"{', '.join(counts)}{changed_by_hand}")


def show_commands(out: Console, gcloud: Gcloud, changes: Iterable[Change]) -> None:
    """Print every step of a plan as it could be typed."""
    for change in changes:
        for step in change.steps:
            out.print(step_text(gcloud, step), soft_wrap=True)


def step_text(gcloud: Gcloud, step: Step) -> str:
    """Return a step as it could be typed; what is secret is not in it."""
    match step:
        case Call():
            query = "&".join(f"{name}={value}" for name, value in (step.query or {}).items())
            return f"{step.method} {step.url}{'?' if query else ''}{query}"
        case Action():
            return step.text
        case Secret():
            return f"gcloud {shown(gcloud.whole(step.command))}"
        case _:
            return f"gcloud {shown(gcloud.whole(step))}"


def show_services(out: Console, services: dict[str, Deployed]) -> None:
    """Print each function with the revisions that answer, and where."""
    table = Table(box=None, pad_edge=False)
    for heading in ("function", "traffic", "source", "url"):
        table.add_column(heading, overflow="fold", no_wrap=heading == "function")
    for name, service in sorted(services.items()):
        traffic = ", ".join(f"{revision} {percent} %" for revision, percent in service.traffic.items())
        waiting = f"; {service.latest} waits" if service.latest not in service.traffic else ""
        table.add_row(name, traffic + waiting, service.source or "another's", service.url)
    out.print(table)


def show_calls(out: Console, gcloud: Calls, rest: Calls) -> None:
    """Say how many calls were made, and how long they took one after the other."""
    out.print(
        f"{gcloud.number} gcloud calls, {gcloud.seconds:.1f} s; {rest.number} requests, {rest.seconds:.1f} s "
        "(one after the other; several run at once)"
    )
