"""Calls of kernels from Python: arguments of every kind arrive, and unsuitable arguments are refused."""

import gc
import threading
import time
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
    kinds_of,
)
from fastnn_kernels.compiler.pointer import call

REAL = kinds_of(np.dtype(np.float64))


class Pair(NamedTuple):
    first: Any
    second: Any


@kernel
def doubled(x):
    return 2 * x


@kernel
def everything(truth, flat, tiny, pair, small, large, count, lie, item, number, table, nothing):
    flat[0] += 1
    total = pair.first[0, 1] + pair.second[0] + pair.second[1][0]
    total += number + small + count + tiny + large + call(item, (number,)) + call(table[1], (number,))
    total += 1000 * flat.shape[0] + 100 * pair.first.shape[0] + 10 * pair.first.shape[1]
    return total if truth and not lie and nothing is None else -total


@kernel
def checked(x, flat):
    if x < 0:
        raise ValueError("x is negative", 3)
    if x > 10:
        raise OverflowError
    flat[0] = x
    return x


@kernel
def filled(flat):
    flat[0] += 1


@kernel
def first(flat, k):
    return flat[k]


@kernel
def meeting(read, flags):
    """Set the first flag and wait for the second, for many seconds; return the second.

    The compiler does not know the function `read`, and therefore calls it again and again.
    """
    flags[0] = 1
    for _ in range(10**10):
        if call(read, (flags, 1)) != 0:
            break
    return call(read, (flags, 1))


DOUBLED = FunctionPointer(doubled, None, {"x": FLOAT64}, FLOAT64)
TABLE = PointerTable([DOUBLED, DOUBLED])
PAIR = {
    "first": Array(SCALARS["float32"], 2, readonly=True),
    "second": Struct(tuple, {"count": INT64, "flat": REAL.flat}),
}
KINDS = {
    "truth": BOOL, "flat": REAL.flat, "tiny": SCALARS["int8"], "pair": Struct(Pair, PAIR), "small": INT64,
    "large": UINT64, "count": INT32, "lie": BOOL, "item": DOUBLED.kind, "number": FLOAT64,
    "table": TABLE.kind, "nothing": NONE,
}  # fmt: skip
EVERYTHING = FunctionPointer(everything, None, KINDS, FLOAT64)
CHECKED = FunctionPointer(checked, None, {"x": INT64, "flat": REAL.flat}, INT64)


def arguments():
    return {
        "truth": True,
        "flat": np.zeros(7),
        "tiny": -3,
        "pair": Pair(np.array([[1, 2], [3, 4], [5, 6]], np.float32), (10, np.array([20.0]))),
        "small": -7,
        "large": 2**40,
        "count": -(2**20),
        "lie": False,
        "item": DOUBLED,
        "number": 0.5,
        "table": TABLE,
        "nothing": None,
    }


EXPECTED = 2 + 10 + 20 + 0.5 - 7 - (2**20) - 3 + 2**40 + 1.0 + 1.0 + 7000 + 300 + 20


def test_arguments_of_every_type_arrive():
    given = arguments()
    prepared = PreparedCall(EVERYTHING, **given)
    assert prepared() == EXPECTED
    assert prepared() == EXPECTED
    assert given["flat"][0] == 2
    prepared.set(truth=False, number=1.5)
    assert prepared() == -(EXPECTED + 5)
    prepared.set(truth=np.True_, lie=True, flat=np.zeros(8))
    assert prepared() == -(EXPECTED + 5 + 1000)
    assert given["flat"][0] == 3


def test_copies_share_arrays_but_not_numbers():
    prepared = PreparedCall(EVERYTHING, **arguments())
    other = prepared.copy()
    other.set(number=1.5)
    assert (prepared(), other()) == (EXPECTED, EXPECTED + 5)
    assert other.arguments["flat"] is prepared.arguments["flat"]
    assert prepared.arguments["flat"][0] == 2


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
        ("item", FunctionPointer(doubled, None, {"x": INT64}, INT64)),
        ("item", 0),
        ("nothing", 0),
    ],
)
def test_arguments_of_other_types_are_refused(name, value):
    prepared = PreparedCall(EVERYTHING, **arguments())
    with pytest.raises(TypeError, match=name):
        prepared.set(**{name: value})
    assert prepared() == EXPECTED
    with pytest.raises(TypeError, match=name):
        PreparedCall(EVERYTHING, **arguments() | {name: value})


