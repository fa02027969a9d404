"""Register blocks of matrix products, the innermost loops of the gates.

A block keeps a few rows of the result, several vectors wide, in registers while it walks along the
sum, so that every value loaded is used several times. The blocks are emitted instruction by
instruction: unrolled as written here, free of checks against overlap, and without a loop
vectoriser to persuade. A kernel covers a matrix with blocks of four rows and then of the rows left.

Shape letters: I inputs, J outputs of a layer, T samples of a tile (columns).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .simd import VECTOR_BYTES, Value, is_plain, vector_of, vector_pointer

__all__ = ["add_outer_sums", "add_row_sum", "backward_rows", "forward_rows"]

# Vectors a block is wide: with four rows, 16 of 32 registers (AVX-512) or 8 of 16 (AVX2) hold sums.
BLOCK_VECTORS = 4 if VECTOR_BYTES == 64 else 2
# Additions in flight that hide the latency of one.
PARALLEL_SUMS = 8


class _Matrix:
    """A kernel's matrix argument at compile time."""

    def __init__(self, context: Any, builder: Any, type: Any, value: Any) -> None:
        self.context, self.builder, self.type, self.value = context, builder, type, value
        self.array = context.make_array(type)(context, builder, value)
        self.shape = cgutils.unpack_tuple(builder, self.array.shape, type.ndim)
        self.vector = vector_of(type)

    def load(self, row: Any, column: Any) -> Value:
        pointer = vector_pointer(self.context, self.builder, self.type, self.value, row, column)
        loaded = self.builder.load(pointer, align=self.type.dtype.bitwidth // 8)
        return Value(self.context, self.builder, self.vector, loaded)

    def store(self, row: Any, column: Any, value: Value) -> None:
        pointer = vector_pointer(self.context, self.builder, self.type, self.value, row, column)
        self.builder.store(value.ir, pointer, align=self.type.dtype.bitwidth // 8)

    def pointer(self, *index: Any) -> Any:
        """Pointer to one element."""
        if self.context.enable_boundscheck:
            for position, size in zip(index, self.shape, strict=True):
                cgutils.do_boundscheck(self.context, self.builder, position, size)
        offset = index[-1]
        if len(index) == 2:
            offset = self.builder.add(self.builder.mul(index[0], self.shape[1]), offset)
        return self.builder.gep(self.array.data, [offset], inbounds=True)

    def spread(self, *index: Any) -> Value:
        """One element, in every lane."""
        scalar = self.builder.load(self.pointer(*index))
        return Value.wrap(self.context, self.builder, self.vector, scalar, self.type.dtype)

    def zero(self) -> Value:
        return Value(self.context, self.builder, self.vector, ir.Constant(self.vector.llvm, None))


def _are_plain(read: tuple, written: tuple) -> bool:
    """Whether a product may take these matrices: all of one dtype, as kernels want them."""
    return (
        all(is_plain(matrix, 2) for matrix in read)
        and all(is_plain(matrix, 2, written=True) for matrix in written)
        and len({matrix.dtype for matrix in (*read, *written)}) == 1
    )


def _offset(builder: Any, index: Any, by: int) -> Any:
    return builder.add(index, index.type(by)) if by else index


def _for_columns(builder: Any, columns: Any, lanes: int, width: int, body: Callable) -> None:
    """Run ``body(column, vectors)`` over all columns, `width` vectors at a time, then one by one."""
    step = columns.type(lanes * width)
    whole = builder.sub(columns, builder.srem(columns, step)) if width > 1 else columns
    with cgutils.for_range_slice(builder, columns.type(0), whole, step, inc=True) as (column, _):
        body(column, width)
    if width > 1:
        one = columns.type(lanes)
        with cgutils.for_range_slice(builder, whole, columns, one, inc=True) as (column, _):
            body(column, 1)


def _emit_rows(
    n_rows: int,
    n_terms: Any,
    start: Callable[[int], Value],
    coefficient: Callable[[int, Any], Value],
    source: _Matrix,
    result: _Matrix,
    first: Any,
) -> None:
    """``result[first + k, :] = start(k) + sum over m of coefficient(k, m) * source[m, :]``."""
    builder, lanes = source.builder, source.vector.lanes
    starts = [start(k) for k in range(n_rows)]

    def block(column: Any, vectors: int) -> None:
        columns = [_offset(builder, column, lanes * v) for v in range(vectors)]
        sums = [[cgutils.alloca_once(builder, source.vector.llvm) for _ in columns] for _ in starts]
        for row, value in zip(sums, starts, strict=True):
            for cell in row:
                builder.store(value.ir, cell)
        with cgutils.for_range(builder, n_terms) as loop:
            terms = [source.load(loop.index, c) for c in columns]
            for k, row in enumerate(sums):
                factor = coefficient(k, loop.index)
                for cell, term in zip(row, terms, strict=True):
                    builder.store(factor.fma(term, factor.like(builder.load(cell))).ir, cell)
        for k, row in enumerate(sums):
            for cell, c in zip(row, columns, strict=True):
                result.store(_offset(builder, first, k), c, source.zero().like(builder.load(cell)))

    _for_columns(builder, source.shape[1], lanes, BLOCK_VECTORS, block)


@intrinsic
def forward_rows(typing_context, count, W, b, X, Z, first):
    """``Z[j, :] = b[0, j] + sum over i of W[i, j] * X[i, :]`` for `count` (a constant) j from `first`.

    W (I, J), b (1, J), X (I, T), Z (J, T).
    """
    if not (isinstance(count, types.IntegerLiteral) and _are_plain((W, b, X), (Z,))):
        return None

    def generate(context, builder, signature, args):
        weights, bias, source, result = (
            _Matrix(context, builder, type, value)
            for type, value in zip(signature.args[1:5], args[1:5], strict=True)
        )
        first = args[5]
        rows = [_offset(builder, first, k) for k in range(count.literal_value)]
        _emit_rows(
            len(rows),
            weights.shape[0],
            lambda k: bias.spread(first.type(0), rows[k]),
            lambda k, i: weights.spread(i, rows[k]),
            source,
            result,
            first,
        )
        return context.get_dummy_value()

    return types.void(count, W, b, X, Z, types.intp), generate


@intrinsic
def backward_rows(typing_context, count, W, dZ, dX, first):
    """``dX[i, :] = sum over j of W[i, j] * dZ[j, :]`` for `count` (a constant) i from `first`.

    W (I, J), dZ (J, T), dX (I, T).
    """
    if not (isinstance(count, types.IntegerLiteral) and _are_plain((W, dZ), (dX,))):
        return None

    def generate(context, builder, signature, args):
        weights, source, result = (
            _Matrix(context, builder, type, value)
            for type, value in zip(signature.args[1:4], args[1:4], strict=True)
        )
        first = args[4]
        rows = [_offset(builder, first, k) for k in range(count.literal_value)]
        _emit_rows(
            len(rows),
            weights.shape[1],
            lambda k: source.zero(),
            lambda k, j: weights.spread(rows[k], j),
            source,
            result,
            first,
        )
        return context.get_dummy_value()

    return types.void(count, W, dZ, dX, types.intp), generate


@intrinsic
def add_outer_sums(typing_context, n_inputs, n_outputs, X, dZ, dW, i, j):
    """``dW[i + a, j + c] += sum over t of X[i + a, t] * dZ[j + c, t]``, a < n_inputs, c < n_outputs.

    `n_inputs` and `n_outputs` are constants; X (I, T), dZ (J, T), dW (I, J).
    """
    counts = n_inputs, n_outputs
    if not (all(isinstance(n, types.IntegerLiteral) for n in counts) and _are_plain((X, dZ), (dW,))):
        return None
    block_rows, block_columns = n_inputs.literal_value, n_outputs.literal_value
    width = max(1, PARALLEL_SUMS // (block_rows * block_columns))

    def generate(context, builder, signature, args):
        inputs, outputs, gradient = (
            _Matrix(context, builder, type, value)
            for type, value in zip(signature.args[2:5], args[2:5], strict=True)
        )
        rows = [_offset(builder, args[5], a) for a in range(block_rows)]
        columns = [_offset(builder, args[6], c) for c in range(block_columns)]
        zero = inputs.zero()
        sums = {
            (a, c, v): cgutils.alloca_once(builder, zero.type.llvm)
            for a in range(block_rows)
            for c in range(block_columns)
            for v in range(width)
        }
        for cell in sums.values():
            builder.store(zero.ir, cell)

        def block(t: Any, vectors: int) -> None:
            for v in range(vectors):
                position = _offset(builder, t, zero.type.lanes * v)
                left = [inputs.load(row, position) for row in rows]
                right = [outputs.load(column, position) for column in columns]
                for a, x in enumerate(left):
                    for c, d in enumerate(right):
                        cell = sums[a, c, v]
                        builder.store(x.fma(d, zero.like(builder.load(cell))).ir, cell)

        _for_columns(builder, inputs.shape[1], zero.type.lanes, width, block)
        for a, row in enumerate(rows):
            for c, column in enumerate(columns):
                total = zero.like(builder.load(sums[a, c, 0]))
                for v in range(1, width):
                    total = total + zero.like(builder.load(sums[a, c, v]))
                pointer = gradient.pointer(row, column)
                builder.store(builder.fadd(builder.load(pointer), total.sum()), pointer)
        return context.get_dummy_value()

    return types.void(n_inputs, n_outputs, X, dZ, dW, types.intp, types.intp), generate


@intrinsic
def add_row_sum(typing_context, dZ, db, j):
    """``db[0, j] += sum over t of dZ[j, t]``; dZ (J, T), db (1, J)."""
    if not _are_plain((dZ,), (db,)):
        return None

    def generate(context, builder, signature, args):
        source = _Matrix(context, builder, dZ, args[0])
        target = _Matrix(context, builder, db, args[1])
        zero, j = source.zero(), args[2]
        sums = [cgutils.alloca_once_value(builder, zero.ir) for _ in range(BLOCK_VECTORS)]

        def block(t: Any, vectors: int) -> None:
            for v in range(vectors):
                value = source.load(j, _offset(builder, t, zero.type.lanes * v))
                builder.store((zero.like(builder.load(sums[v])) + value).ir, sums[v])

        _for_columns(builder, source.shape[1], zero.type.lanes, BLOCK_VECTORS, block)
        total = zero.like(builder.load(sums[0]))
        for cell in sums[1:]:
            total = total + zero.like(builder.load(cell))
        pointer = target.pointer(j.type(0), j)
        builder.store(builder.fadd(builder.load(pointer), total.sum()), pointer)
        return context.get_dummy_value()

    return types.void(dZ, db, types.intp), generate
