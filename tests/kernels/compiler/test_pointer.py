"""Calls of kernels from Python and through pointers: suitable arguments arrive, and others are refused."""

import ctypes
import gc
import weakref
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_packages import run
from numba.core.errors import TypingError

from fastnn_kernels.compiler.entry import FunctionPointer, PointerTable, PreparedCall, UnusedPointer
from fastnn_kernels.compiler.jit import kernel
from fastnn_kernels.compiler.kinds import FLOAT64, INT64, NONE, SCALARS, Array, Struct, get_address, get_kinds
from fastnn_kernels.compiler.pointer import call

REAL = get_kinds(np.dtype(np.float64))
BOOL, FLOAT32 = SCALARS["boolean"], SCALARS["float32"]


def point_to(function, *kinds, result=FLOAT64):
    return FunctionPointer(function, None, {f"argument{k}": kind for k, kind in enumerate(kinds)}, result)


class Pair(NamedTuple):
    first: Any
    second: Any


@kernel
def negate(x):
    return -x


@kernel
def double(x):
    return 2 * x


@kernel
def increment(flat):
    flat[0] += 1


@kernel
def call_with(pointer, arguments):
    return call(pointer, arguments)


@kernel
def call_entry(table, k, x):
    return call(table[k], (x,))


@kernel
def add_everything(
    truth, cube, flat, tiny, pair, single, small, large, count, lie, item, number, table, nothing, sizes
):
    flat[0] += 1
    total = cube[1, 2, 3] + pair.first[0, 1] + pair.second[0] + pair.second[1][0] + single
    total += number + small + count + tiny + large + call(item, (number,)) + call(table[1], (number,))
    for k, size in enumerate(cube.shape + flat.shape + pair.first.shape + cube.strides + flat.strides):
        sizes[k] = size
    return total if truth and not lie and nothing is None else -total


NEGATE, DOUBLE = point_to(negate, FLOAT64), point_to(double, FLOAT64)
TABLE = PointerTable([NEGATE, DOUBLE])
PAIR = {"first": Array(FLOAT32, 2), "second": Struct(tuple, {"count": INT64, "flat": REAL.flat})}
# Kinds and values of the arguments of `add_everything`.
ARGUMENTS = {
    "truth": (BOOL, True),
    "cube": (Array(FLOAT64, 3, readonly=True), np.arange(24.0).reshape(2, 3, 4)),
    "flat": (REAL.flat, np.zeros(7)),
    "tiny": (SCALARS["int8"], np.int8(-3)),
    "pair": (Struct(Pair, PAIR), Pair(np.array([[1, 2], [3, 4], [5, 6]], "f4"), (10, np.array([20.0])))),
    "single": (FLOAT32, np.float32(0.25)),
    "small": (INT64, -7),
    "large": (SCALARS["uint64"], np.uint64(2**40)),
    "count": (SCALARS["int32"], np.int32(-(2**20))),
    "lie": (BOOL, False),
    "item": (DOUBLE.kind, DOUBLE),
    "number": (FLOAT64, 0.5),
    "table": (TABLE.kind, TABLE),
    "nothing": (NONE, None),
    "sizes": (Array(INT64, 1), np.zeros(10, np.int64)),
}
EXPECTED = 23 + 2 + 10 + 20 + 0.25 + 0.5 - 7 - 2**20 - 3 + 2**40 + 1.0 + 1.0
EVERYTHING = FunctionPointer(add_everything, None, {key: one for key, (one, _) in ARGUMENTS.items()}, FLOAT64)


def make_arguments(**others):
    values = {name: value for name, (_, value) in ARGUMENTS.items()}
    fresh = {"cube": values["cube"].copy(), "flat": np.zeros(7), "sizes": np.zeros(10, np.int64)}
    return values | fresh | others


