"""Which revision of a service is there, which answers, and what it was made of."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .present import Resource

SOURCE, SETTINGS = "nightshift-source", "nightshift-settings"
_WHOLE = 100
# Tags: what is tried, what was tried and found good, and what was that before.
LATEST = "whatever is newest"
CANDIDATE, LIVE, PREVIOUS = "candidate", "live", "previous"


@dataclass(frozen=True, slots=True)
class Deployed:
    """A service as it runs.

    Attributes:
        latest: The newest revision that is ready.
        created: The newest revision there is.
        traffic: Percent by revision; those with some.
        asked: The same as it is asked for; by LATEST what goes to whatever is newest.
        tags: Revision by tag.
        tag_urls: URL by tag.
        url: Where it answers.
        source: The digest of what its newest revision was built from; empty if somebody else deployed it.
        settings: The digest of the settings it was deployed with.
        image: What its newest revision runs.
    """

    latest: str
    created: str
    traffic: dict[str, int]
    asked: dict[str, int]
    tags: dict[str, str]
    tag_urls: dict[str, str]
    url: str
    source: str
    settings: str
    image: str

    @property
    def is_released(self) -> bool:
        """Whether the newest revision was tried and found good, and gets all of the traffic."""
        return self.is_split({self.latest: 100}) and self.is_tried

    @property
    def is_tried(self) -> bool:
        """Whether the newest revision was found good."""
        return self.tags.get(LIVE) == self.latest

    def is_split(self, wanted: Mapping[str, int]) -> bool:
        """Say whether the traffic is split so, and stays so whatever is deployed."""
        return self.traffic == self.asked == wanted

    def split(self, percent: int) -> dict[str, int]:
        """Return the traffic that gives the newest revision a share, and the rest to the one before it."""
        former = self.former if percent < _WHOLE else None
        return {self.latest: percent, former: _WHOLE - percent} if former else {self.latest: _WHOLE}

    @property
    def former(self) -> str | None:
        """Beside the newest, the revision with most of the traffic: the one to go back to."""
        others = {name: percent for name, percent in self.traffic.items() if name != self.latest}
        return max(others, key=lambda name: others[name], default=None)


def deployed(there: Resource) -> Deployed:
    """Return a service of `gcloud run services list` as far as releases are concerned."""
    status, labels = there.get("status", {}), there["spec"]["template"]["metadata"].get("labels", {})
    latest, traffic = status.get("latestReadyRevisionName", ""), status.get("traffic", [])
    tagged = [target for target in traffic if target.get("tag")]
    return Deployed(
        latest=latest,
        created=status.get("latestCreatedRevisionName", latest),
        traffic=_percents(traffic, latest),
        asked=_percents(there["spec"].get("traffic", []), LATEST),
        tags={target["tag"]: target.get("revisionName") or latest for target in tagged},
        tag_urls={target["tag"]: target.get("url", "") for target in tagged},
        url=status.get("url", ""),
        source=labels.get(SOURCE, ""),
        settings=labels.get(SETTINGS, ""),
        image=there["spec"]["template"]["spec"]["containers"][0]["image"],
    )


def _percents(targets: Iterable[Resource], otherwise: str) -> dict[str, int]:
    """Return the percent by revision; of those that name none by what stands for them."""
    found: dict[str, int] = {}
    for target in targets:
        if target.get("percent"):
            name = target.get("revisionName") or otherwise
            found[name] = found.get(name, 0) + target["percent"]
    return found
