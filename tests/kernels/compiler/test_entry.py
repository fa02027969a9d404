"""Calls of kernels from Python: arguments of every kind arrive, and unsuitable arguments are refused."""

import gc
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest

from fastnn_kernels.compiler.entry import FunctionPointer, PointerTable, PreparedCall
from fastnn_kernels.compiler.jit import kernel
from fastnn_kernels.compiler.kinds import (
    BOOL,
    FLOAT64,
    INT32,
    INT64,
    NONE,
    SCALARS,
    UINT64,
    Array,
    Struct,
    get_address,
    get_kinds,
)
from fastnn_kernels.compiler.pointer import call

REAL = get_kinds(np.dtype(np.float64))


class Pair(NamedTuple):
    first: Any
    second: Any


@kernel
def double(x):
    return 2 * x


@kernel
def add_everything(truth, flat, tiny, pair, small, large, count, lie, item, number, table, nothing):
    flat[0] += 1
    total = pair.first[0, 1] + pair.second[0] + pair.second[1][0]
    total += number + small + count + tiny + large + call(item, (number,)) + call(table[1], (number,))
    total += 1000 * flat.shape[0] + 100 * pair.first.shape[0] + 10 * pair.first.shape[1]
    return total if truth and not lie and nothing is None else -total


@kernel
def check(x, flat):
    if x < 0:
        raise ValueError("x is negative", 3)
    if x > 10:
        raise OverflowError
    flat[0] = x
    return x


@kernel
def increment(flat):
    flat[0] += 1


@kernel
def read(flat, k):
    return flat[k]


DOUBLE = FunctionPointer(double, None, {"x": FLOAT64}, FLOAT64)
TABLE = PointerTable([DOUBLE, DOUBLE])
READ = FunctionPointer(read, None, {"flat": REAL.flat, "k": INT64}, FLOAT64)
CHECK = FunctionPointer(check, None, {"x": INT64, "flat": REAL.flat}, INT64)
PAIR = {
    "first": Array(SCALARS["float32"], 2, readonly=True),
    "second": Struct(tuple, {"count": INT64, "flat": REAL.flat}),
}
# Kinds and values of the arguments of `add_everything`.
ARGUMENTS = {
    "truth": (BOOL, True),
    "flat": (REAL.flat, np.zeros(7)),
    "tiny": (SCALARS["int8"], -3),
    "pair": (
        Struct(Pair, PAIR),
        Pair(np.array([[1, 2], [3, 4], [5, 6]], np.float32), (10, np.array([20.0]))),
    ),
    "small": (INT64, -7),
    "large": (UINT64, 2**40),
    "count": (INT32, -(2**20)),
    "lie": (BOOL, False),
    "item": (DOUBLE.kind, DOUBLE),
    "number": (FLOAT64, 0.5),
    "table": (TABLE.kind, TABLE),
    "nothing": (NONE, None),
}
EXPECTED = 2 + 10 + 20 + 0.5 - 7 - (2**20) - 3 + 2**40 + 1.0 + 1.0 + 7000 + 300 + 20
EVERYTHING = FunctionPointer(
    add_everything, None, {name: kind for name, (kind, _) in ARGUMENTS.items()}, FLOAT64
)


def make_arguments(**others):
    values = {name: value for name, (_, value) in ARGUMENTS.items()}
    return values | {"flat": np.zeros(7)} | others


