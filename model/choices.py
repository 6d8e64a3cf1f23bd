"""Reads `models.yaml` of a models folder: which version is the default, and which versions have labels.

digits:
  default: 1
  labels: {stable: 1, canary: 2}
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ConfigurationError

FILE = "models.yaml"


@dataclass(frozen=True)
class Choice:
    """What models.yaml says of one model.

    Args:
        default: The version that answers when none is named; None for the highest sound one.
        labels: Versions by label, such as {"stable": 1}.
    """

    default: int | None = None
    labels: dict[str, int] = field(default_factory=dict)


def read_choices(content: bytes | None, versions: Mapping[str, Collection[int]]) -> dict[str, Choice]:
    """Read models.yaml; without one, nothing is chosen.

    Args:
        content: What it holds; None if there is none.
        versions: The numbers of the versions that are there, by model.

    Raises:
        ConfigurationError: It is not YAML, or names a model or version that is not there; lists every problem.
    """
    if content is None:
        return {}
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{FILE}: cannot be read: {error}"]) from error
    document = parse_yaml(text)
    problems: list[str] = []
    if not isinstance(document, dict):
        problems.append(f"{FILE}: should map each model to its default and labels, is {_kind(document)}")
        document = {}
    choices = {name: _choice(name, value, versions, problems) for name, value in document.items()}
    if problems:
        raise ConfigurationError(problems)
    return choices


def parse_yaml(text: str) -> Any:
    """Decode models.yaml; an empty file is an empty mapping.

    Raises:
        ConfigurationError: It is not YAML; says in which line.
    """
    try:
        import yaml  # only where there is a models.yaml: most folders have none
    except ImportError as error:
        raise ConfigurationError([f"{FILE}: reading it needs the package pyyaml"]) from error
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError([f"{FILE}{place}: is not YAML: {getattr(error, 'problem', None) or error}"]) from error
    return {} if document is None else document


def _choice(name: object, value: object, versions: Mapping[str, Collection[int]], problems: list[str]) -> Choice:
    if not isinstance(name, str) or name not in versions:
        problems.append(f"{FILE}: {name}: there is no such model; there are {', '.join(sorted(versions)) or 'none'}")
        return Choice()
    if not isinstance(value, dict):
        problems.append(f"{FILE}: {name} should hold default and labels, is {_kind(value)}")
        return Choice()
    problems += [f"{FILE}: {name}.{key}: is not known; the keys are default and labels" for key in _unknown(value)]
    labels = value.get("labels", {})
    if not isinstance(labels, dict):
        problems.append(f"{FILE}: {name}.labels should map labels to versions, is {_kind(labels)}")
        labels = {}
    problems += [
        f"{FILE}: {name}.labels: the label {label!r} should be text; put it in quotes"
        for label in labels
        if not isinstance(label, str)
    ]
    numbers = {f"labels.{label}": number for label, number in labels.items()}
    if "default" in value:
        numbers["default"] = value["default"]
    for key, number in numbers.items():
        if type(number) is not int or number not in versions[name]:
            there = ", ".join(map(str, sorted(versions[name])))
            problems.append(f"{FILE}: {name}.{key} should be a version of {name} ({there}), is {number!r}")
    return Choice(value.get("default"), labels)


def _unknown(value: dict[Any, Any]) -> list[Any]:
    return [key for key in value if key not in ("default", "labels")]


def _kind(value: object) -> str:
    return {dict: "a mapping", list: "a list", str: "text", type(None): "empty"}.get(type(value), repr(value))
