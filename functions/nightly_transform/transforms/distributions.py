"""How the predictions of model versions are distributed: as summaries count them, and as model.json says.

A model.json may hold what the model answers on the data that it was trained on, written there by its training:
`"training": {"predicted": {"classes": {name: count}, "top_scores": {lower edge: count}}}`, or for a model of values
`{"predicted": {"values": {lower edge: count}}}`; the bins are those of histograms.py.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.log import log_event
from shared.runs import Row

from .histograms import edge_of

# A model's name and version.
Key = tuple[str, str]
CLASSES, TOP_SCORES, VALUES = MEASURES = ("classes", "top_scores", "values")


@dataclass(slots=True)
class Distribution:
    """How predictions are distributed: counts by name, for each measure that there is."""

    predictions: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=lambda: {name: Counter() for name in MEASURES})

    def add(self, row: Mapping[str, Any]) -> None:
        """Add a row of a summary."""
        self.predictions += row["predictions"]
        for name, counts in self.counts.items():
            given = row.get(name, {})
            counts.update(given.get("histogram", {}) if name == VALUES else given)


def distributions_of(rows: Iterable[Row]) -> dict[Key, Distribution]:
    """Add up the rows of summaries by model version."""
    found: defaultdict[Key, Distribution] = defaultdict(Distribution)
    for row in rows:
        found[key_of(row)].add(row)
    return dict(found)


def key_of(row: Row) -> Key:
    """Return which model version a row is of."""
    return row["model"], row["version"]


def read_baselines(models_dir: Path) -> dict[Key, Distribution]:
    """Read what each model version answers on its training data; versions that do not say so are left out."""
    baselines = {}
    for path in sorted(models_dir.glob("*/*/model.json")):
        name, version = path.parent.parent.name, path.parent.name
        try:
            predicted = json.loads(path.read_text("utf-8")).get("training", {}).get("predicted")
            if predicted is not None:
                baselines[name, version] = _baseline(predicted)
        except (OSError, ValueError, AttributeError, TypeError):
            log_event("ERROR", f"{name}/{version}/model.json: cannot be read, or training.predicted holds no counts")
    return baselines


def _baseline(predicted: Mapping[str, Mapping[str, Any]]) -> Distribution:
    distribution = Distribution()
    for name in MEASURES:
        counts = predicted.get(name, {})
        if not all(type(count) is int and count >= 0 for count in counts.values()):
            raise ValueError(name)
        distribution.counts[name].update(counts)
    for name in distribution.counts[VALUES]:
        edge_of(name)
    distribution.predictions = max(counts.total() for counts in distribution.counts.values())
    return distribution
