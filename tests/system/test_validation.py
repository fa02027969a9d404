"""Checks of arguments over their whole range; `test_model_inputs.py` tests the messages that users read."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastnn.system.validation import FEW_VALUES, MANY_VALUES, MIN_NORMAL, all_finite, check_number

RANGES = [(0.0, most, ends) for most in (math.inf, 1.0) for ends in ({}, {"exclusive_start": True})]
RANGES += [(0.0, 1.0, {"exclusive_end": True}), (0.0, 1.0, {"exclusive_start": True, "exclusive_end": True})]


@given(
    st.floats(allow_nan=False, allow_infinity=False) | st.floats(-0.5, 1.5) | st.integers(-(2**53), 2**53),
    st.sampled_from(RANGES),
)
def test_numbers_within_their_limits_are_accepted_and_others_refused(value, bounds):
    least, most, ends = bounds
    expected = 0.0 if 0 < value < MIN_NORMAL else value  # kernels flush subnormal numbers
    above = expected > least if "exclusive_start" in ends else expected >= least
    if above and (value < most if "exclusive_end" in ends else value <= most):
        number = check_number(value, "it", least, most, **ends)
        assert type(number) is float
        assert number == expected
    else:
        with pytest.raises(ValueError, match="it must be a finite number"):
            check_number(value, "it", least, most, **ends)


@pytest.mark.parametrize("size", [5, FEW_VALUES, FEW_VALUES + 1, MANY_VALUES, MANY_VALUES + 1])
def test_all_finite_finds_one_bad_value_among_the_largest_floats(size, dtype):
    values = np.full(size, np.finfo(dtype).max)  # their sum is infinite
    assert all_finite(values)
    values[1::2] *= -1
    assert all_finite(values)
    for wrong in (np.nan, np.inf, -np.inf):
        for position in (0, size // 2, size - 1):
            broken = values.copy()
            broken[position] = wrong
            assert not all_finite(broken)
    broken[:2] = np.inf, -np.inf
    assert not all_finite(broken)
