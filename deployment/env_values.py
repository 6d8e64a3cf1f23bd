"""What each key of an environment may be set to: a text in, a checked value out, ValueError with what was expected."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .cloud_run_limits import MAX_INSTANCES, checked_memory
from .regions import FIRESTORE_LOCATIONS, PYTHON_RUNTIMES, REGIONS

# The functions that an environment can say something about; named as their folders.
FUNCTIONS = ("predict", "store_result", "list_results", "nightly_transform", "web")
_PROJECT_ID = r"[a-z][a-z0-9-]{4,28}[a-z0-9]"
_BUCKET = r"(?!goog)(?!.*google)[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]"
_DATABASE = r"\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]"
_ADDRESS = r"[A-Za-z0-9._%+'-]+@([a-z0-9-]+\.)+[a-z]{2,}"
_DOMAIN = r"([a-z0-9-]+\.)+[a-z]{2,}"
_MEMBER = rf"(user|group|serviceAccount):{_ADDRESS}|domain:{_DOMAIN}|allUsers|allAuthenticatedUsers"
PUBLIC = ("allUsers", "allAuthenticatedUsers")
WEB_ACCESS = ("private", "iap", "public")


def pattern(regex: str, expected: str, *, default: str | None = None) -> Callable[[str], str]:
    """Return a check by a regular expression; an empty text stands for the default, if there is one."""

    def check(text: str) -> str:
        if not text and default is not None:
            return default
        if not re.fullmatch(regex, text):
            raise ValueError(expected)
        return text

    return check


def one_of(choices: Sequence[str], expected: str, *, default: str | None = None) -> Callable[[str], str]:
    """Return a check against what there is."""

    def check(text: str) -> str:
        if text or default is None:
            if text not in choices:
                raise ValueError(expected)
            return text
        return default

    return check


def whole_number(least: int, most: int) -> Callable[[str], int | None]:
    """Return a check for a whole number within bounds; None for an empty text."""

    def check(text: str) -> int | None:
        if not text:
            return None
        if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, or nothing")
        return int(text)

    return check


def share(text: str) -> float:
    """Return a share from 0 to 1; four places at most, since the function reads what Python writes of it."""
    if not re.fullmatch(r"|0|1|1\.0+|0?\.[0-9]{1,4}", text):
        raise ValueError("expected a share from 0 to 1 with at most four places, such as 0.05")
    return float(text or 0)


def switch(text: str) -> bool:
    """Return whether it is on."""
    if text not in ("", "0", "1"):
        raise ValueError("expected 0 or 1")
    return text == "1"


def members(text: str) -> tuple[str, ...]:
    """Return who may call, in order and each once."""
    found = [member.strip() for member in text.split(",")] if text else []
    for member in found:
        if not re.fullmatch(_MEMBER, member):
            expected = "expected user:, group: or serviceAccount: with an address, domain:example.com, allUsers or"
            raise ValueError(f"{expected} allAuthenticatedUsers, with commas between")
    if len(set(found)) < len(found):
        raise ValueError("expected each caller once")
    return tuple(found)


def memory(text: str) -> str | None:
    """Return an amount of memory, or None for an empty text."""
    return checked_memory(text) if text else None


def store(text: str) -> str:
    """Return where results are: empty, a Firestore database, or `secret:NAME`."""
    if re.fullmatch(rf"|firestore://{_PROJECT_ID}/({_DATABASE})|secret:[A-Za-z0-9_-]{{1,255}}", text):
        return text
    expected = "expected nothing, firestore://PROJECT/(default), or secret:NAME"
    raise ValueError(f"{expected} for a secret that holds postgresql+psycopg://... (passwords do not belong here)")


_RUNTIME = f"expected {', '.join(PYTHON_RUNTIMES[:-1])} or {PYTHON_RUNTIMES[-1]} (TensorFlow has no wheel for 3.14)"
_GS = rf"gs://({_BUCKET})(/[A-Za-z0-9._/-]+)?"
_CHECKS: Mapping[str, Callable[[str], Any]] = {
    "PROJECT_ID": pattern(
        _PROJECT_ID, "expected the id of a Google Cloud project: 6 to 30 lower-case letters, digits and hyphens"
    ),
    "REGION": one_of(REGIONS, "expected a region with Cloud Run and Cloud Scheduler"),
    "FIRESTORE_LOCATION": one_of(
        FIRESTORE_LOCATIONS, "expected a location of Firestore, such as eur3, nam5 or a region"
    ),
    "STORE_URL": store,
    "OBJECTS_URL": pattern(_GS, "expected gs://bucket or gs://bucket/prefix, or nothing", default=""),
    "MODELS_DIR": pattern(_GS, "expected gs://bucket or gs://bucket/prefix, or nothing", default=""),
    "DEFAULT_MODEL": pattern(
        r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "expected the name of a model, or nothing", default=""
    ),
    "LOG_PREDICTIONS": share,
    "WEB_ACCESS": one_of(WEB_ACCESS, "expected private, iap or public", default="private"),
    "ALERT_EMAIL": pattern(_ADDRESS, "expected an e-mail address, or nothing", default=""),
    "CLOUD_SQL_INSTANCE": pattern(
        rf"{_PROJECT_ID}:[a-z]+-[a-z]+[0-9]+:[a-z]([a-z0-9-]{{0,96}}[a-z0-9])?",
        "expected project:region:instance, or nothing",
        default="",
    ),
    # Which others there are is known to those who read all the files.
    "PROMOTE_FROM": str,
    "PROTECTED": switch,
    "PYTHON_RUNTIME": one_of(PYTHON_RUNTIMES, _RUNTIME, default="python312"),
}
_CHECKS_OF_FUNCTION: Mapping[str, Callable[[str], Any]] = {
    "INVOKERS": members,
    "MIN_INSTANCES": whole_number(0, MAX_INSTANCES),
    "MAX_INSTANCES": whole_number(1, MAX_INSTANCES),
    "MEMORY": memory,
}
REQUIRED = ("PROJECT_ID", "REGION", "FIRESTORE_LOCATION")
# Every key there can be, with its check.
CHECKS: Mapping[str, Callable[[str], Any]] = {
    **_CHECKS,
    **{f"{name}_{function.upper()}": check for name, check in _CHECKS_OF_FUNCTION.items() for function in FUNCTIONS},
}
