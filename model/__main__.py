"""python -m model: train a bundled model, or list the models that are there."""

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

from shared.errors import ServiceError

from .registry import ModelVersion, Registry

MODELS_DIR = Path(__file__).parent
RECIPES = ("digits",)
TRAINING_PACKAGES = {"tensorflow": "tensorflow", "sklearn": "scikit-learn", "rich": "rich"}


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 cannot be run like this."""
    options = _parser().parse_args(arguments)
    try:
        return _list(options) if options.command == "list" else _train(options)
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
    train.add_argument("--force", action="store_true", help="replace the version if it exists")
    show = commands.add_parser("list", help="show every model and version")
    for command in (train, show):
        command.add_argument("--models-dir", type=Path, default=MODELS_DIR, help="default: model/")
    return parser


def _whole_number(lowest: int, highest: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(highest)) else -1
        if not lowest <= number <= highest:
            raise argparse.ArgumentTypeError(f"should be a whole number from {lowest} to {highest}, is {text}")
        return number

    return parse


def _train(options: argparse.Namespace) -> int:
    missing = [package for module, package in TRAINING_PACKAGES.items() if find_spec(module) is None]
    if missing:
        print(
            f"Training needs {' and '.join(missing)}, which this environment lacks. The development "
            "environment has all of it: make test sets it up in .venv-dev",
            file=sys.stderr,
        )
        return 2
    from .training.command import train

    train(options, created_at=datetime.now(UTC))
    return 0


def _list(options: argparse.Namespace) -> int:
    registry = Registry.scan(options.models_dir)
    rows = [("MODEL", "VERSION", "DEFAULT", "RUNTIMES", "SIZE", "ACCURACY")]
    broken = []
    for name in registry.names():
        versions = registry.versions(name)
        default = max((v.version for v in versions if v.broken is None), default=None)
        for version in versions:
            rows.append(_row(version, is_default=version.version == default))
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


def _row(version: ModelVersion, *, is_default: bool) -> tuple[str, str, str, str, str, str]:
    number, default = str(version.version), "yes" if is_default else ""
    if version.manifest is None:
        return version.name, number, default, "broken", "", ""
    accuracy = version.manifest.metrics.get("accuracy")
    return (
        version.name,
        number,
        default,
        ", ".join(version.manifest.runtimes),
        f"{version.manifest.size_bytes / 1000:.0f} kB",
        f"{accuracy:.1%}" if isinstance(accuracy, int | float) else "",
    )


if __name__ == "__main__":
    sys.exit(main())
