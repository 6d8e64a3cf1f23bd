"""IAM: which roles are granted and taken away, so that a policy grants our accounts what they need and no more."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from .changes import Change, create, delete
from .gcloud import Command

Binding = tuple[str, str]


def bindings_of(policy: Mapping[str, Any]) -> set[Binding]:
    """Return the (role, member) pairs that a policy grants without a condition."""
    return {
        (binding["role"], member)
        for binding in policy.get("bindings", ())
        if not binding.get("condition") and "_withcond_" not in binding["role"]
        for member in binding.get("members", ())
    }


def conditional_bindings_of(policy: Mapping[str, Any]) -> set[Binding]:
    """Return the (role, member) pairs that a policy grants under a condition."""
    return {
        (binding["role"].partition("_withcond_")[0], member)
        for binding in policy.get("bindings", ())
        if binding.get("condition") or "_withcond_" in binding["role"]
        for member in binding.get("members", ())
    }


def binding_changes(
    what: str,
    policy: Mapping[str, Any],
    wanted: Iterable[Binding],
    command: Callable[[str], Command],
    owned: Callable[[Binding], bool],
) -> Iterator[Change]:
    """Yield what makes a policy grant what is wanted.

    Args:
        what: Whose policy it is, for people.
        policy: As it is; empty for what is not there yet.
        wanted: What is to be granted.
        command: Returns gcloud's command, given `add` or `remove`, but for member and role.
        owned: Whether a binding is ours to take away; others are left as they are.
    """
    present, wanted = bindings_of(policy), set(wanted)
    # Where a policy has conditions, gcloud wants to be told that this binding has none; Pub/Sub's knows no conditions.
    plain = command("add")
    under_condition = conditional_bindings_of(policy)
    none = ("--condition=None",) if under_condition and plain[0] != "pubsub" and "--condition=None" not in plain else ()
    for role, member in sorted(wanted - present):
        yield create(f"{what}: {role}", short(member), (*plain, f"--member={member}", f"--role={role}", *none))
    for role, member in sorted(each for each in (present | under_condition) - wanted if owned(each)):
        remove = (*command("remove"), f"--member={member}", f"--role={role}")
        # Under whatever condition it was granted, it is not wanted.
        whole = (*(word for word in remove if word != "--condition=None"), "--all")
        yield delete(f"{what}: {role}", short(member), whole if (role, member) in under_condition else (*remove, *none))


def short(member: str) -> str:
    """Return a member as people know it: a service account by its name, Google's own by its service."""
    own = re.fullmatch(r"serviceAccount:(?:service-[0-9]+@)?([^@]+?)(@[^@]+)?\.iam\.gserviceaccount\.com", member)
    return own[1] if own else member


def is_one_of(members: Collection[str]) -> Callable[[Binding], bool]:
    """Return whether a binding's member is one of these: our own accounts, and no other that is named like them."""
    return lambda binding: binding[1] in members
