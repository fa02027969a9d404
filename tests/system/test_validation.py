"""Checks of arguments, rule by rule; `test_model_inputs.py` tests the messages that users read."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import name_of

from fastnn.losses import LOSSES, Huber, Loss
from fastnn.system.validation import (
    FEW_VALUES,
    MANY_VALUES,
    MIN_NORMAL,
    all_finite,
    check_choice,
    check_count,
    check_number,
    check_rate,
    check_targets,
    check_weights,
    resolve,
)

FLOAT64, FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)
BAD_VALUES = [None, "1", b"1", [1.0], np.ones(1), 1j, math.nan, math.inf, -math.inf, object(), True, np.True_]


RANGES = [
    (0.0, math.inf, {}),
    (0.0, math.inf, {"exclusive": True}),
    (0.0, 1.0, {}),
    (0.0, 1.0, {"exclusive": True}),
    (0.0, 1.0, {"exclusive_end": True}),
]


@given(
    st.floats(allow_nan=False, allow_infinity=False) | st.floats(-0.5, 1.5) | st.integers(-(2**53), 2**53),
    st.sampled_from(RANGES),
)
def test_numbers_within_their_limits_are_accepted_and_others_refused(value, bounds):
    least, most, ends = bounds
    expected = 0.0 if 0 < value < MIN_NORMAL else value  # kernels flush subnormal numbers
    above = expected > least if "exclusive" in ends else expected >= least
    if above and (value < most if ends else value <= most):
        number = check_number(value, "it", least, most, **ends)
        assert type(number) is float
        assert number == expected
    else:
        with pytest.raises(ValueError, match="it must be a finite number"):
            check_number(value, "it", least, most, **ends)


@pytest.mark.parametrize(
    "value", [10**400, -(10**400), Fraction(10**400)], ids=["large", "small", "fraction"]
)
def test_numbers_too_large_for_a_float_are_refused(value):
    for check in (check_rate, lambda *arguments: check_number(*arguments, 0.0)):
        with pytest.raises(ValueError, match="it must be a finite number of at least 0, got"):
            check(value, "it")


@pytest.mark.parametrize("value", BAD_VALUES, ids=name_of)
def test_values_that_are_not_finite_numbers_are_refused(value):
    with pytest.raises(ValueError, match="it must be a finite number above 0 and below 1, got"):
        check_number(value, "it", 0.0, 1.0, exclusive=True)


@pytest.mark.parametrize("number", [np.float32(0.5), np.float64(0.5), np.int8(1), Fraction(1, 2)])
def test_numbers_may_have_other_types_than_float(number):
    assert check_number(number, "it", 0.0) == check_rate(number, "it") == float(number)


@pytest.mark.parametrize("value", [None, "1", 1.0, -1, 2**63, [1], np.ones(1, int), math.nan], ids=name_of)
def test_values_that_are_not_counts_are_refused(value):
    limits = r"below 2\*\*63" if isinstance(value, int) and value > 0 else "of at least 0"
    with pytest.raises(ValueError, match=f"it must be an integer {limits}, got"):
        check_count(value, "it")


@pytest.mark.parametrize("value", [3, np.int8(3), np.uint64(3)])
def test_counts_may_have_other_types_than_int(value):
    assert type(check_count(value, "it", 3)) is int
    with pytest.raises(ValueError, match="it must be an integer of at least 4"):
        check_count(value, "it", 4)


@pytest.mark.parametrize("value", [None, "c", ["a"], 1, b"a"], ids=name_of)
def test_values_that_are_not_choices_are_refused(value):
    with pytest.raises(ValueError, match=r"it must be one of \['a', 'b'\], got"):
        check_choice(value, "it", ("b", "a"))


@pytest.mark.parametrize("dtype", [FLOAT64, FLOAT32])
@pytest.mark.parametrize(
    "y", [np.arange(6).reshape(3, 2), np.arange(6.0).reshape(2, 3).T, [[0, 1], [2, 3], [4, 5]]], ids=name_of
)
def test_targets_become_a_contiguous_table_of_the_models_dtype(y, dtype):
    table = check_targets(y, 3, 2, dtype)
    assert table.dtype == dtype
    assert table.flags.c_contiguous
    assert table.flags.aligned
    np.testing.assert_array_equal(table, y)


def test_targets_at_their_bounds_are_accepted_and_beyond_refused():
    table = check_targets([[0.0, 1.0]], 1, 2, FLOAT64, (0.0, 1.0))
    np.testing.assert_array_equal(table, [[0.0, 1.0]])
    with pytest.raises(ValueError, match=r"it\[0, 1\] is 1.1, but this loss takes targets from 0 to 1"):
        check_targets([[0.0, 1.1]], 1, 2, FLOAT64, (0.0, 1.0), "it")
    with pytest.raises(ValueError, match=r"it\[0, 0\] is -0.1, but this loss takes targets of at least 0"):
        check_targets([[-0.1, 1.1]], 1, 2, FLOAT64, (0.0, None), "it")


@pytest.mark.parametrize("y", [[1, 2, 3], (1.0, 2.0, 3.0), np.arange(1, 4), [[1], [2], [3]]], ids=name_of)
def test_targets_of_one_output_become_a_column(y):
    np.testing.assert_array_equal(check_targets(y, 3, 1, FLOAT64), [[1], [2], [3]])


def test_weights_become_a_new_float64_array():
    np.testing.assert_array_equal(check_weights(None, 3), np.ones(3))
    for given_weights in ([0, 1, 2], np.array([0, 1, 2], np.float16), (False, True, 2.0)):
        weights = check_weights(given_weights, 3)
        assert weights.dtype == np.float64
        np.testing.assert_array_equal(weights, [0, 1, 2])
    ones = np.ones(3)
    check_weights(ones, 3)[0] = 5
    assert ones[0] == 1, "the caller's array must not change"


def test_resolve_accepts_objects_and_their_names():
    assert resolve("huber", "it", Loss, LOSSES) == Huber()
    loss = Huber(0.5)
    assert resolve(loss, "it", Loss, LOSSES) is loss
    for wrong in (None, 1, "Huber", ["huber"], int):
        with pytest.raises(ValueError, match="it must be one of .* or an object such as fastnn."):
            resolve(wrong, "it", Loss, LOSSES)


def test_weights_with_too_small_or_too_large_a_sum_are_refused():
    for value, total in ((1e-310, "3e-310"), (1e30, "3e\\+30"), (1e308, "inf")):
        message = (
            f"sample_weight has the sum {total}, but it must be from 1e-300 to 1e.*: divide the weights by"
        )
        with pytest.raises(ValueError, match=message):
            check_weights([value] * 3, 3)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
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
