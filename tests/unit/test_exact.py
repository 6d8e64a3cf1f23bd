"""Exact sums: any order, any split, one rounding."""

import random
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.nightly_transform.transforms.exact import exact, exact_sum, mean

finite = st.floats(allow_nan=False, allow_infinity=False)
extremes = st.sampled_from([1e300, -1e300, 1e-300, 0.1, -0.1, 5e-324, -5e-324, 1.7976931348623157e308, 0.0, -0.0, 3])


@settings(max_examples=300, deadline=None, database=None)
@given(numbers=st.lists(finite | extremes, min_size=1, max_size=40), seed=st.integers())
def test_a_mean_is_the_double_nearest_to_the_true_one(numbers, seed):
    """However the numbers are ordered, the mean is the exact fraction rounded once."""
    shuffled = random.Random(seed).sample(numbers, len(numbers))

    result = mean(exact_sum(shuffled), len(shuffled))

    assert result == float(sum(map(Fraction, numbers)) / len(numbers))


@settings(max_examples=300, deadline=None, database=None)
@given(numbers=st.lists(finite | extremes, max_size=40), cut=st.integers(0, 40))
def test_a_sum_is_that_of_its_parts(numbers, cut):
    """Sums of any two halves add up to the sum of all, to the last digit, and both to the true one."""
    whole = exact_sum(numbers)

    assert whole == exact_sum(numbers[:cut]) + exact_sum(numbers[cut:])
    assert Fraction(whole, 1 << 1074) == sum(map(Fraction, numbers))


@settings(max_examples=100, deadline=None, database=None)
@given(number=finite | extremes | st.integers(-(2**70), 2**70))
def test_one_number_is_kept_exactly(number):
    """The unit is fine enough for every double."""
    assert Fraction(exact(number), 1 << 1074) == Fraction(number)


@pytest.mark.parametrize(
    "numbers", [[1e300, 1e-300, -1e300], [0.1] * 10, [5e-324] * 3, [1.7976931348623157e308] * 1000]
)
def test_sums_that_floats_get_wrong_come_out_right(numbers):
    """Where adding doubles loses or overflows, the integers do not."""
    assert mean(exact_sum(numbers), len(numbers)) == float(sum(map(Fraction, numbers)) / len(numbers))
