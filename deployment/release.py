"""Candidates without traffic, tried, given traffic, tried again; what fails goes back by itself."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from shared.errors import ServiceError

from .changes import Change
from .gcloud import Command, Gcloud
from .names import Names
from .present import Present
from .revisions_present import CANDIDATE, LIVE, PREVIOUS, Deployed, deployed
from .smoke import Smoke

_BUILDS_AT_ONCE = 4
_WHOLE = 100


class ReleaseError(ServiceError):
    """A release was given up; the traffic is where it was."""


class Release:
    """The release of some functions of one environment.

    Args:
        names: Of the environment.
        present: The project.
        smoke: Tries what was deployed.
        say: Is told what happens, a line at a time.
    """

    def __init__(self, names: Names, present: Present, smoke: Smoke, say: Callable[[str], None]) -> None:
        self._names, self._present, self._smoke, self._say = names, present, smoke, say
        self._gcloud: Gcloud = present.gcloud
        self._services = {service.function: service.service for service in names.services}

    def deploy(self, changes: Sequence[Change], run: Callable[[Change], None]) -> None:
        """Build and deploy every candidate, several at a time; those that fail stop none of the others.

        Raises:
            ReleaseError: Some could not be deployed; names each, and why.
        """
        with ThreadPoolExecutor(_BUILDS_AT_ONCE) as pool:
            failures = [error for error in pool.map(lambda change: _tried(run, change), changes) if error]
        self._present.forget("services")
        if failures:
            raise ReleaseError("; ".join(failures))

    def give_traffic(self, functions: Sequence[str], percent: int) -> None:
        """Try the candidates, give them traffic, and try them again where everybody gets them.

        Args:
            functions: Those that were deployed, or that wait for the rest of their traffic.
            percent: Of the traffic, that the new revisions get; the others keep the rest.

        Raises:
            ReleaseError: Something did not do what it is for; the traffic is where it was.
        """
        before = self._deployed()
        candidates = {name: self._candidate_url(before[self._services[name]]) for name in functions}
        self._try(candidates, before, "before it gets traffic")
        moved = [name for name in functions if self._move(before[self._services[name]], self._services[name], percent)]
        try:
            self._try({name: before[self._services[name]].url for name in functions}, before, "with its traffic")
        except ReleaseError:
            for name in moved:
                self._restore(self._services[name], before[self._services[name]])
            raise

    def _try(self, urls: Mapping[str, str], services: Mapping[str, Deployed], when: str) -> None:
        audiences = {
            function: services[service].url for function, service in self._services.items() if service in services
        }
        try:
            for line in self._smoke.try_all(urls, audiences):
                self._say(f"  tried {when}: {line}")
        except ServiceError as error:
            raise ReleaseError(f"tried {when}: {error.message} | the traffic is where it was") from error

    def _move(self, now: Deployed, service: str, percent: int) -> bool:
        """Give the newest revision its share, and say whether that changed anything."""
        former = now.former
        share = percent if former else _WHOLE
        wanted = {now.latest: share, **({former: _WHOLE - share} if former and share < _WHOLE else {})}
        if now.is_released or (share < _WHOLE and now.traffic == wanted):
            return False
        split = ",".join(f"{name}={each}" for name, each in wanted.items())
        tags = {LIVE: now.latest} if share == _WHOLE else {}
        tags |= {PREVIOUS: former} if former else {}
        flag = ",".join(f"{tag}={revision}" for tag, revision in tags.items() if now.tags.get(tag) != revision)
        tagging = (f"--update-tags={flag}",) if flag else ()
        self._gcloud.run(traffic_command(self._names, service, f"--to-revisions={split}", *tagging))
        self._say(f"  {service}: {split.replace('=', ' ').replace(',', ' %, ')} %")
        return True

    def _restore(self, service: str, before: Deployed) -> None:
        split, live = ",".join(f"{name}={each}" for name, each in before.traffic.items()), before.tags.get(LIVE)
        tagging = f"--update-tags={LIVE}={live}" if live else f"--remove-tags={LIVE}"
        self._gcloud.run(traffic_command(self._names, service, f"--to-revisions={split}", tagging))
        self._say(f"  {service}: put back to {split}")

    def _deployed(self) -> dict[str, Deployed]:
        self._present.forget("services")
        return {name: deployed(there) for name, there in self._present.named_services().items()}

    @staticmethod
    def _candidate_url(now: Deployed) -> str:
        """Return where the newest revision answers: its tag's URL, or the service's, if it has the traffic already."""
        return now.tag_urls[CANDIDATE] if now.tags.get(CANDIDATE) == now.latest else now.url


def traffic_command(names: Names, service: str, *flags: str) -> Command:
    """Return the command that moves a service's traffic."""
    place = f"--region={names.environment.region}"
    return ("run", "services", "update-traffic", service, place, *flags, "--format=none")


def _tried(run: Callable[[Change], None], change: Change) -> str | None:
    try:
        run(change)
    except ServiceError as error:
        return f"{change.what}: {error.message}"
    return None
