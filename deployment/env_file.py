"""One `.env` file as text: KEY=VALUE lines, each with its number, and everything wrong with their form.

Nothing is expanded and nothing is read from anywhere else: what stands there is what is meant.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from .found_secrets import marked_secret, named_secret, random_text

_KEY = re.compile(r"[A-Z][A-Z0-9_]{0,62}")
_ELSEWHERE = "a secret does not belong in this file; keep it in Secret Manager"


@dataclass(frozen=True, slots=True)
class Entry:
    """What one key is set to, and on which line."""

    value: str
    line: int


@dataclass
class EnvFile:
    """A file as far as it could be read.

    Attributes:
        place: How messages name it, such as `environments/dev.env`.
        entries: The values by key.
        refused: Keys whose line is wrong, so that nothing else is said of them.
        problems: What is wrong, with the line; line 0 for the file as a whole.
    """

    place: str
    entries: dict[str, Entry] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    problems: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, problem: str) -> None:
        """Note what is wrong on a line, or with 0 in the whole file."""
        self.problems.append((line, problem))

    def told(self) -> list[str]:
        """Return what is wrong, from the first line to the last."""
        ordered = sorted(self.problems, key=lambda problem: problem[0])
        return [f"{self.place}{f':{line}' if line else ''}: {problem}" for line, problem in ordered]


def read_env_file(path: Path) -> EnvFile:
    """Read a file; what is wrong with its form is noted in it."""
    file = EnvFile(f"{path.parent.name}/{path.name}")
    try:
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        file.add(0, f"cannot be read: {error.strerror}")
        return file
    except UnicodeDecodeError as error:
        file.add(0, f"expected UTF-8, byte {error.start} is none")
        return file
    in_block = False
    # Not splitlines(): it also breaks at characters that editors show within a line.
    for number, raw in enumerate(text.removesuffix("\n").split("\n"), start=1):
        line = raw.removesuffix("\r").strip(" \t")
        if not in_block:
            _read_line(file, number, line)
        # Of a PEM block every line is secret, and told once.
        in_block = (in_block or "-----BEGIN " in line) and "-----END " not in line
    return file


def _read_line(file: EnvFile, number: int, line: str) -> None:
    name, equals, rest = line.partition("=")
    known = bool(equals) and _KEY.fullmatch(name) is not None
    if kind := marked_secret(line):
        file.refused.update({name} if known else ())
        file.add(number, f"{f'{name}: ' if known else ''}{kind}: {_ELSEWHERE}")
    elif not line or line.startswith("#"):
        return
    elif not equals:
        # The line is not shown: what is half written may be half a secret.
        file.add(number, "expected KEY=VALUE or a # comment")
    elif not known:
        file.add(
            number, "expected KEY=VALUE, the key in capitals, digits and underscores, without a space before the ="
        )
    elif name in file.entries or name in file.refused:
        first = f" on line {file.entries[name].line}" if name in file.entries else ""
        file.add(number, f"{name}: expected once, it is there already{first}")
    else:
        _read_value(file, number, name, rest)


def _read_value(file: EnvFile, number: int, name: str, rest: str) -> None:
    try:
        value = _unquoted(rest)
    except ValueError as error:
        file.refused.add(name)
        file.add(number, f"{name}: {error}")
        return
    if named_secret(name) or random_text(value):
        file.refused.add(name)
        what = "by its name" if named_secret(name) else "by its looks"
        file.add(number, f"{name}: a secret {what}: {_ELSEWHERE}")
    else:
        file.entries[name] = Entry(value, number)


def _unquoted(text: str) -> str:
    """Return what a value says; ValueError tells what was expected, and shows nothing of it."""
    if text[:1] in ("'", '"'):
        value, closing, after = text[1:].partition(text[0])
        if not closing:
            raise ValueError(f"expected a closing {text[0]}")
        if after and not re.fullmatch(r"\s*(\s#.*)?", after):
            raise ValueError(f"expected nothing after the closing {text[0]} but a # comment")
    else:
        if text[:1] in (" ", "\t") and not re.fullmatch(r"\s*(#.*)?", text):
            raise ValueError("expected no space after the =")
        value = re.split(r"(?:^|\s)#", text, maxsplit=1)[0].strip()
        if re.search(r"\s", value):
            raise ValueError("expected quotes around a value with spaces")
        if "'" in value or '"' in value:
            raise ValueError("expected quotes around all of the value or none")
    if re.search(r"[\x00-\x1f\x7f]", value):
        raise ValueError("expected no control characters")
    if re.search(r"[$`\\]", value):
        raise ValueError("expected the value itself: nothing is expanded, so that $, ` and \\ mean nothing here")
    return value
