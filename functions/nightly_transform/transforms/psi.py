"""Population stability index: how far two distributions over the same bins lie apart.

PSI = sum over bins of (a - e) * ln(a / e), where e and a are the shares of the expected and the actual counts. By
convention below 0.1 is stable, up to 0.25 a moderate shift and above it a significant one (N. Siddiqi, Credit Risk
Scorecards, Wiley 2006). Without any shift PSI behaves like chi-squared with bins - 1 degrees of freedom, times
1/n + 1/m (B. Yurdakul and J. Naranjo, Statistical properties of the population stability index, Journal of Risk Model
Validation 14(4), 2020): of few predictions it is large by chance, and then it is not worked out at all.
"""

import math
from collections.abc import Mapping, Sequence

from .histograms import edge_of

# Added to every count, so that a bin which is empty on one side gives a large number and not an infinite one.
SMOOTHING = 0.5
_GROUPS = 10


def psi(expected: Sequence[int], actual: Sequence[int]) -> float:
    """Return the index of two lists of counts, bin by bin; bins that are empty in both do not count."""
    pairs = [(e + SMOOTHING, a + SMOOTHING) for e, a in zip(expected, actual, strict=True) if e or a]
    all_expected, all_actual = (math.fsum(side) for side in zip(*pairs, strict=True))
    shares = [(e / all_expected, a / all_actual) for e, a in pairs]
    return math.fsum((a - e) * math.log(a / e) for e, a in shares)


def enough(expected: Sequence[int], actual: Sequence[int], per_bin: int) -> bool:
    """Tell whether there are so many predictions that chance alone hardly ever looks like a shift.

    It takes `per_bin` a bin, of n * m / (n + m): with the 20 that are usual, an index of 0.1 is reached by chance on
    fewer than one day in twenty.
    """
    n, m = sum(expected), sum(actual)
    bins = sum(1 for e, a in zip(expected, actual, strict=True) if e or a)
    return n * m > 0 and n * m / (n + m) >= per_bin * bins


def by_name(expected: Mapping[str, int], actual: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Return the counts of every name that either has."""
    names = sorted(expected.keys() | actual.keys())
    return [expected.get(name, 0) for name in names], [actual.get(name, 0) for name in names]


def by_decile(expected: Mapping[str, int], actual: Mapping[str, int]) -> tuple[list[int], list[int]]:
    """Return the counts of two histograms in about ten groups, equal in what was expected; the outer ones are open."""
    total = sum(expected.values())
    groups: tuple[list[int], list[int]] = ([0] * _GROUPS, [0] * _GROUPS)
    before = 0
    for name in sorted(expected.keys() | actual.keys(), key=edge_of):
        group = min(before * _GROUPS // max(total, 1), _GROUPS - 1)
        groups[0][group] += expected.get(name, 0)
        groups[1][group] += actual.get(name, 0)
        before += expected.get(name, 0)
    return groups
