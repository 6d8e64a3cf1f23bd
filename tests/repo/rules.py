"""The import rules of the house, each a function from a repository to the places that break it."""

import ast
from collections.abc import Iterator
from pathlib import Path

from functions._staging.imports import imported_modules

# Inside shared, a module imports only from layers above its own line here.
LAYERS = (
    ("errors",),
    ("records", "runs", "schedules"),
    ("ports", "config", "lazy", "log", "patience", "strict_json", "jobs_file"),
    ("routing", "bodies", "request_log", "paging", "events", "jobs", "bucket", "topics", "id_tokens"),
    ("sending",),
    ("guard", "stores"),
    ("endpoint",),
)
PACKAGES = ("shared", "model", "functions", "scheduler", "deployment")
MODEL_MAY_USE = {"shared.errors", "shared.records", "shared.lazy", "shared.log", "shared.bucket"}
# Third-party packages with one door each, by top-level name: the files and folders that may import them.
DOORS = {
    "flask": ("shared/endpoint.py", "functions/web/"),
    "functions_framework": ("functions/*/main.py", "scheduler/testing.py"),
    "sqlalchemy": ("shared/stores/sql/",),
    "sqlite3": ("shared/stores/sql/",),
    "psycopg": ("shared/stores/sql/",),
    "alembic": ("shared/stores/sql/",),
    "ai_edge_litert": ("model/runtimes/", "model/training/"),
    "tensorflow": ("model/runtimes/", "model/training/"),
    "yaml": (
        "shared/jobs_file.py",
        "functions/_staging/",
        "model/choices.py",
        "model/labelling.py",
        "deployment/service_files.py",
    ),
    "grpc": (
        *("shared/stores/firestore/", "shared/topics.py", "scheduler/broker.py", "scheduler/cloud_client.py"),
        *("functions/_local/emulated.py", "deployment/rehearsal/cloud_scheduler.py"),
    ),
    "google": (
        *("model/savedmodel/", "shared/bucket.py", "shared/stores/firestore/", "shared/topics.py"),
        *("scheduler/broker.py", "functions/_local/emulated.py", "shared/id_tokens.py"),
        *("scheduler/cloud_client.py", "scheduler/cloud_letters.py", "scheduler/google_errors.py"),
        "deployment/planning.py",
        "deployment/rehearsal/cloud_scheduler.py",
    ),
}
# Where the time may be read: where functions are composed, where lines are stamped, and on the laptop.
CLOCK_DOORS = ("functions/*/main.py", "shared/log.py", "functions/_local/", "functions/__main__.py", "scheduler/")
# The rehearsal stands in for services that stamp what they keep.
CLOCK_DOORS += ("model/training/", "model/__main__.py", "deployment/")


def library_imports_no_function(root: Path) -> list[str]:
    """shared imports no other package of the house; model nothing of shared but a few modules."""
    broken = [
        f"{path}: shared must not import {name}"
        for path, name in _imports(root, "shared")
        if name.split(".")[0] in ("functions", "model", "scheduler", "deployment", "tests")
    ]
    for path, name in _imports(root, "model"):
        top = name.split(".")[0]
        if top in ("functions", "scheduler", "deployment", "tests") or (
            top == "shared" and name != "shared" and ".".join(name.split(".")[:2]) not in MODEL_MAY_USE
        ):
            broken.append(f"{path}: model must not import {name}")
    return broken


def functions_stay_apart(root: Path) -> list[str]:
    """No function imports another, only predict imports model, and siblings are imported relatively."""
    broken = []
    for folder in sorted(path.parent for path in (root / "functions").glob("*/main.py")):
        siblings = {path.stem for path in folder.glob("*.py")} | {p.parent.name for p in folder.glob("*/__init__.py")}
        for path, name in _imports(root, str(folder.relative_to(root))):
            top = name.split(".")[0]
            if top in ("functions", "scheduler", "deployment", "tests") and not name.startswith(
                f"functions.{folder.name}"
            ):
                broken.append(f"{path}: a function must not import {name}")
            if top == "model" and folder.name != "predict":
                broken.append(f"{path}: only predict imports model")
            if top in siblings:
                broken.append(f"{path}: import {top} relatively, as .{top}")
    return broken


