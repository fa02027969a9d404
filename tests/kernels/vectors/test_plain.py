"""Formulas on plain numbers: a fused product is rounded once, whatever NumPy's widest format."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastnn_kernels.vectors.plain import fuse

MIDDLE = st.floats(-1e140, 1e140, allow_subnormal=False).filter(lambda x: x == 0 or abs(x) > 1e-140)


def exact(x, y, z):
    return float(Fraction(x) * Fraction(y) + Fraction(z))  # division of integers is rounded correctly


@given(MIDDLE, MIDDLE, MIDDLE)
@example(1 + 2.0**-52, 1 + 2.0**-52, -1 - 2.0**-51)
@example(1 + 2.0**-27, 1 + 2.0**-27, 2.0**-54 + 2.0**-106)
@example(1 - 2.0**-53, 2.0**-53, 2.0**53)  # a term far below the last place decides
@example(-(2.0**-106), 3.0, 1 + 2.0**-52)
@example(2.0**-53, 1 + 2.0**-52, 1.0)  # a format of 64 bits rounds the sum to a tie
def test_fused_products_are_rounded_once(x, y, z):
    for addend in (z, -x * y, np.nextafter(-x * y, z)):
        assert fuse(np.array([x]), np.float64(y), np.float64(addend))[0] == exact(x, y, addend)


singles = st.floats(-(2.0**60), 2.0**60, width=32, allow_subnormal=False)


@given(singles, singles, singles)
@example(2.0**-24, 1 + 2.0**-23, 1.0)
def test_the_nearest_number_of_float32_is_found(x, y, z):
    result = fuse(np.array([x], np.float32), np.float32(y), np.float32(z))
    assert result.dtype == np.float32
    truth = Fraction(x) * Fraction(y) + Fraction(z)
    neighbours = [np.nextafter(result, np.float32(end)) for end in (-np.inf, np.inf)]
    distances = [abs(truth - Fraction(float(number[0]))) for number in (result, *neighbours)]
    assert distances[0] == min(distances)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_numbers_that_are_not_finite_follow_the_rules(dtype):
    inf, nan, big = dtype(np.inf), dtype(np.nan), np.finfo(dtype).max
    with np.errstate(all="ignore"):
        for x, y, z in [
            (inf, 1, 1),
            (inf, 1, -inf),
            (0, inf, 1),
            (nan, 1, 1),
            (big, 2, 0),
            (big, 1, 0),
            (1, big, -big),
        ]:
            expected = dtype(x) * dtype(y) + dtype(z)
            np.testing.assert_equal(fuse(np.array([x], dtype), dtype(y), dtype(z))[0], expected)
