"""Sums of floats that do not depend on order: exact while they grow, rounded once at the end.

A double is a whole number times a power of two, never finer than 2**-1074, so a sum counted in that unit is an
integer and integers add exactly.
"""

import math
from collections.abc import Sequence
from itertools import chain

_UNIT_BITS = 1074


def exact(value: float) -> int:
    """Return a finite number as a whole count of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_UNIT_BITS + 1 - denominator.bit_length())


def exact_sum(numbers: Sequence[float]) -> int:
    """Return the sum of finite doubles as a whole count of 2**-1074."""
    # fsum adds exactly and rounds once. What it rounded off is the sum of the numbers less what it returned, and so
    # on until nothing is left: a few passes in C instead of an integer for every number.
    taken: list[float] = []
    try:
        while part := math.fsum(chain(numbers, taken)):
            taken.append(-part)
    except OverflowError:
        return sum(map(exact, numbers))
    return -sum(map(exact, taken))


def mean(total: int, count: int) -> float:
    """Return the double nearest to an exact total divided by a count."""
    # Division of integers rounds correctly once; the unit is far below what a double can hold by itself.
    return total / (count << _UNIT_BITS)
