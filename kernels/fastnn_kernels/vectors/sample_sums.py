"""Sums over the samples of a tile: the derivatives by the biases, and by the weights of narrow layers.

Shape letters: I inputs, J outputs of a layer, T samples of a tile (columns), V outputs rounded up to whole
vectors.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.numba_internals import cgutils
from .product import PARALLEL_SUMS, add_offset, are_plain, for_blocks, matrices
from .value import Value, sum_lanes
from .vector import get_vector

# Number of sums of `add_row_sum`, which take turns: an addition waits for the one before in its sum alone.
PARALLEL_ROW_SUMS = 4


@intrinsic
def column_sums(typing_context, transposed, db, adds):
    """Compute ``db[0, j] = sum over t of dZ[j, t]``, or add the sums to db if `adds`.

    transposed (T, V) is dZ^T; db (1, J); adds is a bool.
    """
    if not are_plain((transposed,), (db,)):
        return None

    # T is a whole number of vectors, and therefore a multiple of the number of parallel sums.
    n_sums = min(PARALLEL_SUMS, get_vector(transposed).lanes)

    def generate(context, builder, signature, args):
        source, result = matrices(context, builder, signature, args)
        zero = source.zero()
        T, n_outputs = source.shape[0], result.shape[1]
        sums = [cgutils.alloca_once(builder, zero.type.llvm) for _ in range(n_sums)]
        lanes = T.type(zero.type.lanes)
        with cgutils.for_range_slice(builder, T.type(0), n_outputs, lanes, inc=True) as (column, _):
            for cell in sums:
                builder.store(zero.ir, cell)
            with cgutils.for_range_slice(builder, T.type(0), T, T.type(n_sums), inc=True) as (t, _):
                for k, cell in enumerate(sums):
                    value = source.load(add_offset(builder, t, k), column)
                    builder.store((zero.like(builder.load(cell)) + value).ir, cell)
            totals = [zero.like(builder.load(cell)) for cell in sums]
            while len(totals) > 1:
                totals = [left + right for left, right in zip(totals[::2], totals[1::2], strict=True)]
            limit = Value.wrap(context, builder, zero.type, builder.sub(n_outputs, column), types.intp)
            mask = zero.lane_numbers() < limit
            at = builder.bitcast(result.pointer(T.type(0), column), zero.type.llvm.as_pointer())
            held = zero.masked_load(at, mask)
            # Unless `adds`, db is uninitialised memory: start at 0 instead.
            (held.like(builder.select(args[2], held.ir, zero.ir)) + totals[0]).masked_store(at, mask)
        return context.get_dummy_value()

    return types.void(transposed, db, types.boolean), generate


@intrinsic
def add_outer_sums(typing_context, n_inputs, n_outputs, X, dZ, dW, i, j):
    """Add ``sum over t of X[i + a, t] * dZ[j + c, t]`` to dW[i + a, j + c] for a < n_inputs, c < n_outputs.

    `n_inputs` and `n_outputs` are constants; X (I, T), dZ (J, T), dW (I, J). Vectors run along the samples:
    for layers with so few outputs that vectors of outputs would be mostly empty.
    """
    counts = n_inputs, n_outputs
    if not (all(isinstance(n, types.IntegerLiteral) for n in counts) and are_plain((X, dZ), (dW,))):
        return None
    block_rows, block_columns = n_inputs.literal_value, n_outputs.literal_value
    width = max(1, PARALLEL_SUMS // (block_rows * block_columns))

    def generate(context, builder, signature, args):
        inputs, outputs, gradient = matrices(context, builder, signature, args)
        rows = [add_offset(builder, args[5], a) for a in range(block_rows)]
        columns = [add_offset(builder, args[6], c) for c in range(block_columns)]
        zero = inputs.zero()
        sums = {
            (a, c, v): cgutils.alloca_once(builder, zero.type.llvm)
            for a in range(block_rows)
            for c in range(block_columns)
            for v in range(width)
        }
        for cell in sums.values():
            builder.store(zero.ir, cell)

        def block(t: ir.Value, vectors: int) -> None:
            for v in range(vectors):
                position = add_offset(builder, t, zero.type.lanes * v)
                left = [inputs.load(row, position) for row in rows]
                right = [outputs.load(column, position) for column in columns]
                for a, x in enumerate(left):
                    for c, d in enumerate(right):
                        cell = sums[a, c, v]
                        builder.store(x.fma(d, zero.like(builder.load(cell))).ir, cell)

        _for_columns(builder, inputs.shape[1], zero.type.lanes, width, block)
        totals = []
        for a in range(block_rows):
            for c in range(block_columns):
                total = zero.like(builder.load(sums[a, c, 0]))
                for v in range(1, width):
                    total = total + zero.like(builder.load(sums[a, c, v]))
                totals.append(total)
        places = [gradient.pointer(row, column) for row in rows for column in columns]
        for pointer, total in zip(places, sum_lanes(totals), strict=True):
            builder.store(builder.fadd(builder.load(pointer), total), pointer)
        return context.get_dummy_value()

    return types.void(n_inputs, n_outputs, X, dZ, dW, types.intp, types.intp), generate


@intrinsic
def add_row_sum(typing_context, dZ, db, j):
    """Add ``sum over t of dZ[j, t]`` to db[0, j]; dZ (J, T), db (1, J)."""
    if not are_plain((dZ,), (db,)):
        return None
    width = PARALLEL_ROW_SUMS

    def generate(context, builder, signature, args):
        source, target = matrices(context, builder, signature, args)
        zero, j = source.zero(), args[2]
        sums = [cgutils.alloca_once_value(builder, zero.ir) for _ in range(width)]

        def block(t: ir.Value, vectors: int) -> None:
            for v in range(vectors):
                value = source.load(j, add_offset(builder, t, zero.type.lanes * v))
                builder.store((zero.like(builder.load(sums[v])) + value).ir, sums[v])

        _for_columns(builder, source.shape[1], zero.type.lanes, width, block)
        total = zero.like(builder.load(sums[0]))
        for cell in sums[1:]:
            total = total + zero.like(builder.load(cell))
        pointer = target.pointer(j.type(0), j)
        builder.store(builder.fadd(builder.load(pointer), total.sum()), pointer)
        return context.get_dummy_value()

    return types.void(dZ, db, types.intp), generate


def _for_columns(
    builder: ir.IRBuilder, columns: ir.Value, lanes: int, width: int, body: Callable[[ir.Value, int], None]
) -> None:
    """Emit calls of ``body(column, vectors)`` for all columns, `width` vectors at a time, then one by one."""
    zero = columns.type(0)
    after = for_blocks(builder, zero, columns, (width,), lanes, body)
    if width > 1:
        for_blocks(builder, after, columns, (1,), lanes, body)
