"""What gcloud says when Google refuses: which refusals pass, and what to do about the others, in one line."""

import re

_SHOWN_CHARS = 500
# Google refuses for a while and then does not: too much at once, or what two change at the same time.
PASSING = re.compile(
    r"\b(429|503|RESOURCE_EXHAUSTED|UNAVAILABLE|ABORTED|rateLimitExceeded)\b|concurrent policy changes"
    r"|try again|underlying data changed|contention"
)
# What was made a moment ago is not known everywhere.
SETTLING = re.compile(
    r"SERVICE_DISABLED|has not been used in project|[Ss]ervice account \S+ does not exist"
    r"|may take (a few|several) minutes"
)
# One that is used up for the day looks like one that is used up for the minute, and does not pass.
QUOTA = re.compile(r"[Qq]uota exceeded(?!.*per minute)|QUOTA_EXCEEDED|exceeded.*[Qq]uota")
_PERMISSION = re.compile(r"\b(403|PERMISSION_DENIED)\b|does not have permission")
_SIGN_IN = re.compile(r"gcloud auth login|invalid_grant|UNAUTHENTICATED|Reauthentication|no active account", re.I)
_ADVICE = (
    (_SIGN_IN, "sign in first: gcloud auth login"),
    (QUOTA, "a quota is used up: ask for more, or wait; the same command then goes on where it stopped"),
    (
        _PERMISSION,
        "is PROJECT_ID right, and gcloud signed in as who may do this (gcloud auth list)? README names the roles; the "
        "same command then goes on where it stopped",
    ),
    (PASSING, "Google did not answer in time; the same command goes on where it stopped"),
)


def explained(words: str, said: str) -> str:
    """Return what failed, what gcloud said of it, and what to do, in one line.

    Args:
        words: What was called.
        said: What it wrote to stderr.
    """
    text = " ".join(said[max(said.find("ERROR:"), 0) :].split())[:_SHOWN_CHARS] or "it said nothing"
    advice = next((advice for pattern, advice in _ADVICE if pattern.search(said)), "")
    return f"gcloud {words}: {text}{' | ' if advice else ''}{advice}"
