"""Matrix products of a few samples, in which a sample is a row and vectors run along the units.

The products of ``product.py`` run along samples, a column each. With fewer samples than lanes, their vectors
would be mostly padding.

Shape letters: I inputs, J outputs of a layer, N samples, V outputs or inputs rounded up to whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.numba_internals import cgutils
from .matrix import PartialRows, Rows
from .product import add_offset, are_plain, call_product, check_lengths, for_blocks, matrices
from .value import Value, reduce_lanes
from .vector import get_vector


@intrinsic
def row_product_forward(typing_context, X, W, Z):
    """Compute ``Z += X W``; X (N, I or more), W (I, J), Z (N, V)."""
    if not are_plain((X, W), (Z,)):
        return None

    def generate(context, builder, signature, args):
        inputs, weights, result = matrices(context, builder, signature, args)
        check_lengths(context, builder, (inputs.shape[0], result.shape[0]))
        one = inputs.shape[0].type(1)
        call_product(
            weights,
            result,
            few_rows=True,
            coefficients=inputs.array.data,
            row_distance=inputs.shape[1],
            term_distance=one,
            n_columns=weights.shape[1],
            adds=one,
        )
        return context.get_dummy_value()

    return types.void(X, W, Z), generate


# Numbers of rows of the weights that are added to the sums of a single sample together.
ROWS_TOGETHER = (4, 2, 1)


@intrinsic
def single_product_forward(typing_context, X, W, b, Z):
    """Compute ``Z = X W + b`` of one sample; X (1, I or more), W (I, J), b (1, J), Z (1, V).

    The columns of Z from J on become 0. A few rows of W at a time are multiplied by their inputs and added to
    Z, which stays in the first-level cache, while W is read in the order of memory.
    """
    if not are_plain((X, W, b), (Z,)):
        return None
    vector = get_vector(W)

    def generate(context, builder, signature, args):
        inputs, weights, biases, result = matrices(context, builder, signature, args)
        n_inputs, n_outputs = weights.shape
        nothing, step = n_inputs.type(0), n_inputs.type(vector.lanes)
        check_lengths(
            context,
            builder,
            (inputs.shape[0], nothing.type(1)),
            (result.shape[0], nothing.type(1)),
            (biases.shape[1], n_outputs),
        )
        whole = builder.and_(n_outputs, n_outputs.type(-vector.lanes))
        rest = builder.sub(n_outputs, whole)
        table = Rows(context, builder, vector, weights.array.data, n_outputs)

        def block(first: ir.Value, height: int) -> None:
            rows = [add_offset(builder, first, k) for k in range(height)]
            factors = [inputs.broadcast(nothing, row) for row in rows]
            # The first rows are added to the biases, the others to the sums so far.
            is_first = builder.icmp_signed("==", first, nothing)
            start = builder.select(is_first, biases.array.data, result.array.data)
            starts = Rows(context, builder, vector, start, nothing)

            def add(j: ir.Value, starts: Rows, table: Rows) -> None:
                total = starts.load(nothing, j)
                for row, factor in zip(rows, factors, strict=True):
                    total = factor.fma(table.load(row, j), total)
                result.store(nothing, j, total)

            with cgutils.for_range_slice(builder, nothing, whole, step, inc=True) as (j, _):
                add(j, starts, table)
            with builder.if_then(builder.icmp_signed(">", rest, nothing)):
                add(whole, PartialRows(starts, rest), PartialRows(table, rest))

        for_blocks(builder, nothing, n_inputs, ROWS_TOGETHER, 1, block)
        return context.get_dummy_value()

    return types.void(X, W, b, Z), generate


@intrinsic
def row_outer_product(typing_context, X, dZ, dW, adds):
    """Compute ``dW = X^T dZ``, or add the product to dW if `adds`.

    X (N, I or more), dZ (N, V), dW (I, J); adds is a bool. The product of a single sample has no sums: each
    row of dW is written once, while a panel of dZ, a few vectors wide, stays in registers.
    """
    if not are_plain((X, dZ), (dW,)):
        return None
    vector = get_vector(dW)

    def generate(context, builder, signature, args):
        inputs, source, result = matrices(context, builder, signature, args)
        check_lengths(context, builder, (inputs.shape[0], source.shape[0]))
        n_samples, (n_inputs, n_outputs) = inputs.shape[0], result.shape
        nothing, one = n_inputs.type(0), n_inputs.type(1)
        coefficients = Rows(context, builder, vector, inputs.array.data, inputs.shape[1])
        target = Rows(context, builder, vector, result.array.data, n_outputs)

        def panel(column: ir.Value, width: int) -> None:
            columns = [add_offset(builder, column, vector.lanes * v) for v in range(width)]
            factors = [source.load(nothing, c) for c in columns]
            with cgutils.for_range_slice(builder, nothing, n_inputs, one, inc=True) as (i, _):
                x = coefficients.broadcast(nothing, i)
                for factor, c in zip(factors, columns, strict=True):
                    target.store(i, c, x * factor)

        def last_panel(column: ir.Value) -> None:
            """Write the last columns, fewer than a vector; later writes replace the other lanes."""
            factor, size = source.load(nothing, column), builder.mul(n_inputs, n_outputs)
            with cgutils.for_range_slice(builder, nothing, n_inputs, one, inc=True) as (i, _):
                value = coefficients.broadcast(nothing, i) * factor
                left = builder.sub(size, builder.add(builder.mul(i, n_outputs), column))
                fits = builder.icmp_signed("<=", one.type(vector.lanes), left)
                with builder.if_else(fits) as (inside, outside):
                    with inside:
                        target.store(i, column, value)
                    with outside:
                        PartialRows(target, left).store(i, column, value)

        def panels() -> None:
            whole = builder.and_(n_outputs, one.type(-vector.lanes))
            with builder.if_then(builder.icmp_signed("<", whole, n_outputs)):
                last_panel(whole)
            for_blocks(builder, nothing, n_outputs, (8, 4, 2, 1), vector.lanes, panel)

        is_single = builder.icmp_signed("==", n_samples, one)
        with builder.if_else(builder.and_(is_single, builder.not_(args[3]))) as (single, several):
            with single:
                panels()
            with several:
                call_product(
                    source,
                    result,
                    coefficients=inputs.array.data,
                    row_distance=one,
                    term_distance=inputs.shape[1],
                    n_terms=n_samples,
                    adds=builder.zext(args[3], one.type),
                )
        return context.get_dummy_value()

    return types.void(X, dZ, dW, types.boolean), generate


@intrinsic
def row_product_backward(typing_context, W, dZ, t, dX):
    """Compute ``dX[t] = W dZ[t]``; W (I, J), dZ (N, V), dX (N, V). The columns of dX from I on become 0.

    As many rows of W as a vector has lanes are multiplied together. The sums of their lanes, one for each
    row, are a vector of dX.
    """
    if not are_plain((W, dZ), (dX,)):
        return None
    vector = get_vector(W)

    def generate(context, builder, signature, args):
        weights, source, result = matrices(context, builder, signature, args)
        t, zero, lanes = args[2], weights.zero(), vector.lanes
        n_inputs, n_outputs = weights.shape
        nothing, step = t.type(0), t.type(lanes)
        whole = builder.and_(n_outputs, n_outputs.type(-lanes))
        mask = first_lanes(zero, builder.sub(n_outputs, whole))
        table = Rows(context, builder, vector, weights.array.data, n_outputs)

        def block(rows: list[ir.Value]) -> Value:
            """Return the sums for some rows, given by pointers to their first elements."""
            sums = [cgutils.alloca_once_value(builder, zero.ir) for _ in rows]

            def add(j: ir.Value, load: Callable[[ir.Value], Value]) -> None:
                factor = source.load(t, j)
                for row, cell in zip(rows, sums, strict=True):
                    at = builder.bitcast(builder.gep(row, [j], inbounds=True), vector.llvm.as_pointer())
                    builder.store(load(at).fma(factor, zero.like(builder.load(cell))).ir, cell)

            def load_whole(at: ir.Value) -> Value:
                return zero.like(builder.load(at, align=vector.dtype.bitwidth // 8))

            with cgutils.for_range_slice(builder, nothing, whole, step, inc=True) as (j, _):
                add(j, load_whole)
            with builder.if_then(builder.icmp_signed("<", whole, n_outputs)):
                add(whole, lambda at: zero.masked_load(at, mask))
            return reduce_lanes([zero.like(builder.load(cell)) for cell in sums])

        all_whole = builder.and_(n_inputs, n_inputs.type(-lanes))
        with cgutils.for_range_slice(builder, nothing, all_whole, step, inc=True) as (i, _):
            rows = [table.element(i, nothing)]
            for _ in range(lanes - 1):
                rows.append(builder.gep(rows[-1], [n_outputs], inbounds=True))
            result.store(t, i, block(rows))
        with builder.if_then(builder.icmp_signed("<", all_whole, n_inputs)):
            last = builder.sub(n_inputs, t.type(1))
            rows = []
            for k in range(lanes):  # rows after the last one repeat it
                row = add_offset(builder, all_whole, k)
                row = builder.select(builder.icmp_signed("<", row, last), row, last)
                rows.append(table.element(row, nothing))
            is_row = first_lanes(zero, builder.sub(n_inputs, all_whole))
            result.store(t, all_whole, block(rows).where(is_row, 0.0))
        return context.get_dummy_value()

    return types.void(W, dZ, types.intp, dX), generate


def first_lanes(value: Value, count: ir.Value) -> Value:
    """Return the mask of the first `count` lanes; count is an IR integer."""
    limit = Value.wrap(value.context, value.builder, value.type, count, types.intp)
    return value.lane_numbers() < limit


@intrinsic
def load_part(typing_context, matrix, row, column, count):
    """Return ``matrix[row, column : column + count]`` as a vector, with 0 in the other lanes."""
    if not are_plain((matrix,), ()):
        return None
    vector = get_vector(matrix)

    def generate(context, builder, signature, args):
        (source,) = matrices(context, builder, signature, args)
        zero = source.zero()
        mask = first_lanes(zero, args[3])
        at = builder.bitcast(source.pointer(args[1], args[2]), vector.llvm.as_pointer())
        return zero.masked_load(at, mask).ir

    return vector(matrix, types.intp, types.intp, types.intp), generate


@intrinsic
def store_part(typing_context, matrix, row, column, count, value):
    """Write the first `count` lanes of the vector `value` to ``matrix[row, column : column + count]``."""
    if not are_plain((), (matrix,)) or value != get_vector(matrix):
        return None
    vector = get_vector(matrix)

    def generate(context, builder, signature, args):
        (target,) = matrices(context, builder, signature, args)
        result = Value(context, builder, vector, args[4])
        mask = first_lanes(result, args[3])
        at = builder.bitcast(target.pointer(args[1], args[2]), vector.llvm.as_pointer())
        result.masked_store(at, mask)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, types.intp, vector), generate
