"""Puts a finished version in place: described, hashed, and there as a whole or not at all."""

import hashlib
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.errors import ConflictError

from ..manifest import Signature, TensorSpec, parse_manifest


def next_version(model_dir: Path) -> int:
    """Return the number after the highest version in a model's folder, 1 if there is none."""
    numbers = [int(entry.name) for entry in model_dir.glob("[0-9]*") if entry.name.isdigit()]
    return max(numbers, default=0) + 1


def refuse_existing(version_dir: Path) -> None:
    """Refuse to put a version where one is: a version that was served must not change.

    Raises:
        ConflictError: The folder exists.
    """
    if version_dir.exists():
        raise ConflictError(
            f"{version_dir.parent.name} version {version_dir.name} exists already: "
            "name another version, or replace it with --force"
        )


@contextmanager
def staged_version(version_dir: Path, *, force: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill, and make it the version when the block ends without an error.

    Args:
        version_dir: Where the version goes: `<models folder>/<name>/<version>`.
        force: Replace a version that is there.

    Raises:
        ConflictError: The version exists and `force` is not set, also if it came during the block.
    """
    if not force:
        refuse_existing(version_dir)
    version_dir.parent.mkdir(parents=True, exist_ok=True)
    # A sibling, so that the rename stays on one file system; hidden, so that no registry lists it.
    with tempfile.TemporaryDirectory(dir=version_dir.parent, prefix=".incoming-") as incoming:
        staged = Path(incoming) / version_dir.name
        staged.mkdir()
        yield staged
        if force and version_dir.exists():
            version_dir.rename(Path(incoming) / "replaced")
        refuse_existing(version_dir)
        staged.rename(version_dir)


def describe_signatures(
    signatures: Mapping[str, Signature], ranges: Mapping[str, tuple[float, float]]
) -> dict[str, Any]:
    """Write signatures as `model.json` has them.

    Args:
        ranges: The smallest and largest value trained for, by input name.
    """

    def describe(spec: TensorSpec) -> dict[str, Any]:
        described: dict[str, Any] = {
            "dtype": spec.dtype,
            "shape": None if spec.unknown_rank else [-1 if size is None else size for size in spec.shape],
            "tensor_name": spec.tensor_name,
        }
        if spec.name in ranges:
            described["range"] = dict(zip(("minimum", "maximum"), ranges[spec.name], strict=True))
        return described

    return {
        key: {
            "method_name": signature.method_name,
            "inputs": {name: describe(spec) for name, spec in signature.inputs.items()},
            "outputs": {name: describe(spec) for name, spec in signature.outputs.items()},
        }
        for key, signature in signatures.items()
    }


def write_manifest(staged: Path, document: dict[str, Any]) -> None:
    """Write `model.json` for the files in a folder, after checking that a registry will read it.

    Args:
        staged: The folder with every other file of the version.
        document: What model.json says, but for `files` and `size_bytes`, which are added here.

    Raises:
        ModelError: The document is not one that Nightshift reads.
    """
    files = {
        path.relative_to(staged).as_posix(): path.read_bytes() for path in sorted(staged.rglob("*")) if path.is_file()
    }
    whole = document | {
        "files": {
            name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in files.items()
        },
        "size_bytes": sum(map(len, files.values())),
    }
    parse_manifest(whole, f"{document['name']}/{document['version']}/model.json")
    (staged / "model.json").write_text(format_json(whole), encoding="utf-8")


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old text or the new, never a part."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".incoming-") as incoming:
        staged = Path(incoming) / path.name
        staged.write_text(text, encoding="utf-8")
        staged.replace(path)


def format_json(document: object) -> str:
    """Write JSON that people read: indented, but each list of numbers on one line."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    return re.sub(r"\[\n\s+([^\[\]{}\"]*?)\n\s*\]", _on_one_line, text) + "\n"


def _on_one_line(found: re.Match[str]) -> str:
    return f"[{' '.join(found[1].split())}]"
