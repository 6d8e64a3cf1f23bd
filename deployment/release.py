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
        if "run.googleapis.com" not in self._present.enabled:
            self._present.read_enabled()
        with ThreadPoolExecutor(_BUILDS_AT_ONCE) as pool:
            failures = [error for error in pool.map(lambda change: _tried(run, change), changes) if error]
        self._present.forget("services")
        if failures:
            raise ReleaseError("; ".join(failures))

    def give_traffic(self, changes: Sequence[Change], percent: int) -> None:
        """Try the candidates, give them traffic, and try them again where everybody gets them.

        Args:
            changes: Of those that were deployed, or that wait for the rest of their traffic.
            percent: Of the traffic, that the new revisions get; the others keep the rest.

        Raises:
            ReleaseError: Something did not do what it is for; the traffic is where it was.
        """
        before = self._deployed()
        now = {change.function: before[self._services[change.function]] for change in changes if change.function}
        self._check_nobody_else(changes, now)
        candidates = {name: self._candidate_url(each) for name, each in now.items()}
        self._try(candidates, before, "before it gets traffic")
        try:
            for name, each in now.items():
                self._move(each, self._services[name], each.split(percent))
            # With a share of the traffic the service's own URL may lead to either revision.
            urls = {name: each.url if len(each.split(percent)) == 1 else candidates[name] for name, each in now.items()}
            self._try(urls, before, "with its traffic")
        except BaseException:
            self._restore(now)
            raise

    def _check_nobody_else(self, changes: Sequence[Change], now: Mapping[str, Deployed]) -> None:
        others = [
            change.what
            for change in changes
            if change.function and change.digests != (now[change.function].source, now[change.function].settings)
        ]
        if others:
            raise ReleaseError(f"{', '.join(others)}: somebody else has deployed meanwhile; plan again")

    def _try(self, urls: Mapping[str, str], services: Mapping[str, Deployed], when: str) -> None:
        audiences = {
            function: services[service].url for function, service in self._services.items() if service in services
        }
        try:
            for line in self._smoke.try_all(urls, audiences):
                self._say(f"  tried {when}: {line}")
        except ServiceError as error:
            raise ReleaseError(f"tried {when}: {error.message} | the traffic stays where it was") from error

    def _move(self, now: Deployed, service: str, wanted: Mapping[str, int]) -> None:
        if now.is_released or (len(wanted) > 1 and now.is_split(wanted)):
            return
        tags = {LIVE: now.latest} if len(wanted) == 1 else {}
        tags |= {PREVIOUS: now.former} if now.former else {}
        flag = ",".join(f"{tag}={revision}" for tag, revision in tags.items() if now.tags.get(tag) != revision)
        self._send(service, wanted, *((f"--update-tags={flag}",) if flag else ()))
        self._say(f"  {service}: {', '.join(f'{name} {percent} %' for name, percent in wanted.items())}")

    def _restore(self, before: Mapping[str, Deployed]) -> None:
        """Put traffic and tags back to what they were; one service that fails keeps no other from it."""
        for function, each in before.items():
            service, kept = self._services[function], {tag: each.tags.get(tag) for tag in (LIVE, PREVIOUS)}
            there = ",".join(f"{tag}={revision}" for tag, revision in kept.items() if revision)
            gone = ",".join(tag for tag, revision in kept.items() if not revision)
            try:
                self._send(
                    service, each.traffic, *((f"--update-tags={there}",) if there else (f"--remove-tags={gone}",))
                )
                self._say(f"  {service}: put back to {', '.join(f'{name} {n} %' for name, n in each.traffic.items())}")
            except ServiceError as error:
                self._say(f"  {service}: could not be put back: {error.message}")

    def _send(self, service: str, split: Mapping[str, int], *flags: str) -> None:
        text = ",".join(f"{name}={percent}" for name, percent in split.items())
        self._gcloud.run(traffic_command(self._names, service, f"--to-revisions={text}", *flags))

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
