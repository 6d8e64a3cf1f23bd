"""python -m model: check and add anyone's SavedModel, train a bundled model, list the models that are there."""

import argparse
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from shared.errors import ServiceError

from .registry import ModelVersion, Registry

MODELS_DIR = Path(__file__).parent
RECIPES = ("digits",)
ADDING_PACKAGES = {"tensorflow": "tensorflow", "ai_edge_litert": "ai-edge-litert", "rich": "rich"}
TRAINING_PACKAGES = {"tensorflow": "tensorflow", "sklearn": "scikit-learn", "rich": "rich"}
# AI Platform's limit on a model; a function's memory sets the real one.
LIMIT_MB = 256


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 cannot be run like this."""
    options = _parser().parse_args(arguments)
    try:
        return {"list": _list, "train": _train, "check": _check, "add": _add}[options.command](options)
    except ServiceError as error:
        print(f"error: {error.message}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m model", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train a bundled model and put it in place")
    train.add_argument("name", metavar="NAME", choices=RECIPES, help=", ".join(RECIPES))
    train.add_argument("--version", type=_whole_number(1, 2**63 - 1), help="default: the next free one")
    train.add_argument("--seed", type=_whole_number(0, 2**32 - 1), help="default: the recipe's own")
    train.add_argument("--epochs", type=_whole_number(1, 10_000), help="default: the recipe's own")
    check = commands.add_parser("check", help="say whether and how a SavedModel can be served")
    add = commands.add_parser("add", help="check a SavedModel and make it a version of a model")
    for command in (check, add):
        command.add_argument("path", metavar="PATH", type=Path, help="the folder that holds saved_model.pb")
        command.add_argument("--example", metavar="FILE", type=Path, help="a request in JSON that the model answers")
        command.add_argument("--limit-mb", type=_whole_number(1, 10_000), default=LIMIT_MB, help=f"default: {LIMIT_MB}")
    add.add_argument("--name", required=True, type=_name, help="the model's name")
    add.add_argument("--version", type=_whole_number(1, 10**18 - 1), help="default: the next free one")
    add.add_argument("--label", type=_name, help="a label that names this version from now on, such as stable")
    show = commands.add_parser("list", help="show every model, version and label")
    for command in (train, add):
        command.add_argument("--force", action="store_true", help="replace the version if it exists")
    add.add_argument("--to", metavar="gs://BUCKET/PREFIX", type=_bucket_url, help="put it there, not into a folder")
    for command in (train, add):
        command.add_argument("--models-dir", type=Path, default=MODELS_DIR, help="default: model/")
    show.add_argument("--models-dir", default=MODELS_DIR, help="a folder or gs://bucket/prefix; default: model/")
    return parser


def _bucket_url(text: str) -> str:
    if not re.fullmatch(r"gs://[a-z0-9][a-z0-9._-]{1,220}[a-z0-9](/.*)?", text):
        raise argparse.ArgumentTypeError(f"should be gs://bucket/prefix, is {text!r}")
    return text


def _whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(highest)) else -1
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"should be a whole number from {lowest} to {highest}, is {text}")
        return number

    return parse


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", text):
        raise argparse.ArgumentTypeError(
            f"should be up to 100 letters, digits, '.', '_' and '-', the first a letter or digit, is {text!r}"
        )
    return text


def _train(options: argparse.Namespace) -> int:
    if _lacks("Training", TRAINING_PACKAGES):
        return 2
    from .training.command import train

    train(options, created_at=datetime.now(UTC))
    return 0


def _check(options: argparse.Namespace) -> int:
    if _lacks("Checking a model", ADDING_PACKAGES):
        return 2
    from .adding.command import check

    check(options)
    return 0


def _add(options: argparse.Namespace) -> int:
    if _lacks("Adding a model", ADDING_PACKAGES):
        return 2
    if options.to and options.force:
        print("error: a version in a bucket is never replaced, so --to takes no --force", file=sys.stderr)
        return 2
    from .adding.command import add

    add(options, created_at=datetime.now(UTC))
    return 0


def _lacks(what: str, packages: dict[str, str]) -> bool:
    missing = [package for module, package in packages.items() if find_spec(module) is None]
    if missing:
        print(
            f"{what} needs {' and '.join(missing)}, which this environment lacks. The development "
            "environment has all of it: make test sets it up in .venv-dev",
            file=sys.stderr,
        )
    return bool(missing)


def _list(options: argparse.Namespace) -> int:
    registry = Registry.scan(options.models_dir)
    rows = [("MODEL", "VERSION", "DEFAULT", "LABELS", "RUNTIMES", "SIZE", "ACCURACY")]
    broken = []
    for name in registry.names():
        default, labels = registry.default_version(name), registry.labels(name)
        for version in registry.versions(name):
            own = ", ".join(sorted(label for label, number in labels.items() if number == version.version))
            rows.append(_row(version, own, is_default=version.version == default))
            if version.broken is not None:
                broken.append(version.broken)
    if len(rows) == 1:
        print("No models")
        return 0
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    for reason in broken:
        print(f"broken: {reason}")
    return 0


def _row(version: ModelVersion, labels: str, *, is_default: bool) -> tuple[str, str, str, str, str, str, str]:
    start = (version.name, str(version.version), "yes" if is_default else "", labels)
    if version.manifest is None:
        return (*start, "broken", "", "")
    accuracy = version.manifest.metrics.get("accuracy")
    return (
        *start,
        ", ".join(version.manifest.runtimes),
        f"{version.manifest.size_bytes / 1000:.0f} kB",
        f"{accuracy:.1%}" if isinstance(accuracy, int | float) else "",
    )


if __name__ == "__main__":
    sys.exit(main())
