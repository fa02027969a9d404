"""Formulas on plain numbers: a fused product is rounded once, whatever NumPy's widest format."""

from fractions import Fraction

import numpy as np
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


def test_numbers_that_are_not_finite_follow_the_rules():
    inf, nan, big = np.inf, np.nan, np.finfo(np.float64).max
    infinite = [(inf, 1, 1), (inf, 1, -inf), (0, inf, 1), (nan, 1, 1)]
    with np.errstate(all="ignore"):
        for x, y, z in [*infinite, (big, 2, 0), (big, 1, 0), (1, big, -big)]:
            expected = np.float64(x) * y + z
            np.testing.assert_equal(fuse(np.array([x]), np.float64(y), np.float64(z))[0], expected)
