"""Classes or numbers: the rule, and the command line and the playground that follow it."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from extras import optional

from fastnn.play.table import checked_table
from fastnn.system.targets import are_numbers, suggested_task
from fastnn.tables.commands.problem import posed_problem
from fastnn.tables.commands.reading import ReadTable

pd = optional("pandas")

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
}


def as_objects(values):
    objects = np.empty(len(values), object)
    objects[:] = values
    return objects


@pytest.mark.parametrize(("distinct", "task"), CASES.values(), ids=CASES)
def test_the_values_of_a_target_suggest_its_task(distinct, task):
    assert suggested_task(as_objects(distinct)) == task
    array = np.array(distinct)
    if array.dtype.kind in "biufU":
        assert suggested_task(array) == task


@pytest.mark.parametrize(
    ("distinct", "task"),
    [
        ([*map(str, range(80)), *"abcdefghijklmnopqrst"], NUMBERS),
        ([*map(str, range(79)), *"abcdefghijklmnopqrst"], CLASSES),
        ([f"1_{k:03}" for k in range(20)], CLASSES),
        (["nan"] * 3 + [f"n{k}" for k in range(8)], CLASSES),
        ([Fraction(1, 2), Fraction(3, 2)], NUMBERS),
        ([Fraction(2), Fraction(4)], CLASSES),
        ([1.0, np.inf], NUMBERS),
        ([np.timedelta64(1, "D"), np.timedelta64(2, "D")], CLASSES),
    ],
)
def test_mixtures_and_rare_types_suggest_a_task(distinct, task):
    assert suggested_task(as_objects(distinct)) == task


def test_truth_values_and_text_are_no_numbers():
    assert are_numbers(np.arange(3))
    assert are_numbers(as_objects([1, 2.5, Decimal(3)]))
    assert not are_numbers(np.array([True, False]))
    assert not are_numbers(as_objects([1, True]))
    assert not are_numbers(as_objects(["1", 2]))
    assert not are_numbers(np.array(["1", "2"]))


@pytest.mark.needs("pandas")
@pytest.mark.parametrize("with_gaps", [False, True], ids=["whole", "missing"])
@pytest.mark.parametrize(("distinct", "task"), CASES.values(), ids=CASES)
def test_the_command_line_and_the_playground_take_a_target_alike(distinct, task, with_gaps):
    values = [*distinct, *distinct, *([None] * with_gaps)]
    X = np.random.RandomState(0).randn(len(values), 2)
    expected = {CLASSES: "classes", NUMBERS: NUMBERS}[task]
    assert checked_table(X, as_objects(values)).kind == expected
    dtypes = [object]
    if all(isinstance(value, int) and not isinstance(value, bool) and value < 2**63 for value in distinct):
        dtypes.append("Int64")
    if all(isinstance(value, float) for value in distinct):
        dtypes += ["Float64", np.float64]
    for dtype in dtypes:
        target = pd.Series(values, dtype=dtype, name="y")
        assert checked_table(X, target).kind == expected
        frame = pd.DataFrame(X, columns=["a", "b"]).assign(y=target)
        assert posed_problem(ReadTable(frame, "table"), "y", None, (), None).task == task


def test_numbers_that_are_objects_are_those_of_an_array():
    X = np.random.RandomState(0).randn(30, 2)
    y = [None if k == 3 else k % 11 for k in range(30)]
    table = checked_table(X, y)
    assert (table.kind, table.y.dtype, table.n_rows) == ("regression", np.float64, 29)
    assert checked_table(X, [None if k == 3 else k % 4 * 5.0 for k in range(30)]).classes == list(
        map(str, [0, 5, 10, 15])
    )


def test_text_among_numbers_is_named():
    X = np.random.RandomState(0).randn(30, 2)
    y = [str(k / 2) for k in range(30)]
    np.testing.assert_array_equal(checked_table(X, y).y, np.arange(30) / 2)
    for text in ("x", "nan"):
        with pytest.raises(ValueError, match=f"target 'y' holds '{text}' among numbers: correct it"):
            checked_table(X, [*y[:-1], text])
    with pytest.raises(ValueError, match="'y' holds infinity"):
        checked_table(X, [*y[:-1], "inf"])
    with pytest.raises(ValueError, match="'y': int too large"):
        checked_table(X, [*range(29), 10**400])
