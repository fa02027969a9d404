"""Classes or numbers: the rule, and the tables of the playground that follow it."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fastnn.play.table import make_table
from fastnn.system.targets import are_numbers, suggest_task

CLASSES, NUMBERS = "classification", "regression"
CASES = {
    "booleans": ([True, False], CLASSES),
    "integers": ([1, 2, 3], CLASSES),
    "negative integers": ([-1, 0, 1], CLASSES),
    "whole floats": ([0.0, 1.0, 2.0], CLASSES),
    "ten integers": (list(range(10)), CLASSES),
    "eleven integers": (list(range(11)), NUMBERS),
    "two floats": ([0.5, 1.5], NUMBERS),
    "many floats": ((np.arange(30) / 7).tolist(), NUMBERS),
    "whole decimals": ([Decimal("1"), Decimal("2.00")], CLASSES),
    "decimals": ([Decimal("9.99"), Decimal("19.99")], NUMBERS),
    "decimals of many digits": ([Decimal("1" * 36), Decimal("1" * 35 + "2")], CLASSES),
    "large integers": ([2**80, 2**80 + 1], CLASSES),
    "text": (["a", "b"], CLASSES),
    "text and integers": (["a", 1], CLASSES),
    "few numbers as text": (["0.5", "1.5"], CLASSES),
    "many numbers as text": ([f"{k}.5" for k in range(11)], NUMBERS),
    "mostly numbers as text": ([*map(str, range(80)), *"abcdefghijklmnopqrst"], NUMBERS),
    "fewer numbers as text": ([*map(str, range(79)), *"abcdefghijklmnopqrst"], CLASSES),
    "digits and underscores": ([f"1_{k:03}" for k in range(20)], CLASSES),
    "the text nan": (["nan"] * 3 + [f"n{k}" for k in range(8)], CLASSES),
    "fractions": ([Fraction(1, 2), Fraction(3, 2)], NUMBERS),
    "whole fractions": ([Fraction(2), Fraction(4)], CLASSES),
    "infinity": ([1.0, np.inf], NUMBERS),
    "durations": ([np.timedelta64(1, "D"), np.timedelta64(2, "D")], CLASSES),
}


def as_objects(values):
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects


@pytest.mark.parametrize("name", CASES)
def test_the_values_of_a_target_suggest_its_task(name):
    distinct, task = CASES[name]
    assert suggest_task(as_objects(distinct)) == task
    array = np.array(distinct)
    if array.dtype.kind in "biufU":
        assert suggest_task(array) == task


def test_booleans_and_text_are_not_numbers():
    assert are_numbers(np.arange(3))
    assert are_numbers(as_objects([1, 2.5, Decimal(3)]))
    for values in (np.array([True, False]), as_objects([1, True]), as_objects(["1", 2]), np.array(["1"])):
        assert not are_numbers(values)


def test_numbers_of_a_table_may_be_objects_and_text_among_them_is_named():
    X = np.random.RandomState(0).randn(30, 2)
    table = make_table(X, [None if k == 3 else k % 11 for k in range(30)])
    assert (table.kind, table.y.dtype, len(table.y)) == ("regression", np.float64, 29)
    table = make_table(X, [None if k == 3 else k % 4 * 5.0 for k in range(30)])
    assert table.classes == ["0", "5", "10", "15"]
    y = [str(k / 2) for k in range(30)]
    np.testing.assert_array_equal(make_table(X, y).y, np.arange(30) / 2)
    for target, message in (
        ([*y[:-1], "x"], "target 'y' holds 'x' among numbers: correct it"),
        ([*y[:-1], "nan"], "target 'y' holds 'nan' among numbers: correct it"),
        ([*y[:-1], "inf"], "'y' holds infinity"),
        ([*range(29), 10**400], "'y': int too large"),
    ):
        with pytest.raises(ValueError, match=message):
            make_table(X, target)
