"""Calls through pointers: arguments of every type arrive, and unsuitable arguments are refused."""

import ctypes
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from kernel_packages import run
from numba import typeof
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
    kinds_of,
)
from fastnn_kernels.compiler.pointer import call, numba_type, unpacking

REAL = kinds_of(np.dtype(np.float64))
FLOAT32 = SCALARS["float32"]


def pointer_to(function, *kinds, result=FLOAT64):
    """Return a pointer to a kernel whose arguments have these kinds."""
    return FunctionPointer(function, None, {f"argument{k}": kind for k, kind in enumerate(kinds)}, result)


class Pair(NamedTuple):
    first: Any
    second: Any


@kernel
def negated(x):
    return -x


@kernel
def doubled(x):
    return 2 * x


@kernel
def first(x):
    return x[0]


@kernel
def zero(x):
    return 0.0


@kernel
def unchanged(x):
    return x


@kernel
def summed(X):
    return X.sum()


@kernel
def call_one(pointer, x):
    return call(pointer, (x,))


@kernel
def call_chosen(table, k, x):
    return call(table[k], (x,))


@kernel
def everything(cube, matrix, flat, pair, number, small, count, tiny, truth, pointer, table, nothing, sizes):
    flat[0] += 1
    total = cube[1, 2, 3] + matrix[1, 2] + pair.first[0, 1] + pair.second[0] + pair.second[1][0]
    total += number + small + count + tiny + call(pointer, (number,)) + call(table[1], (number,))
    shapes = cube.shape + matrix.shape + flat.shape + pair.first.shape
    for k, size in enumerate(shapes + cube.strides + matrix.strides + flat.strides):
        sizes[k] = size
    return total if truth and nothing is None else -total


@kernel
def call_everything(pointer, arguments):
    return call(pointer, arguments)


def test_arguments_of_every_type_arrive():
    item = pointer_to(doubled, FLOAT64)
    table = PointerTable([item, pointer_to(negated, FLOAT64)])
    random = np.random.default_rng(0)
    cube, matrix, flat = random.normal(size=(2, 3, 4)), random.normal(size=(5, 3)), random.normal(size=7)
    single = random.normal(size=(2, 2)).astype(np.float32)
    before = flat[0]
    sizes = np.zeros(14, np.int64)
    arguments = (
        cube, matrix, flat, Pair(single, (3, flat)), 0.5, np.float32(0.25), 10**12, np.int8(-3), True, item,
        table, None, sizes,
    )  # fmt: skip
    pair = {"first": Array(FLOAT32, 2), "second": Struct(tuple, {"count": INT64, "flat": REAL.flat})}
    kinds = (
        Array(FLOAT64, 3), REAL.inputs, REAL.flat, Struct(Pair, pair), FLOAT64, FLOAT32, INT64,
        SCALARS["int8"], BOOL, item.kind, table.kind, NONE, Array(INT64, 1),
    )  # fmt: skip
    total = call_everything(pointer_to(everything, *kinds), arguments)
    exact = cube[1, 2, 3] + matrix[1, 2] + single[0, 1] + 3 + before + 1
    assert flat[0] == before + 1
    assert total == pytest.approx(exact + 0.5 + 0.25 + 10**12 - 3 + 1.0 - 0.5, rel=1e-15)
    strides = (*cube.strides, *matrix.strides, *flat.strides)
    assert tuple(sizes) == (2, 3, 4, 5, 3, 7, 2, 2, *strides)


def test_arguments_are_converted_if_nothing_is_lost():
    pointer = pointer_to(negated, FLOAT64)
    assert call_one(pointer, np.float32(0.5)) == -0.5
    assert call_one(pointer, 3) == -3.0
    read = pointer_to(summed, REAL.inputs)
    frozen = np.ones((2, 3))
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
    pointer = pointer_to(zero, kind)
    with pytest.raises(TypingError, match=r"argument 0 is .* for a pointer to"):
        call_one(pointer, argument)


def test_python_calls_no_kernel_that_returns_an_array():
    with pytest.raises(TypeError, match="let it fill an argument"):
        unchanged(np.ones(3))


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8"])
def test_kinds_have_the_types_of_numba(dtype):
    of, item = kinds_of(np.dtype(dtype)), SCALARS[dtype]
    X = np.zeros((2, 3), dtype)
    frozen = X.view()
    frozen.flags.writeable = False
    pointer = pointer_to(doubled, item, result=item)
    table = PointerTable([pointer])
    for kind, value in (
        (of.flat, X[0]), (of.matrix, X), (of.inputs, frozen), (BOOL, True), (NONE, None),
        (Struct(Pair, {"first": of.flat, "second": of.flat}), Pair(X[0], X[1])),
        (Struct(Pair, {"first": of.flat, "second": INT64}), Pair(X[0], 3)),
        (Struct(tuple, {"a": INT64, "b": FLOAT64}), (1, 2.0)),
        (pointer.kind, pointer), (table.kind, table),
    ):  # fmt: skip
        assert numba_type(kind) == typeof(value)


