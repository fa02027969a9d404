"""Calls of kernels through pointers: arguments of every type arrive, and unsuitable ones are refused."""

import ctypes
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_packages import run
from numba.core.errors import TypingError

import fastnn
from fastnn_kernels import gradient, grid, predict, quadtree, train
from fastnn_kernels.compiler.entry import FunctionPointer, PointerTable
from fastnn_kernels.compiler.jit import Kind, kernel
from fastnn_kernels.compiler.kinds import (
    BOOL,
    FLOAT64,
    INT64,
    NONE,
    SCALARS,
    UINT64,
    Array,
    Struct,
    get_kinds,
)
from fastnn_kernels.compiler.pointer import call, make_unpacking

REAL = get_kinds(np.dtype(np.float64))
FLOAT32 = SCALARS["float32"]


def point_to(function, *kinds, result=FLOAT64):
    """Return a pointer to a kernel whose arguments have these kinds."""
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
def add_all(X):
    return X.sum()


@kernel
def call_one(pointer, x):
    return call(pointer, (x,))


@kernel
def call_entry(table, k, x):
    return call(table[k], (x,))


@kernel
def call_with(pointer, arguments):
    return call(pointer, arguments)


@kernel
def add_everything(
    cube, matrix, flat, pair, number, small, count, tiny, truth, pointer, table, nothing, sizes
):
    flat[0] += 1
    total = cube[1, 2, 3] + matrix[1, 2] + pair.first[0, 1] + pair.second[0] + pair.second[1][0]
    total += number + small + count + tiny + call(pointer, (number,)) + call(table[1], (number,))
    shapes = cube.shape + matrix.shape + flat.shape + pair.first.shape
    for k, size in enumerate(shapes + cube.strides + matrix.strides + flat.strides):
        sizes[k] = size
    return total if truth and nothing is None else -total


def test_arguments_of_every_type_arrive():
    item = point_to(double, FLOAT64)
    table = PointerTable([item, point_to(negate, FLOAT64)])
    random = np.random.default_rng(0)
    cube, matrix, flat = random.normal(size=(2, 3, 4)), random.normal(size=(5, 3)), random.normal(size=7)
    single = random.normal(size=(2, 2)).astype(np.float32)
    before = flat[0]
    sizes = np.zeros(14, np.int64)
    pair = {"first": Array(FLOAT32, 2), "second": Struct(tuple, {"count": INT64, "flat": REAL.flat})}
    arguments = [
        (Array(FLOAT64, 3), cube),
        (REAL.inputs, matrix),
        (REAL.flat, flat),
        (Struct(Pair, pair), Pair(single, (3, flat))),
        (FLOAT64, 0.5),
        (FLOAT32, np.float32(0.25)),
        (INT64, 10**12),
        (SCALARS["int8"], np.int8(-3)),
        (BOOL, True),
        (item.kind, item),
        (table.kind, table),
        (NONE, None),
        (Array(INT64, 1), sizes),
    ]
    kinds, values = zip(*arguments, strict=True)
    total = call_with(point_to(add_everything, *kinds), values)
    exact = cube[1, 2, 3] + matrix[1, 2] + single[0, 1] + 3 + before + 1
    assert flat[0] == before + 1
    assert total == pytest.approx(exact + 0.5 + 0.25 + 10**12 - 3 + 1.0 - 0.5, rel=1e-15)
    strides = (*cube.strides, *matrix.strides, *flat.strides)
    assert tuple(sizes) == (2, 3, 4, 5, 3, 7, 2, 2, *strides)


def test_arguments_are_converted_if_nothing_is_lost():
    pointer = point_to(negate, FLOAT64)
    assert call_one(pointer, np.float32(0.5)) == -0.5
    assert call_one(pointer, 3) == -3.0
    read, frozen = point_to(add_all, REAL.inputs), np.ones((2, 3))
    assert call_one(read, frozen) == 6
    frozen.flags.writeable = False
    assert call_one(read, frozen) == 6


@pytest.mark.parametrize(
    ("kind", "argument"),
    [
        (FLOAT64, np.ones(3)),
        (REAL.flat, np.ones(3, np.float32)),
        (REAL.matrix, np.ones(3)),
        (REAL.matrix, np.ones((3, 3)).T),
        (REAL.flat, np.broadcast_to(1.0, (3,))),
        (FLOAT64, "text"),
        (INT64, 2.7),
        (SCALARS["int8"], 300),
        (FLOAT32, 1e-50),
        (UINT64, -1),
    ],
)
def test_unsuitable_arguments_are_refused_when_the_call_is_compiled(kind, argument):
    with pytest.raises(TypingError, match=r"argument 0 is .* for a pointer to"):
        call_one(point_to(double, kind), argument)


