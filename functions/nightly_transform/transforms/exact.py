"""Sums of floats that do not depend on order: exact while they grow, rounded once at the end.

A double is a whole number times a power of two, never finer than 2**-1074, so a sum counted in that unit is an
integer and integers add exactly.
"""

_UNIT_BITS = 1074


def exact(value: float) -> int:
    """Return a finite number as a whole count of 2**-1074."""
    numerator, denominator = value.as_integer_ratio()
    return numerator << (_UNIT_BITS + 1 - denominator.bit_length())


def mean(total: int, count: int) -> float:
    """Return the double nearest to an exact total divided by a count."""
    # Division of integers rounds correctly once; the unit is far below what a double can hold by itself.
    return total / (count << _UNIT_BITS)
