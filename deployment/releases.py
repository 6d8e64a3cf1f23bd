"""Which functions are released, and the command that makes each one's candidate."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from shared.errors import ConfigurationError

from .changes import Change, Kind
from .digests import settings_digest
from .gcloud import Command
from .names import Names
from .present import Present
from .revisions_present import CANDIDATE, SETTINGS, SOURCE, Deployed, deployed
from .run_settings import Settings, present_settings, setting_flags, wanted_settings
from .service_files import Service
from .sources import Source

_TENSORFLOW_MEMORY = "4Gi"
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True, slots=True)
class Origin:
    """An environment whose images run elsewhere.

    Attributes:
        name: Such as staging.
        services: What runs there, by service.
    """

    name: str
    services: Mapping[str, Deployed]


def release_changes(
    names: Names, present: Present, sources: Mapping[str, Source], origin: Origin | None, percent: int
) -> Iterator[Change]:
    """Yield a change for each function whose code, settings or traffic differ.

    Args:
        names: Of the environment.
        present: The project.
        sources: What would be uploaded, by function; those that are not released are left out.
        origin: Where the images come from; None: they are built here.
        percent: Of the traffic, that new revisions are to get.

    Raises:
        ConfigurationError: The other environment does not run what would be released.
    """
    there = present.named_services()
    problems: list[str] = []
    for service in names.services:
        if service.function in sources:
            found = there.get(service.service)
            now = deployed(found) if found else None
            release = _Release(names, service, sources[service.function], origin, percent)
            image = release.image(now, problems)
            change = None if image is None else release.change(now, present_settings(found) if found else None, image)
            if change:
                yield change
    if problems:
        raise ConfigurationError(problems)


class _Release:
    def __init__(self, names: Names, service: Service, source: Source, origin: Origin | None, percent: int) -> None:
        self._percent = percent
        self._names, self._service, self._source, self._origin = names, service, source, origin
        if source.tensorflow:
            memory = names.environment.memory.get(service.function, service.memory)
            service = replace(service, memory=max(memory, _TENSORFLOW_MEMORY, key=_bytes))
            names = replace(names, environment=replace(names.environment, memory={}))
        self._settings = wanted_settings(names, service)

    def image(self, now: Deployed | None, problems: list[str]) -> str | None:
        """Return the image to run, "" for one still to be built; None, with the problem noted, if there is none."""
        if self._origin is None:
            return (
                _by_digest(now.image) if now and now.source == self._source.digest and now.latest == now.created else ""
            )
        there, name = self._origin.services.get(self._service.service), self._service.service
        if there is None or there.source != self._source.digest:
            runs = f"runs {there.source or 'what something else deployed'}" if there else "runs none"
            problems.append(
                f"{name}: expected an image of this code, {self._source.digest}, in {self._origin.name}, which {runs}: "
                f"./deploy.sh {self._origin.name} first; PYTHON_RUNTIME and the models have to be the same there"
            )
            return None
        if there.created != there.latest or not there.is_released:
            problems.append(f"{name}: expected its newest revision to be released in {self._origin.name} first")
            return None
        return _by_digest(there.image)

    def change(self, now: Deployed | None, present: Settings | None, image: str) -> Change | None:
        """Return the change that releases the function; None if all is as it is to be."""
        after = {"source": self._source.digest, **self._settings}
        # A service none of whose revisions was ever ready takes no candidate beside them.
        steps = (self._command(image, is_new=now is None or not now.latest),)
        if now is None or present is None:
            return self._change("create", "", after, ("source", "memory", "concurrency"), steps)
        before = {"source": now.source or "another's", **present}
        differing = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        if now.created != now.latest:
            before["revision"], after["revision"] = f"{now.created} is not ready", "a new one"
            differing.append("revision")
        if differing:
            by_hand = now.settings == settings_digest(self._settings) and present != self._settings
            return self._change("drift" if by_hand else "change", _text(before, differing), after, differing, steps)
        return self._traffic_change(now)

    def _change(
        self, kind: Kind, before: str, after: Settings, names: Sequence[str], steps: tuple[Command, ...]
    ) -> Change:
        needing = self._source.tensorflow
        note = f", with TensorFlow for {', '.join(needing)}" if needing else ""
        what, becomes = f"function {self._service.service}", _text(after, names) + note
        return Change(kind, what, before, becomes, steps, self._service.function, self._digests)

    def _traffic_change(self, now: Deployed) -> Change | None:
        wanted = now.split(self._percent)
        if now.is_released or (len(wanted) > 1 and now.is_split(wanted)):
            return None
        before, asked, after = (_text(_percent(each), list(each)) for each in (now.traffic, now.asked, wanted))
        if now.traffic == {now.latest: 100} and not now.is_tried:
            before += ", not tried"
        elif now.asked != now.traffic:
            before += f", asked for {asked}"
        what = f"traffic of {self._service.service}"
        return Change("change", what, before, after, (), self._service.function, self._digests)

    @property
    def _digests(self) -> tuple[str, str]:
        return self._source.digest, settings_digest(self._settings)

    def _command(self, image: str, *, is_new: bool) -> Command:
        service, of = self._service, self._names.environment
        labels = {
            **{"managed-by": "nightshift", "environment": of.name},
            **{SOURCE: self._source.digest, SETTINGS: settings_digest(self._settings)},
        }
        built = (f"--image={image}",) if image else self._build_flags()
        return (
            *("run", "deploy", service.service, f"--region={of.region}", *built, f"--base-image={of.python_runtime}"),
            *setting_flags(self._settings),
            "--labels=" + ",".join(f"{name}={value}" for name, value in labels.items()),
            # The first revision of all gets the traffic whatever is said, and nobody may call it yet. Later that flag
            # would put out those whom INVOKERS_ lets in.
            *(("--no-allow-unauthenticated",) if is_new else ("--no-traffic", f"--tag={CANDIDATE}")),
            "--format=none",
        )

    def _build_flags(self) -> Command:
        names, service = self._names, self._service
        builder = f"projects/{names.project}/serviceAccounts/{names.account('build')}"
        return (
            *(f"--source={self._source.folder}", f"--function={service.function}"),
            *(f"--image={names.image(service.service)}", f"--build-service-account={builder}"),
        )


def _text(values: Mapping[str, str], names: Sequence[str]) -> str:
    return ", ".join(f"{name} {values.get(name, 'unset')}" for name in names) or "none"


def _percent(traffic: Mapping[str, int]) -> dict[str, str]:
    return {name: f"{percent} %" for name, percent in traffic.items()}


def _by_digest(image: str) -> str:
    """Return an image's name without its tag, which may come to mean another."""
    return re.sub(r":[^:/@]+@", "@", image)


def _bytes(memory: str) -> int:
    found = re.fullmatch(r"([0-9]+)([A-Za-z]*)", memory)
    return int(found[1]) * _UNITS.get(found[2], 1) if found else 0
