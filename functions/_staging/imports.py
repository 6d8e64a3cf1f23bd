"""Follows the imports of a function through the library, by reading the code and never running it."""

import ast
from collections.abc import Iterator
from pathlib import Path

# The packages a function may carry along. It never imports another function.
LIBRARIES = ("shared", "model", "scheduler")


def imported_modules(path: Path, package: str) -> Iterator[str]:
    """Yield the dotted name of everything a file imports, wherever in the file it does so.

    Args:
        path: A Python file.
        package: The dotted name of the package it is in, to resolve relative imports; "" for none.
    """
    for node in ast.walk(ast.parse(path.read_text("utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _resolved(node, package)
            yield base
            # `from package import module` names a module as well.
            yield from (f"{base}.{alias.name}" for alias in node.names)


def library_files(root: Path, folder: Path) -> set[Path]:
    """Return every library file that the Python files of a folder reach, packages' `__init__.py` included.

    Args:
        root: The repository.
        folder: A function's folder.
    """
    reached: set[Path] = set()
    waiting = [(path, "") for path in sorted(folder.rglob("*.py"))]
    while waiting:
        path, package = waiting.pop()
        for name in imported_modules(path, package):
            for found in _files_of(root, name):
                if found not in reached:
                    reached.add(found)
                    waiting.append((found, _package_of(root, found)))
    return reached


def _resolved(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """Yield the file of a dotted library name and the `__init__.py` of each package on the way."""
    parts = name.split(".")
    if parts[0] not in LIBRARIES:
        return
    for depth in range(1, len(parts) + 1):
        base = root.joinpath(*parts[:depth])
        for candidate in (base / "__init__.py", base.with_suffix(".py")):
            if candidate.is_file():
                yield candidate


def _package_of(root: Path, path: Path) -> str:
    return ".".join(path.relative_to(root).parent.parts)
