"""Fixed bins, the same every day and everywhere, so that counts of any slices and any days add up exactly.

A bin is named by its lower edge, which it includes, as Python writes that number: "0.9" counts scores from 0.9 up to
the next edge, 0.95. The lowest bin has no edge and is named "-inf".

Scores: tenths of 0 to 1, and the last tenth cut at 0.95 and 0.99, since that is where most top scores of a good
classifier lie.
Values: eight bins of equal width between each power of two and the next, either sign, from 2**-64 to 2**64; what is
nearer to zero is one bin, what is further away one on each side. So a bin is at most an eighth of its values wide.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

SCORE_EDGES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_MAGNITUDES = [2.0**power * (1 + eighth / 8) for power in range(-64, 64) for eighth in range(8)] + [2.0**64]
VALUE_EDGES = tuple([-edge for edge in reversed(_MAGNITUDES)] + _MAGNITUDES)

_LOWEST = "-inf"


def bins_of(edges: Sequence[float], numbers: Iterable[float]) -> Counter[int]:
    """Count numbers by the index of their bin: how many edges are not above them."""
    return Counter(map(bisect_right, repeat(edges), numbers))


def named(edges: Sequence[float], bins: Mapping[int, int]) -> dict[str, int]:
    """Return counts by lower edge, in order; empty bins are left out."""
    return {repr(edges[index - 1]) if index else _LOWEST: bins[index] for index in sorted(bins) if bins[index]}


def edge_of(name: str) -> float:
    """Return the lower edge that a bin's name says; sorting names by it puts them in order.

    Raises:
        ValueError: It is no bin's name.
    """
    return float(name)