def test_arguments_of_every_kind_arrive_from_python_and_from_kernels():
    given = make_arguments()
    prepared = PreparedCall(EVERYTHING, **given)
    other = prepared.copy()
    values = tuple(given.values())
    for run_once in (lambda: EVERYTHING(*values), prepared, lambda: call_with(EVERYTHING, values)):
        given["sizes"][...] = 0
        assert run_once() == EXPECTED
        assert tuple(given["sizes"]) == (2, 3, 4, 7, 3, 2, 96, 32, 8, 8)
        given["cube"].flags.writeable = False
    assert given["flat"][0] == 3
    other.set(number=1.5)
    assert (prepared(), other()) == (EXPECTED, EXPECTED + 5)  # copies share arrays but not numbers
    assert given["flat"][0] == 5
    prepared.set(truth=np.True_, lie=True, flat=np.zeros(8))
    assert (prepared(), given["sizes"][3], given["flat"][0]) == (-EXPECTED, 8, 5)
    with pytest.raises(TypeError, match="takes 15 arguments, got 14"):
        EVERYTHING(*values[:-1])
    with pytest.raises(TypeError, match="no argument other"):
        PreparedCall(EVERYTHING, **given, other=1)
    del given["number"], given["flat"]
    with pytest.raises(TypeError, match="missing arguments: flat, number"):
        PreparedCall(EVERYTHING, **given)


UNALIGNED = np.frombuffer(bytearray(57), np.uint8)[1:].view(np.float64)
WIDE, NARROW, ONE = np.ones((1, 2)), np.ones((1, 2), np.float32), np.ones(1)
# Arguments of `add_everything`, and values of other kinds.
WRONG = {
    "flat": [np.zeros(7, "f4"), WIDE, np.zeros(14)[::2], UNALIGNED, np.frombuffer(bytes(56)), [0.0] * 7],
    "truth": [1],
    "tiny": [128, True, 1.0],
    "large": [-1],
    "count": [2**31],
    "number": ["0.5", None],
    "pair": [(NARROW, (10, ONE)), Pair(NARROW, (10, ONE, 3)), Pair(WIDE, (10, ONE))],
    "item": [TABLE, FunctionPointer(double, None, {"x": INT64}, INT64), 0],
    "nothing": [0],
}


@pytest.mark.parametrize("name", WRONG)
def test_arguments_of_other_kinds_are_refused(name):
    for value in WRONG[name]:
        prepared, given = PreparedCall(EVERYTHING, **make_arguments()), make_arguments(**{name: value})
        with pytest.raises(TypeError, match=name):
            prepared.set(**{name: value})
        assert prepared() == EXPECTED
        for refuse in (lambda: PreparedCall(EVERYTHING, **given), lambda: EVERYTHING(*given.values())):
            with pytest.raises(TypeError, match=f"{name}|add_everything.* got"):
                refuse()


def test_unsuitable_calls_are_refused_when_they_are_compiled():
    for pointer, arguments, words in (
        (point_to(double, REAL.matrix), (np.ones(3),), "argument 0 is .*"),
        (point_to(double, INT64), (2.7,), "argument 0 is .*"),
        (NEGATE, (1.0, 2.0), "2 arguments"),
    ):
        with pytest.raises(TypingError, match=f"{words} for a pointer to"):
            call_with(pointer, arguments)
    with pytest.raises(ValueError, match="too many values"):
        PointerTable([NEGATE, point_to(negate, INT64, result=INT64)])
    wrong = point_to(negate, FLOAT64, result=INT64)
    table = PointerTable([wrong])
    for attempt in (lambda: wrong.address, lambda: table.address, lambda: call_entry(table, 0, 1.0)):
        with pytest.raises(TypeError, match="returns float64, not int64 as declared"):
            attempt()


def test_results_are_numbers_or_none():
    pointer, flat = point_to(increment, REAL.flat, result=NONE), np.zeros(3)
    assert pointer(flat) is None
    assert PreparedCall(pointer, argument0=flat)() is None
    assert flat.tolist() == [2, 0, 0]
    pointer = point_to(double, FLOAT32, result=FLOAT32)
    for refuse in (lambda: PreparedCall(pointer, argument0=1.0), lambda: pointer(1.0)):
        with pytest.raises(TypeError, match="result of type float32"):
            refuse()
    for kind in (REAL.flat, Struct(tuple, {"flat": REAL.flat})):
        with pytest.raises(TypeError, match="let it fill an argument"):
            point_to(double, kind, result=kind)


