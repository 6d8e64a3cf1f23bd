"""Gives a version a label in `models.yaml`, and leaves everything else in it, comments included, as it was."""

import json
from pathlib import Path
from typing import Any

from shared.errors import ConfigurationError

from .choices import FILE, parse_yaml
from .training.version_directory import write_text


def set_label(models_dir: Path, name: str, label: str, version: int) -> None:
    """Point a label at a version; a reader sees the old file or the new.

    Args:
        models_dir: Gets a models.yaml if it has none.
        name: The model.
        label: Moves if another version has it.
        version: One that is there.

    Raises:
        ConfigurationError: models.yaml is not what Nightshift reads.
    """
    path = models_dir / FILE
    write_text(path, labelled(path.read_text("utf-8") if path.exists() else "", name, label, version))


def labelled(text: str, name: str, label: str, version: int) -> str:
    """Return a models.yaml in which a label points at a version.

    Args:
        text: What it holds; empty if there is none.

    Raises:
        ConfigurationError: It is not what Nightshift reads.
    """
    document = parse_yaml(text)
    entry: Any = document.get(name, {}) if isinstance(document, dict) else None
    labels = entry.get("labels", {}) if isinstance(entry, dict) else None
    if not isinstance(labels, dict):
        raise ConfigurationError([f"{FILE}: {name}: does not hold default and labels; mend it before labels are set"])
    wanted = document | {name: entry | {"labels": labels | {label: version}}}
    changed = _with_label(text, name, label, version)
    if parse_yaml(changed) != wanted:
        raise ConfigurationError([f"{FILE}: {name}: cannot be changed safely; set labels.{label} to {version} by hand"])
    return changed


def _with_label(text: str, name: str, label: str, version: int) -> str:
    """Return the text with the one value changed, or with the one key put in."""
    import yaml

    place, rest = yaml.compose(text), [name, "labels", label]
    if place is None:
        return f"{text.rstrip()}\n{_written(rest, version)}\n".lstrip("\n")
    while rest:
        if not isinstance(place, yaml.MappingNode):
            return text
        found = next((value for key, value in place.value if key.value == rest[0]), None)
        if found is None:
            return _inserted(text, place, _written(rest, version))
        place, rest = found, rest[1:]
    return _replaced(text, place, str(version))


def _inserted(text: str, mapping: Any, entry: str) -> str:
    """Put an entry in front of a mapping's first, in the mapping's own style."""
    if not mapping.value:
        return _replaced(text, mapping, f"{{{entry}}}")
    at = mapping.value[0][0].start_mark
    separator = ", " if mapping.flow_style else "\n" + " " * at.column
    return text[: at.index] + entry + separator + text[at.index :]


def _replaced(text: str, node: Any, value: str) -> str:
    return text[: node.start_mark.index] + value + text[node.end_mark.index :]


def _written(keys: list[str], version: int) -> str:
    """Write `name: {labels: {label: 1}}`, or the end of it that is missing."""
    first, *rest = (_quoted(key) for key in keys)
    return f"{first}: " + "".join(f"{{{key}: " for key in rest) + str(version) + "}" * len(rest)


def _quoted(key: str) -> str:
    """Write a key plainly where YAML reads it back as the same text, in quotes where it would not ("on", "1.0")."""
    return key if parse_yaml(key) == key else json.dumps(key)
