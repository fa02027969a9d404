"""Calls with prepared arguments: arguments of every type arrive, and unsuitable arguments are refused."""

import gc
import threading
import time
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest
from numba import types

from fastnn_kernels.compiler.jit import kernel
from fastnn_kernels.compiler.pointer import FunctionPointer, PointerTable, array_types, call
from fastnn_kernels.compiler.prepared import PreparedCall

REAL = array_types(np.dtype(np.float64))


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


DOUBLED = FunctionPointer(doubled, [types.float64], types.float64)
TABLE = PointerTable([DOUBLED, DOUBLED])
KINDS = (
    types.boolean, REAL.flat, types.int8,
    types.NamedTuple(
        (types.Array(types.float32, 2, "C", readonly=True), types.Tuple((types.int64, REAL.flat))), Pair
    ),
    types.int64, types.uint64, types.int32, types.boolean, DOUBLED._numba_type_, types.float64,
    TABLE._numba_type_, types.none,
)  # fmt: skip
EVERYTHING = FunctionPointer(everything, KINDS, types.float64)
CHECKED = FunctionPointer(checked, [types.int64, REAL.flat], types.int64)


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
        ("item", FunctionPointer(doubled, [types.int64], types.int64)),
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


def test_types_that_python_cannot_pass_are_refused():
    pointer = FunctionPointer(doubled, [types.complex128], types.complex128)
    with pytest.raises(TypeError, match="cannot pass complex128"):
        PreparedCall(pointer, x=1j)

    pointer = FunctionPointer(everything, KINDS, types.none)
    with pytest.raises(TypeError, match="result of type none"):
        PreparedCall(pointer, **arguments())


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
    prepared = PreparedCall(FunctionPointer(first, [REAL.flat, types.int64], types.float64), flat=values, k=9)
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
    read = FunctionPointer(first, [REAL.flat, types.int64], types.float64)
    pointer = FunctionPointer(meeting, [read._numba_type_, REAL.flat], types.float64)
    flags, results = np.zeros(2), []
    prepared = PreparedCall(pointer, read=read, flags=flags)
    worker = threading.Thread(target=lambda: results.append(prepared()))
    worker.start()
    while not flags[0]:
        time.sleep(0.001)
    flags[1] = 1
    worker.join()
    assert results == [1.0]