def shared_is_layered(root: Path) -> list[str]:
    """Inside shared, imports go only upwards in LAYERS."""
    level = {name: depth for depth, names in enumerate(LAYERS) for name in names}
    broken = [
        f"shared/{path.stem}: not in LAYERS"
        for path in (root / "shared").iterdir()
        if path.suffix == ".py" and path.stem not in (*level, "__init__")
    ]
    for path, name in _imports(root, "shared"):
        own = path.removeprefix("shared/").removesuffix(".py").split("/")[0]
        parts = name.split(".")
        other = parts[1] if parts[0] == "shared" and len(parts) > 1 else own
        if other != own and own in level and other in level and level[other] >= level[own]:
            broken.append(f"{path}: must not import shared.{other}, which is not below it")
    return broken


def packages_have_doors(root: Path) -> list[str]:
    """Each outside system is reached through one place."""
    return [
        f"{path}: {name} belongs to {' or '.join(doors)}"
        for package in PACKAGES
        for path, name in _imports(root, package)
        if (doors := DOORS.get(name.split(".")[0])) and not _within(path, doors)
    ]


def environment_has_one_reader(root: Path) -> list[str]:
    """Only shared/config.py reads the environment."""
    return _uses(root, {"os"}, {"environ", "environb", "getenv", "putenv"}, ("shared/config.py",))


def clock_is_passed_in(root: Path) -> list[str]:
    """The time is read where things are composed, and handed on as an argument."""
    return _uses(root, {"datetime", "date"}, {"now", "utcnow", "today"}, CLOCK_DOORS)


def no_cycles(root: Path) -> list[str]:
    """No module reaches itself through imports made at its top level or anywhere in it."""
    graph: dict[str, set[str]] = {}
    for package in ("shared", "model", "scheduler", "deployment"):
        for file in sorted((root / package).rglob("*.py")):
            module = ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            parent = ".".join(file.relative_to(root).parent.parts)
            graph[module] = set(imported_modules(file, parent)) - {module}
    return [f"{module}: imports itself through {', '.join(path)}" for module in graph for path in _cycle(graph, module)]


def _uses(root: Path, owners: set[str], names: set[str], doors: tuple[str, ...]) -> list[str]:
    """Return where `owner.name` stands outside the doors, imported by name or used as an attribute."""
    broken = []
    for file in sorted(file for package in PACKAGES for file in (root / package).rglob("*.py")):
        path = str(file.relative_to(root))
        if _within(path, doors):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            attribute = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in owners
            if attribute and node.attr in names:
                broken.append(f"{path}: {node.value.id}.{node.attr} belongs to {' or '.join(doors)}")
            if isinstance(node, ast.ImportFrom) and node.module in owners and names & {a.name for a in node.names}:
                broken.append(f"{path}: {node.module} belongs to {' or '.join(doors)}")
    return broken


def _cycle(graph: dict[str, set[str]], start: str) -> Iterator[list[str]]:
    waiting, seen = [(start, [])], set()
    while waiting:
        module, path = waiting.pop()
        for name in sorted(graph.get(module, ())):
            if name == start:
                yield [*path, module]
                return
            if name not in seen:
                seen.add(name)
                waiting.append((name, [*path, name]))


def _imports(root: Path, package: str) -> Iterator[tuple[str, str]]:
    for file in sorted((root / package).rglob("*.py")):
        parent = ".".join(file.relative_to(root).parent.parts)
        # Served, a function's files have no package: only what they import absolutely is an import of the house.
        served = package.startswith("functions/")
        for name in _absolute_imports(file) if served else imported_modules(file, parent):
            yield str(file.relative_to(root)), name


def _absolute_imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or ""


def _within(path: str, doors: tuple[str, ...]) -> bool:
    return any(path.startswith(door) if door.endswith("/") else Path(path).match(door) for door in doors)


RULES = (
    library_imports_no_function,
    functions_stay_apart,
    shared_is_layered,
    packages_have_doors,
    environment_has_one_reader,
    clock_is_passed_in,
    no_cycles,
)
