"""What is to be changed, as data: planned whole, shown, and only then made."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from .gcloud import Command

Kind = Literal["create", "change", "drift", "delete"]


@dataclass(frozen=True, slots=True)
class Call:
    """A call of Google's REST, where gcloud has no command."""

    method: str
    url: str
    body: Mapping[str, Any]
    query: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Action:
    """What neither a command nor one call can do; `text` says what it is."""

    text: str
    make: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Secret:
    """A command that reads a value which is made at that moment, and never shown."""

    command: Command
    value: Callable[[], str]


Step = Command | Call | Action | Secret


@dataclass(frozen=True, slots=True)
class Change:
    """One row of the plan.

    Attributes:
        kind: drift: it was as it should be, and somebody changed it by hand.
        what: The resource, such as `topic nightly`.
        before: As it is; empty for what is created.
        after: As it is to be; empty for what is deleted.
        steps: What makes it, in order; each may be made again without harm.
        function: The folder's name, where it is a release of a function.
        digests: Of its source and of its settings, where it is.
    """

    kind: Kind
    what: str
    before: str
    after: str
    steps: tuple[Step, ...] = ()
    function: str | None = None
    digests: tuple[str, str] = ("", "")


def create(what: str, after: str, *steps: Step) -> Change:
    """Return the making of what is not there."""
    return Change("create", what, "", after, steps)


def change(what: str, before: str, after: str, *steps: Step) -> Change:
    """Return a change of what is there."""
    return Change("change", what, before, after, steps)


def delete(what: str, before: str, *steps: Step) -> Change:
    """Return the removal of what is not wanted any more."""
    return Change("delete", what, before, "", steps)
