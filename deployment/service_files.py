"""`functions/*/service.yaml`: what each function needs of Cloud Run and of its neighbours, read with line numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from shared.errors import ConfigurationError

from .cloud_run_limits import memory_problem
from .service_values import CHECKS, REQUIRED, unknown_key


@dataclass(frozen=True, slots=True)
class Service:
    """One function as Cloud Run is to run it.

    Attributes:
        function: The folder's name, which is the entry point as well.
        service: The name in Cloud Run: the same with dashes.
        memory: Such as 1Gi, of one instance.
        cpu: vCPUs of one instance.
        concurrency: Requests at once in one instance, and its THREADS.
        max_instances: The most there may be, unless the environment says otherwise.
        timeout_seconds: After which Cloud Run gives a request up.
        startup_path: Answers 200 once an instance can take requests.
        database: none, read or write.
        secrets: Environment variables that come from Secret Manager.
        publishes: Topics it hands messages to.
        subscribes: The topic whose messages are pushed to it, or None.
        calls: The functions it asks, by their folders' names.
        models: It reads MODELS_DIR.
        objects: What it does with the bucket of OBJECTS_URL: none, read or write.
    """

    function: str
    service: str
    memory: str
    cpu: int
    concurrency: int
    max_instances: int
    timeout_seconds: int
    startup_path: str
    database: str
    secrets: tuple[str, ...]
    publishes: tuple[str, ...]
    subscribes: str | None
    calls: tuple[str, ...]
    models: bool
    objects: str


def read_services(root: Path) -> list[Service]:
    """Read and check the service.yaml of every function, in the order of their names.

    Args:
        root: The repository.

    Raises:
        ConfigurationError: Lists everything that is wrong with any of them, by file and line.
    """
    files = [_ServiceFile(main.parent) for main in sorted((root / "functions").glob("*/main.py"))]
    names = [file.function for file in files]
    subscribers: dict[str, str] = {}
    for file in files:
        file.read(root)
        file.check_neighbours(names, subscribers)
    if problems := [problem for file in files for problem in file.told()]:
        raise ConfigurationError(problems)
    return [file.service() for file in files]


class _ServiceFile:
    """One file as far as it could be read.

    Args:
        folder: The function's.
    """

    def __init__(self, folder: Path) -> None:
        self.function = folder.name
        self._path = folder / "service.yaml"
        self._values: dict[str, Any] = {}
        self._lines: dict[str, int] = {}
        self._problems: list[tuple[int, str]] = []

    def read(self, root: Path) -> None:
        """Note the values that are right, and what is wrong with the others."""
        try:
            loader = yaml.SafeLoader(self._path.read_text("utf-8"))
            document = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 0
            self._problems.append((line, f"cannot be read: {error.problem}"))
            return
        except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
            self._problems.append((0, f"cannot be read: {getattr(error, 'strerror', None) or type(error).__name__}"))
            return
        if not isinstance(document, yaml.MappingNode):
            self._problems.append((1, f"expected a mapping with {', '.join(REQUIRED)} and more"))
            return
        for key, value in document.value:
            self._read_pair(loader, key, value)
        for name in REQUIRED:
            if name not in self._lines:
                self._problems.append((0, f"{name}: expected, not there"))
        self._check_together(root)

    def check_neighbours(self, names: list[str], subscribers: dict[str, str]) -> None:
        """Note calls to nobody, and a second subscriber of one topic; `subscribers` is by topic and added to."""
        for name in self._values.get("calls", ()):
            others = [other for other in names if other != self.function]
            if name not in others:
                self._add("calls", f"expected some of {', '.join(others)}, got {name!r}")
        topic = self._values.get("subscribes")
        if topic and (first := subscribers.setdefault(topic, self.function)) != self.function:
            self._add("subscribes", f"expected a topic with no subscriber yet; {topic} goes to {first}")

    def told(self) -> list[str]:
        """Return what is wrong, from the first line to the last."""
        place = f"functions/{self.function}/service.yaml"
        ordered = sorted(self._problems, key=lambda problem: problem[0])
        return [f"{place}{f':{line}' if line else ''}: {problem}" for line, problem in ordered]

    def service(self) -> Service:
        """Return what the file says, once nothing is wrong with it."""
        optional: Mapping[str, Any] = {
            **{"database": "none", "objects": "none", "subscribes": None, "models": False},
            **{"secrets": (), "publishes": (), "calls": ()},
        }
        members = {**optional, **self._values}
        members.pop("include", None)
        return Service(self.function, self.function.replace("_", "-"), **members)

    def _read_pair(self, loader: yaml.SafeLoader, key: yaml.Node, node: yaml.Node) -> None:
        line, name = key.start_mark.line + 1, key.value
        if not isinstance(name, str) or name not in CHECKS:
            self._problems.append((line, unknown_key(name)))
            return
        if name in self._lines:
            self._problems.append((line, f"{name}: expected once, it is there already on line {self._lines[name]}"))
            return
        self._lines[name] = line
        try:
            self._values[name] = CHECKS[name](loader.construct_object(node, deep=True))
        except yaml.MarkedYAMLError as error:
            self._add(name, str(error.problem))
        except (ValueError, RecursionError) as error:
            self._add(name, str(error))

    def _check_together(self, root: Path) -> None:
        memory, cpu = self._values.get("memory"), self._values.get("cpu")
        if memory and cpu and (problem := memory_problem(memory, cpu)):
            self._add("memory", problem)
        for pattern in self._values.get("include", ()):
            if not any(path.is_file() for path in root.glob(pattern)):
                self._add("include", f"expected files of the repository, nothing matches {pattern!r}")

    def _add(self, name: str, problem: str) -> None:
        self._problems.append((self._lines[name], f"{name}: {problem}"))
