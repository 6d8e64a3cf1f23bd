"""What a model answers on the data that it was trained on: what later days are held to by the job `drift`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Those of the job daily_summary, which a test holds them to: a bin is named by its lower edge.
SCORE_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def describe_predictions(classes: NDArray[Any], scores: NDArray[Any]) -> dict[str, dict[str, int]]:
    """Return how many predictions there are of each class, and how many of them are how sure.

    Args:
        classes: The predicted class of each row, `(n,)`.
        scores: The scores of all classes, `(n, classes)`, of which the largest counts.

    Returns:
        `{"classes": {name: count}, "top_scores": {lower edge of the bin: count}}`.
    """
    names, counts = np.unique(classes.astype(str), return_counts=True)
    lower_edges = ["-inf", *map(repr, SCORE_EDGES)]
    bins = np.digitize(scores.max(axis=-1), SCORE_EDGES)
    return {
        "classes": {str(name): int(count) for name, count in zip(names, counts, strict=True)},
        "top_scores": {lower_edges[index]: int((bins == index).sum()) for index in np.unique(bins)},
    }
