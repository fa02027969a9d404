"""Classes or numbers: the rule, and the tables of the playground that follow it."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from fastnn.play.table import make_table
from fastnn.system.targets import are_numbers, suggest_task

# Distinct values of targets.
CLASSES = [[True, False], [1, 2, 3], [-1, 0, 1], [0.0, 1.0, 2.0], list(range(10)), [2**80, 2**80 + 1]]
CLASSES += [[Decimal("1"), Decimal("2.00")], [Decimal("1" * 36), Decimal("1" * 35 + "2")]]
CLASSES += [[Fraction(2), Fraction(4)], [np.timedelta64(1, "D"), np.timedelta64(2, "D")]]
CLASSES += [["a", "b"], ["a", 1], ["0.5", "1.5"], [f"1_{k:03}" for k in range(20)]]
CLASSES += [["nan"] * 3 + [f"n{k}" for k in range(8)], [*map(str, range(79)), *"abcdefghijklmnopqrst"]]
NUMBERS = [list(range(11)), [0.5, 1.5], (np.arange(30) / 7).tolist(), [1.0, np.inf]]
NUMBERS += [[Decimal("9.99"), Decimal("19.99")], [Fraction(1, 2), Fraction(3, 2)]]
NUMBERS += [[f"{k}.5" for k in range(11)], [*map(str, range(80)), *"abcdefghijklmnopqrst"]]
TASKS = [*((values, "classification") for values in CLASSES), *((values, "regression") for values in NUMBERS)]


def as_objects(values):
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects


@pytest.mark.parametrize(("distinct", "task"), TASKS)
def test_the_values_of_a_target_suggest_its_task(distinct, task):
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