def test_other_unsuitable_calls_are_refused():
    pointer = point_to(negate, FLOAT64)
    with pytest.raises(TypingError, match="2 arguments for a pointer to"):
        call_with(pointer, (1.0, 2.0))
    for wrong in (lambda: call_one(5, 1.0), lambda: call_entry(pointer, 0, 1.0)):
        with pytest.raises(TypingError):
            wrong()
    with pytest.raises(ValueError, match="too many values"):
        PointerTable([pointer, point_to(negate, INT64, result=INT64)])
    wrong = point_to(negate, FLOAT64, result=INT64)
    table = PointerTable([wrong])
    for attempt in (wrong.compile, table.compile, lambda: call_entry(table, 0, 1.0)):
        with pytest.raises(TypeError, match="returns float64, not int64 as declared"):
            attempt()


def test_the_entries_of_a_table_live_as_long_as_the_table():
    pointer = point_to(double, FLOAT64)
    tables = [PointerTable([pointer] * k) for k in range(1, 50)]
    # New arrays would take the memory of the entries if it had been freed.
    others = [np.zeros(n, np.uintp) for n in range(1, 60) for _ in range(20)]
    addresses = {other.ctypes.data for other in others}
    for k, table in enumerate(tables, 1):
        assert table.address not in addresses
        entries = (ctypes.c_size_t * (k + 1)).from_address(table.address)
        assert list(entries) == [k, *[pointer.address] * k]
        assert call_entry(table, np.uint8(k - 1), 1.5) == 3
    # Later versions of Python than 3.11 compute a cached property in each thread that needs it at once.
    for owner in (pointer, tables[0]):
        address = type(owner).address.func
        assert address(owner) == address(owner) == owner.address


def test_exceptions_are_raised_through_a_pointer():
    @kernel
    def check(x):
        if x < 0:
            raise ValueError("negative")
        return x

    @kernel
    def check_further(x):
        if x > 10:
            raise OverflowError("large")
        return check(x)

    pointer = point_to(check_further, INT64, result=INT64)
    for x, error in ((-2, ValueError), (20, OverflowError)):
        with pytest.raises(error):
            call_one(pointer, x)
    assert call_one(pointer, 3) == 3


BOUNDS = """
    import numpy as np
    from fastnn_kernels.calls.formulas import forward_table
    from fastnn_kernels.compiler.entry import FunctionPointer, UnusedPointer, compilation_listeners
    from fastnn_kernels.compiler.jit import kernel
    from fastnn_kernels.compiler.kinds import FLOAT64
    from fastnn_kernels.compiler.pointer import call

    @kernel
    def negate(x):
        return -x

    @kernel
    def caller(pointer, x):
        return call(pointer, (x,)) if x > 0 else 0.0

    @kernel
    def call_formula(table, k, Z, A):
        call(table[k], (Z, A))

    compiled = []
    compilation_listeners.append(compiled.append)
    pointer = FunctionPointer(negate, None, {"x": FLOAT64}, FLOAT64)
    unused = UnusedPointer(pointer)
    unused.compile()
    print(unused.address, len(compiled), caller(unused, -1.0), caller(pointer, 1.0), len(caller.signatures))
    try:
        caller(unused, 1.0)
    except ValueError as error:
        print(error)
    table, Z = forward_table(("tanh",), np.dtype(float)), np.ones((2, 16))
    for k, A in ((0, Z.copy()), (0, np.ones((1, 16))), (1, Z.copy()), (-1, Z.copy())):
        try:
            call_formula(table, k, Z, A)
        except IndexError as error:
            print("out of bounds" in str(error))
"""


def test_bounds_and_unused_pointers_are_checked_in_calls_through_pointers(package):
    lines = run(package, BOUNDS, NUMBA_BOUNDSCHECK="1").splitlines()
    assert lines[:2] == ["0 0 0.0 -1.0 1", "a kernel called an unused pointer, which has no code"]
    assert lines[2:] == ["True"] * 3


def test_loops_are_compiled_once_for_all_formulas():
    """A sweep over activations, losses and optimizers compiles each formula, and the loop once."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(40, 2)), np.arange(40) % 2

    def train_and_draw(activation, loss, optimizer):
        model = fastnn.Model(
            [2, 4, 2], activation=activation, output_activation="identity", loss=loss, random_state=0
        )
        model.train(X, y, num_passes=1, batch_size=10, optimizer=optimizer, reduction="mean")
        model.predict(X), model.predict_proba(X), model.calculate_loss(X, y)
        for method in ("auto", "certified"):
            fastnn.render_boundary(model, (-1, 1), (-1, 1), 64, method=method)

    loops = [
        *(predict.predict(False), predict.outputs(False), predict.loss(False), grid.grid_classes(False)),
        *(quadtree.subdivide(False), train.train_steps(True, False, False, False, False)),
        gradient.tile_gradient(False, False, False),
    ]

    def count_compiled():
        return [len(make_unpacking(loop).compiled[Kind.CODE]) for loop in loops]

    train_and_draw("tanh", "softmax_cross_entropy", "sgd")
    before = count_compiled()
    assert min(before) > 0
    for activation, loss, optimizer in [
        ("relu", "softmax_cross_entropy", "sgd"),
        ("tanh", "multiclass_hinge", "sgd"),
        ("tanh", "softmax_cross_entropy", "adam"),
        (["gelu"], "multiclass_hinge", "rmsprop"),
    ]:
        train_and_draw(activation, loss, optimizer)
    assert count_compiled() == before