def test_arguments_of_every_kind_arrive():
    given = make_arguments()
    prepared = PreparedCall(EVERYTHING, **given)
    other = prepared.copy()
    assert EVERYTHING(*given.values()) == prepared() == EXPECTED
    assert given["flat"][0] == 2
    other.set(number=1.5)
    assert (prepared(), other()) == (EXPECTED, EXPECTED + 5)  # copies share arrays but not numbers
    assert given["flat"][0] == 4
    prepared.set(truth=np.True_, lie=True, flat=np.zeros(8))
    assert prepared() == -(EXPECTED + 1000)
    assert given["flat"][0] == 4
    for wrong in (list(given.values())[:-1], [*given.values(), 1]):
        with pytest.raises(TypeError, match=f"takes 12 arguments, got {len(wrong)}"):
            EVERYTHING(*wrong)
    with pytest.raises(TypeError, match="no argument other"):
        PreparedCall(EVERYTHING, **given, other=1)
    del given["number"], given["flat"]
    with pytest.raises(TypeError, match="missing arguments: flat, number"):
        PreparedCall(EVERYTHING, **given)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flat", np.zeros(7, np.float32)),
        ("flat", np.zeros((7, 1))),
        ("flat", np.zeros(14)[::2]),
        ("flat", np.frombuffer(bytearray(57), np.uint8)[1:].view(np.float64)),
        ("flat", np.frombuffer(bytes(56))),
        ("flat", [0.0] * 7),
        ("truth", 1),
        ("tiny", 128),
        ("tiny", True),
        ("tiny", 1.0),
        ("large", -1),
        ("count", 2**31),
        ("number", "0.5"),
        ("pair", (np.ones((1, 2), np.float32), (10, np.ones(1)))),
        ("pair", Pair(np.ones((1, 2), np.float32), (10, np.ones(1), 3))),
        ("pair", Pair(np.ones((1, 2)), (10, np.ones(1)))),
        ("item", TABLE),
        ("item", FunctionPointer(double, None, {"x": INT64}, INT64)),
        ("item", 0),
        ("nothing", 0),
    ],
)
def test_arguments_of_other_kinds_are_refused(name, value):
    prepared, given = PreparedCall(EVERYTHING, **make_arguments()), make_arguments(**{name: value})
    with pytest.raises(TypeError, match=name):
        prepared.set(**{name: value})
    assert prepared() == EXPECTED
    for refuse in (lambda: PreparedCall(EVERYTHING, **given), lambda: EVERYTHING(*given.values())):
        with pytest.raises(TypeError, match=f"{name}|add_everything.* got"):
            refuse()


def test_results_are_numbers_or_none():
    pointer = FunctionPointer(increment, None, {"flat": REAL.flat}, NONE)
    flat = np.zeros(3)
    assert pointer(flat) is None
    assert PreparedCall(pointer, flat=flat)() is None
    assert flat.tolist() == [2, 0, 0]
    pointer = FunctionPointer(double, None, {"x": SCALARS["float32"]}, SCALARS["float32"])
    for refuse in (lambda: PreparedCall(pointer, x=1.0), lambda: pointer(1.0)):
        with pytest.raises(TypeError, match="result of type float32"):
            refuse()
    for kind in (REAL.flat, Struct(tuple, {"flat": REAL.flat})):
        with pytest.raises(TypeError, match="let it fill an argument"):
            FunctionPointer(double, None, {"x": kind}, kind)


def test_exceptions_of_the_kernel_are_raised():
    flat = np.zeros(1)
    prepared = PreparedCall(CHECK, x=-1, flat=flat)
    for run in (prepared, prepared, lambda: CHECK(-1, flat)):
        with pytest.raises(ValueError, match="x is negative") as caught:
            run()
        assert caught.value.args == ("x is negative", 3)
    prepared.set(x=11)
    with pytest.raises(OverflowError):
        prepared()
    assert flat[0] == 0
    prepared.set(x=7)
    assert prepared() == 7 == flat[0]


def test_arrays_live_as_long_as_the_call():
    values = np.full(1000, 3.0)
    alive = weakref.ref(values)
    prepared = PreparedCall(READ, flat=values, k=9)
    del values
    other = prepared.copy()
    del prepared
    gc.collect()
    assert alive() is not None
    assert other() == 3.0
    other.set(flat=np.ones(1000))
    gc.collect()
    assert alive() is None
    assert other() == 1.0


MATRIX = np.arange(12.0).reshape(3, 4)


@pytest.mark.parametrize(
    "array",
    [
        MATRIX,
        MATRIX[1:],
        MATRIX.T,
        MATRIX[:, ::2],
        np.frombuffer(bytes(56)),
        np.frombuffer(bytearray(57), np.uint8)[1:].view(np.float64),
        np.empty((0, 7), np.float32),
        np.zeros((), np.int64),
    ],
)
def test_an_address_is_the_one_that_numpy_gives(array):
    assert get_address(array) == array.ctypes.data


def test_an_array_can_be_resized_after_its_address_was_read():
    """No view of the memory stays behind, which would keep it from being moved."""
    array = np.zeros(5)
    get_address(array)
    array.resize(100_000, refcheck=False)
    assert get_address(array) == array.ctypes.data
