"""Everything the files of the repository say about an environment, checked before anything is run."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from shared.errors import ConfigurationError
from shared.jobs import Job, read_jobs

from .cloud_run_limits import memory_problem
from .env_checks import check_values
from .env_file import read_env_file
from .environment import Environment, environment_names, read_environment
from .environments_together import problems_together
from .service_files import Service, read_services

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is to be deployed.

    Attributes:
        environment: environments/ENV.env.
        services: functions/*/service.yaml, in the order of their names.
        jobs: scheduler/jobs.yaml, by id.
    """

    environment: Environment
    services: list[Service]
    jobs: Mapping[str, Job]


def read_configuration(name: str, root: Path, environments: Path | None = None) -> Configuration:
    """Read an environment, every service and every job, and check how they go together.

    The other environments must be right as well, but for a PROJECT_ID that nobody has filled in yet.

    Args:
        name: The environment, such as staging.
        root: The repository.
        environments: Where the `.env` files are; None: in environments/.

    Raises:
        ConfigurationError: Lists everything that is wrong in any of the files.
    """
    problems: list[str] = []
    folder = environments or root / "environments"
    environment = _tried(lambda: read_environment(name, folder), problems)
    services = _tried(lambda: read_services(root), problems)
    jobs = _tried(lambda: read_jobs(root / "scheduler" / "jobs.yaml"), problems)
    problems += _others(name, folder)
    if environment and services is not None:
        problems += _misfits(environment, services)
    if problems or environment is None or services is None or jobs is None:
        raise ConfigurationError(problems)
    return Configuration(environment, services, jobs)


def _tried(read: Callable[[], _T], problems: list[str]) -> _T | None:
    try:
        return read()
    except ConfigurationError as error:
        problems += error.problems
        return None


def _others(name: str, folder: Path) -> Iterable[str]:
    files = {each: read_env_file(folder / f"{each}.env") for each in environment_names(folder)}
    for file, line, problem in problems_together(files):
        file.add(line, problem)
    for other, file in files.items():
        if other != name:
            check_values(file, may_lack_project=True)
            yield from file.told()


def _misfits(environment: Environment, services: list[Service]) -> Iterable[str]:
    """Yield what is right in the environment's file by itself, and wrong beside a service.yaml."""
    place = f"environments/{environment.name}.env"
    for service in services:
        key, memory = service.function.upper(), environment.memory.get(service.function)
        if memory and (problem := memory_problem(memory, service.cpu)):
            yield f"{place}: MEMORY_{key}: {problem} (cpu in functions/{service.function}/service.yaml)"
        least = environment.min_instances.get(service.function, 0)
        most = environment.max_instances.get(service.function, service.max_instances)
        if least > most and service.function not in environment.max_instances:
            yield f"{place}: MIN_INSTANCES_{key}: expected at most {most}, as service.yaml says, got {least}"