def test_missing_and_unknown_arguments_are_refused():
    given = arguments()
    del given["number"], given["flat"]
    with pytest.raises(TypeError, match="missing arguments: flat, number"):
        PreparedCall(EVERYTHING, **given)
    with pytest.raises(TypeError, match="no argument other"):
        PreparedCall(EVERYTHING, **arguments(), other=1)


def test_a_pointer_is_called_with_all_arguments_in_order():
    given = arguments()
    assert EVERYTHING(*given.values()) == EXPECTED
    assert EVERYTHING(*(given | {"truth": False}).values()) == -EXPECTED
    assert given["flat"][0] == 2
    for wrong in (list(given.values())[:-1], [*given.values(), 1]):
        with pytest.raises(TypeError, match=f"takes 12 arguments, got {len(wrong)}"):
            EVERYTHING(*wrong)
    with pytest.raises(TypeError, match="tiny|128"):
        EVERYTHING(*(given | {"tiny": 128}).values())
    flat = np.zeros(1)
    with pytest.raises(ValueError, match="x is negative"):
        CHECKED(-1, flat)
    assert CHECKED(7, flat) == 7 == flat[0]


def test_a_kernel_without_a_result_returns_none():
    pointer = FunctionPointer(filled, None, {"flat": REAL.flat}, NONE)
    flat = np.zeros(3)
    assert pointer(flat) is None
    assert PreparedCall(pointer, flat=flat)() is None
    assert flat.tolist() == [2, 0, 0]


def test_results_that_python_cannot_take_are_refused():
    pointer = FunctionPointer(doubled, None, {"x": SCALARS["float32"]}, SCALARS["float32"])
    with pytest.raises(TypeError, match="result of type float32"):
        PreparedCall(pointer, x=1.0)
    with pytest.raises(TypeError, match="result of type float32"):
        pointer(1.0)
    for kind in (REAL.flat, Struct(tuple, {"flat": REAL.flat})):
        with pytest.raises(TypeError, match="let it fill an argument"):
            FunctionPointer(doubled, None, {"x": kind}, kind)


def test_exceptions_of_the_kernel_are_raised():
    flat = np.zeros(1)
    prepared = PreparedCall(CHECKED, x=-1, flat=flat)
    for _ in range(2):
        with pytest.raises(ValueError, match="x is negative") as raised:
            prepared()
        assert raised.value.args == ("x is negative", 3)
    prepared.set(x=11)
    with pytest.raises(OverflowError):
        prepared()
    assert flat[0] == 0
    prepared.set(x=7)
    assert prepared() == 7 == flat[0]


def test_arrays_live_as_long_as_the_call():
    values = np.full(1000, 3.0)
    alive = weakref.ref(values)
    prepared = PreparedCall(
        FunctionPointer(first, None, {"flat": REAL.flat, "k": INT64}, FLOAT64), flat=values, k=9
    )
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


def test_calls_release_the_gil():
    """This thread goes on while the other one is in a kernel, which waits for this thread."""
    read = FunctionPointer(first, None, {"flat": REAL.flat, "k": INT64}, FLOAT64)
    pointer = FunctionPointer(meeting, None, {"read": read.kind, "flags": REAL.flat}, FLOAT64)
    flags, results = np.zeros(2), []
    prepared = PreparedCall(pointer, read=read, flags=flags)
    worker = threading.Thread(target=lambda: results.append(prepared()))
    worker.start()
    while not flags[0]:
        time.sleep(0.001)
    flags[1] = 1
    worker.join()
    assert results == [1.0]