def test_a_result_of_another_type_than_declared_is_refused():
    pointer = pointer_to(negated, FLOAT64, result=INT64)
    table = PointerTable([pointer])
    for attempt in (pointer.compile, table.compile, lambda: call_chosen(table, 0, 1.0)):
        with pytest.raises(TypeError, match="returns float64, not int64 as declared"):
            attempt()


def test_a_pointer_is_compiled_at_the_first_call():
    @kernel
    def tripled(x):
        return 3 * x

    pointer = pointer_to(tripled, FLOAT64)
    assert "address" not in vars(pointer)
    assert call_one(pointer, 2.0) == 6.0
    assert "address" in vars(pointer)


def test_a_wrong_number_of_arguments_is_refused():
    pointer = pointer_to(negated, FLOAT64)
    with pytest.raises(TypingError, match="2 arguments for a pointer to"):
        call_everything(pointer, (1.0, 2.0))


def test_only_pointers_can_be_called():
    with pytest.raises(TypingError):
        call_one(5, 1.0)
    with pytest.raises(TypingError):
        call_chosen(pointer_to(negated, FLOAT64), 0, 1.0)


def test_all_pointers_of_a_table_have_one_type():
    real, whole = (pointer_to(negated, kind, result=kind) for kind in (FLOAT64, INT64))
    with pytest.raises(ValueError, match="too many values"):
        PointerTable([real, whole])
    table = PointerTable([real, pointer_to(doubled, FLOAT64)])
    assert [call_chosen(table, k, 1.5) for k in (0, 1, np.uint8(1))] == [-1.5, 3.0, 3.0]


def test_a_caller_is_compiled_once_for_all_pointers_of_one_type():
    pointers = [pointer_to(function, FLOAT64) for function in (negated, doubled)]

    @kernel
    def caller(pointer, x):
        return call(pointer, (x,))

    assert [caller(pointer, 2.5) for pointer in pointers] == [-2.5, 5.0]
    assert len(caller.signatures) == 1


def test_the_entries_of_a_table_live_as_long_as_the_table():
    pointer = pointer_to(doubled, FLOAT64)
    tables = [PointerTable([pointer] * k) for k in range(1, 50)]
    # New arrays would take the memory of the entries if it had been freed.
    others = [np.zeros(n, np.uintp) for n in range(1, 60) for _ in range(20)]
    addresses = {other.ctypes.data for other in others}
    for k, table in enumerate(tables, 1):
        assert table.address not in addresses
        entries = (ctypes.c_size_t * (k + 1)).from_address(table.address)
        assert list(entries) == [k, *[pointer.address] * k]
        assert call_chosen(table, k - 1, 1.5) == 3


def test_calls_leave_reference_counts_unchanged():
    pointer, array = pointer_to(first, REAL.flat), np.ones(5)
    before = sys.getrefcount(array)
    for _ in range(100):
        assert call_one(pointer, array) == 1
    assert sys.getrefcount(array) == before


EXCEPTIONS = """
    import numpy as np
    from fastnn_kernels.compiler.jit import kernel
    from fastnn_kernels.compiler.entry import FunctionPointer
    from fastnn_kernels.compiler.kinds import INT64
    from fastnn_kernels.compiler.pointer import call

    @kernel
    def part(x):
        if x < 0:
            raise ValueError("negative")
        return x

    @kernel
    def called(x):
        if x > 10:
            raise OverflowError("large")
        return part(x)

    @kernel
    def caller(pointer, x):
        return call(pointer, (x,))

    pointer = FunctionPointer(called, None, {"x": INT64}, INT64)
    for x in (-2, 20, 3):
        try:
            print(caller(pointer, x))
        except (ValueError, OverflowError) as error:
            print(type(error).__name__, error.args)
"""


def test_exceptions_are_raised_through_a_pointer(package):
    for _ in range(2):  # first compiled, then loaded from the cache
        lines = run(package, EXCEPTIONS).splitlines()
        assert lines == ["ValueError ('negative',)", "OverflowError ('large',)", "3"]


