"""Tells a secret in a file that everyone may read. What it finds is never shown."""

import re

# The names that hold one, whatever stands there.
_NAMES = re.compile(r"(.*_)?(KEY|TOKEN|PASSWORD|PASSWD|SECRET|CREDENTIALS)", re.IGNORECASE)
# Found anywhere in a line, comments included.
_MARKS = (
    (re.compile(r"-----BEGIN [A-Z ]*(PRIVATE KEY|CERTIFICATE)"), "a PEM block"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE), "a URL with a password"),
    (re.compile(r"AIza[0-9A-Za-z_-]{20,}"), "a Google API key"),
    (re.compile(r"ya29\.[0-9A-Za-z_-]{10,}"), "a Google access token"),
    (re.compile(r"GOCSPX-[0-9A-Za-z_-]{10,}"), "an OAuth client secret"),
    (re.compile(r"\beyJ[0-9A-Za-z_-]{10,}\.[0-9A-Za-z_-]+"), "a signed token"),
    (re.compile(r'"private_key"|"client_secret"'), "the key of a service account"),
)
_LONG_CHARS = 32


def named_secret(name: str) -> bool:
    """Return whether a key says that its value is a secret."""
    return _NAMES.fullmatch(name) is not None


def marked_secret(line: str) -> str | None:
    """Return what kind of secret a line holds, by marks that nothing else has, or None."""
    return next((kind for pattern, kind in _MARKS if pattern.search(line)), None)


def random_text(value: str) -> bool:
    """Return whether a value is, or has a part that is, long and random as keys are; paths in buckets never are."""
    # The commit of a model, for one, is a good name of a folder.
    if value.startswith("gs://"):
        return False
    return _is_random(value) or any(_is_random(part) for part in re.split(r"[^A-Za-z0-9+_=-]", value))


def _is_random(text: str) -> bool:
    if re.fullmatch(rf"[0-9a-fA-F]{{{_LONG_CHARS},}}", text):
        return True
    base64 = re.fullmatch(rf"[A-Za-z0-9+/_-]{{{_LONG_CHARS},}}={{0,2}}", text)
    return bool(base64) and all(re.search(kind, text) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