def test_exceptions_of_the_kernel_are_raised():
    @kernel
    def check(x):
        if x < 0:
            raise ValueError("x is negative", 3)
        return x

    pointer = point_to(check, INT64, result=INT64)
    prepared = PreparedCall(pointer, argument0=-2)
    for fail in (prepared, prepared, lambda: pointer(-2), lambda: call_with(pointer, (-2,))):
        with pytest.raises(ValueError, match="x is negative") as caught:
            fail()
        assert caught.value.args == ("x is negative", 3)
    prepared.set(argument0=3)
    assert prepared() == pointer(3) == call_with(pointer, (3,)) == 3


def test_arrays_live_as_long_as_the_call():
    @kernel
    def read(flat, k):
        return flat[k]

    values = np.full(1000, 3.0)
    alive = weakref.ref(values)
    prepared = PreparedCall(point_to(read, REAL.flat, INT64), argument0=values, argument1=9)
    del values
    other = prepared.copy()
    del prepared
    gc.collect()
    assert alive() is not None
    assert other() == 3.0
    other.set(argument0=np.ones(1000))
    gc.collect()
    assert alive() is None
    assert other() == 1.0


def test_the_entries_of_a_table_live_as_long_as_the_table():
    tables = [PointerTable([DOUBLE] * k) for k in range(1, 50)]
    # New arrays would take the memory of the entries if it had been freed.
    others = [np.zeros(n, np.uintp) for n in range(1, 60) for _ in range(20)]
    addresses = {other.ctypes.data for other in others}
    for k, table in enumerate(tables, 1):
        assert table.address not in addresses
        entries = (ctypes.c_size_t * (k + 1)).from_address(table.address)
        assert list(entries) == [k, *[DOUBLE.address] * k]
        assert call_entry(table, np.uint8(k - 1), 1.5) == 3
    # Later versions of Python than 3.11 compute a cached property in each thread that needs it at once.
    for owner in (DOUBLE, tables[0]):
        address = type(owner).address.func
        assert address(owner) == address(owner) == owner.address


def test_an_address_is_the_one_that_numpy_gives():
    matrix = np.arange(12.0).reshape(3, 4)
    for array in (matrix, matrix[1:], UNALIGNED, np.empty((0, 7), np.float32), np.zeros((), np.int64)):
        assert get_address(array) == array.ctypes.data
    array = np.zeros(5)
    get_address(array)
    array.resize(100_000, refcheck=False)  # no view of the memory stays, which would keep it from being moved
    assert get_address(array) == array.ctypes.data


BOUNDS = """
    import numpy as np
    from fastnn_kernels.calls.formulas import forward_table
    from fastnn_kernels.compiler.jit import kernel
    from fastnn_kernels.compiler.pointer import call

    @kernel
    def call_formula(table, k, Z, A):
        call(table[k], (Z, A))

    table, Z = forward_table(("tanh",), np.dtype(float)), np.ones((2, 16))
    for k, A in ((0, Z.copy()), (0, np.ones((1, 16))), (1, Z.copy()), (-1, Z.copy())):
        try:
            call_formula(table, k, Z, A)
        except IndexError as error:
            print("out of bounds" in str(error))
"""


def test_bounds_are_checked_in_calls_through_tables(package):
    assert run(package, BOUNDS, NUMBA_BOUNDSCHECK="1").splitlines() == ["True"] * 3


def test_unused_pointers_have_no_code_and_cannot_be_called():
    pointer = point_to(negate, FLOAT64)
    with pytest.raises(ValueError, match="a kernel called an unused pointer, which has no code"):
        call_with(UnusedPointer(pointer), (1.0,))
    assert "address" not in vars(pointer)  # nothing was compiled for it
    n_callers = len(call_with.signatures)
    assert (call_with(pointer, (1.0,)), len(call_with.signatures)) == (-1.0, n_callers)