def test_bounds_are_checked_in_calls_through_pointers(package):
    program = """
        import numpy as np
        from fastnn_kernels.compiler.jit import kernel
        from fastnn_kernels.calls.formulas import forward_table
        from fastnn_kernels.compiler.pointer import call

        @kernel
        def caller(table, k, Z, A):
            call(table[k], (Z, A))

        table = forward_table(("tanh",), np.dtype(float))
        caller(table, 0, np.ones((2, 16)), np.ones((2, 16)))
        for k, A in ((0, np.ones((1, 16))), (1, np.ones((2, 16))), (-1, np.ones((2, 16)))):
            try:
                caller(table, k, np.ones((2, 16)), A)
            except IndexError as error:
                print(error)
    """
    for _ in range(2):
        lines = run(package, program, NUMBA_BOUNDSCHECK="1").splitlines()
        assert len(lines) == 3
        assert all("out of bounds" in line for line in lines)


UNUSED = """
    from fastnn_kernels.compiler.entry import FunctionPointer, UnusedPointer, compilation_listeners
    from fastnn_kernels.compiler.jit import kernel
    from fastnn_kernels.compiler.kinds import FLOAT64
    from fastnn_kernels.compiler.pointer import call

    @kernel
    def negated(x):
        return -x

    @kernel
    def caller(pointer, x):
        return call(pointer, (x,)) if x > 0 else 0.0

    compiled = []
    compilation_listeners.append(compiled.append)
    pointer = FunctionPointer(negated, None, {"x": FLOAT64}, FLOAT64)
    unused = UnusedPointer(pointer)
    unused.compile()
    print(unused.address, len(compiled), caller(unused, -1.0), caller(pointer, 1.0), len(caller.signatures))
"""


def test_an_unused_pointer_has_the_type_of_a_pointer_and_no_code(package):
    assert run(package, UNUSED) == "0 0 0.0 -1.0 1"


def test_a_call_of_an_unused_pointer_is_refused_where_bounds_are_checked(package):
    program = (
        UNUSED
        + """
    try:
        caller(unused, 1.0)
    except ValueError as error:
        print(error)
"""
    )
    lines = run(package, program, NUMBA_BOUNDSCHECK="1").splitlines()
    assert lines == ["0 0 0.0 -1.0 1", "a kernel called an unused pointer, which has no code"]


def test_pointers_are_loaded_by_the_next_process(package):
    program = """
        import numpy as np
        from fastnn_kernels.calls.formulas import forward_table
        from fastnn_kernels.layer import activation_forward
        from fastnn_kernels.compiler.pointer import unpacking
        forward_table(("relu",), np.dtype(float)).compile()
        print("loaded" if unpacking(activation_forward("relu")).stats.cache_hits else "compiled")
    """
    assert run(package, program) == "compiled"
    assert run(package, program) == "loaded"


def test_loops_are_compiled_once_for_all_formulas():
    """A sweep over activations, losses and optimizers compiles each formula, and the loop once."""
    random = np.random.default_rng(0)
    X, y = random.normal(size=(40, 2)), np.arange(40) % 2

    def trained(activation, loss, optimizer):
        model = fastnn.Model(
            [2, 4, 2], activation=activation, output_activation="identity", loss=loss, random_state=0
        )
        model.train(X, y, num_passes=1, batch_size=10, optimizer=optimizer, reduction="mean")
        model.predict(X), model.predict_proba(X), model.calculate_loss(X, y)
        fastnn.render_boundary(model, (-1, 1), (-1, 1), 64)
        fastnn.render_boundary(model, (-1, 1), (-1, 1), 64, method="certified")

    def compiled():
        kernels = [
            predict.predict(False), predict.outputs(False), predict.loss(False),
            grid.grid_classes(False), quadtree.subdivide(False),
        ]  # fmt: skip
        counts = [len(unpacking(kernel).compiled[Kind.CODE]) for kernel in kernels]
        loops = (
            train.train_steps(True, False, False, False, False),
            gradient.tile_gradient(False, False, False),
        )
        return [*counts, *(len(unpacking(loop).compiled[Kind.CODE]) for loop in loops)]

    trained("tanh", "softmax_cross_entropy", "sgd")
    before = compiled()
    assert min(before) > 0
    for activation, loss, optimizer in [
        ("relu", "softmax_cross_entropy", "sgd"), ("tanh", "multiclass_hinge", "sgd"),
        ("tanh", "softmax_cross_entropy", "adam"), (["gelu"], "multiclass_hinge", "rmsprop"),
    ]:  # fmt: skip
        trained(activation, loss, optimizer)
    assert compiled() == before
