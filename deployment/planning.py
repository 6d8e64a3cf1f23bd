"""The plan of an environment: everything that differs, in the order in which it is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from google.oauth2.credentials import Credentials

from scheduler.cloud_client import CloudScheduler
from shared.config import ROOT, read_settings
from shared.errors import ConfigurationError
from shared.jobs import Job

from .changes import Change
from .configuration import Configuration
from .environment import read_environment
from .gcloud import Gcloud
from .names import Names
from .present import Present
from .releases import Origin, release_changes
from .resources import changes_before_release
from .resources.accounts import smoke_changes
from .resources.images import promotion_changes
from .resources.invokers import invoker_changes, is_closing, is_opening, policy_url
from .resources.schedule import schedule_changes
from .resources.subscriptions import subscription_changes
from .rest import Rest
from .revisions_present import deployed
from .sources import Source, make_source

_WHOLE = 100
_TOKEN_KEPT = timedelta(minutes=30)


@dataclass(frozen=True)
class Plan:
    """What is to be done, in this order.

    Attributes:
        before: What functions need before they can run; whatever is no longer for everybody is closed here already.
        releases: The functions.
        callers: Who may call them.
        opened: What is to be for everybody is, once it was tried and has its traffic.
        after: What calls them: pushes and schedules.
        same: How many of the functions that were looked at stay as they are.
    """

    before: list[Change] = field(default_factory=list)
    releases: list[Change] = field(default_factory=list)
    callers: list[Change] = field(default_factory=list)
    opened: list[Change] = field(default_factory=list)
    after: list[Change] = field(default_factory=list)
    same: int = 0

    @property
    def changes(self) -> list[Change]:
        """All of them."""
        return [*self.before, *self.releases, *self.callers, *self.opened, *self.after]


class Planner:
    """Reads an environment, and says what differs.

    Args:
        configuration: What the files say.
        gcloud: In the environment's project.
        environments: The folder of the `.env` files.
        root: The repository.
    """

    def __init__(self, configuration: Configuration, gcloud: Gcloud, environments: Path, root: Path = ROOT) -> None:
        self.configuration, self._root, self._environments = configuration, root, environments
        of = configuration.environment
        self.gcloud = gcloud
        number = str(gcloud.read("projects", "describe", of.project_id)["projectNumber"])
        self.names = Names(of, tuple(configuration.services), number)
        self.rest = Rest(of.project_id, lambda: gcloud.text("auth", "print-access-token"))
        self.present = Present(gcloud, self.rest, of.region, self.names.database)
        self._cloud_scheduler: CloudScheduler | None = None

    def plan(self, only: Sequence[str], deployer: str, percent: int) -> Plan:
        """Return what differs.

        Args:
            only: The functions that may be released; none: all.
            deployer: The account that gcloud is signed in with.
            percent: Of the traffic, that new revisions are to get.

        Raises:
            ServiceError: It could not be read, or it cannot be made as it is.
        """
        names, present = self.names, self.present
        present.read_all()
        urls = [policy_url(names, s.service) for s in names.services if s.service in present.named_services()]
        present.read_policies(urls)
        origin, source_names = self._origin()
        sources = self._sources(only)
        before = [*changes_before_release(names, present), *smoke_changes(names, present, deployer)]
        if source_names:
            before += promotion_changes(names, source_names, present)
        releases = list(release_changes(names, present, sources, origin, percent))
        after = [*subscription_changes(names, present), *self._schedule_changes(self.configuration.jobs)]
        released = {change.function for change in releases}
        callers = list(invoker_changes(names, present, released))
        before += [change for change in callers if is_closing(change)]
        opened = [change for change in callers if is_opening(change)]
        self._check_opened(opened, sources, percent)
        callers = [change for change in callers if not (is_closing(change) or is_opening(change))]
        return Plan(before, releases, callers, opened, after, len(sources) - len(releases))

    @staticmethod
    def _check_opened(opened: Sequence[Change], sources: Mapping[str, Source], percent: int) -> None:
        """Make sure that nobody but a read-only page is opened to everybody.

        Raises:
            ConfigurationError: An earlier revision of it would go on beside the one that is read-only.
        """
        if any(change.what.startswith("callers of web:") for change in opened):
            if "web" not in sources:
                raise ConfigurationError(["--only: expected web among them, which WEB_ACCESS=public makes read-only"])
            if percent < _WHOLE:
                raise ConfigurationError(["--canary: not while web is made public: all of it has to be read-only"])

    def close(self) -> None:
        """Let go of the connections."""
        self.rest.close()
        if self._cloud_scheduler:
            self._cloud_scheduler.close()

    def unscheduled(self) -> list[Change]:
        """Return the removal of every schedule that is ours."""
        return self._schedule_changes({})

    def _schedule_changes(self, jobs: Mapping[str, Job]) -> list[Change]:
        of = self.names.environment
        readable = "cloudscheduler.googleapis.com" in self.present.enabled
        emulator = read_settings().scheduler_emulator_host
        credentials = None if emulator else self._credentials()
        self._cloud_scheduler = CloudScheduler(of.project_id, of.region, emulator, credentials)
        return list(schedule_changes(self.names, jobs, self._cloud_scheduler, readable=readable))

    def _credentials(self) -> Credentials:
        """Return gcloud's own credentials, asked for again after a while: builds take their time."""

        def refresh(_request: object, scopes: object) -> tuple[str, datetime]:
            # Google's library compares with the time in UTC without its zone.
            return self.rest.new_token(), datetime.now(UTC).replace(tzinfo=None) + _TOKEN_KEPT

        return Credentials(token=None, refresh_handler=refresh)  # type: ignore[no-untyped-call]

    def _sources(self, only: Sequence[str]) -> dict[str, Source]:
        of = self.names.environment
        wanted = [service for service in self.names.services if not only or service.function in only]
        return {service.function: make_source(service, of, self.gcloud, self._root) for service in wanted}

    def _origin(self) -> tuple[Origin, Names] | tuple[None, None]:
        """Return what runs in the environment whose images are promoted, if this one has its images from another."""
        name = self.names.environment.promote_from
        if not name:
            return None, None
        other = read_environment(name, self._environments)
        if other.region != self.names.environment.region:
            raise ConfigurationError(
                [f"PROMOTE_FROM: expected an environment in the same region, {name} is in {other.region}"]
            )
        listed = Gcloud(other.project_id)
        services = listed.read("run", "services", "list", f"--region={other.region}")
        self.gcloud.calls.number += listed.calls.number
        self.gcloud.calls.seconds += listed.calls.seconds
        found = {each["metadata"]["name"]: deployed(each) for each in services}
        return Origin(name, found), Names(other, self.names.services, "")
