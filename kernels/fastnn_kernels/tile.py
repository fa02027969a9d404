"""Between tables, a sample a row, and tiles, a sample a column.

A block of as many rows as a vector has lanes is transposed in registers, so that both sides are read
and written a whole vector at a time.

Shape letters: N samples, I features, T samples of a tile (a whole number of vectors), R rows and V
columns of any matrix, V filled up to whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .jit import kernel
from .simd import Value, element_pointer, is_plain, lanes, transposed, vector_of

__all__ = ["gather_tile", "take_tile", "transpose"]


def _emit_block(
    context: Any, builder: Any, arrays: tuple, row: Callable[[int], Any], column: Any, to: tuple[Any, Any]
) -> None:
    """Transpose a block: ``result[to[0] + i, to[1] + k] = source[row(k), column + i]``.

    Nothing is read behind a row's end, and what there is no row for in the result is not written.
    """
    (source_type, source), (result_type, result) = arrays
    vector = vector_of(source_type)
    shapes = [
        cgutils.unpack_tuple(builder, context.make_array(type)(context, builder, value).shape, 2)
        for type, value in arrays
    ]
    zero = Value(context, builder, vector, ir.Constant(vector.llvm, None))
    left = Value.wrap(context, builder, vector, builder.sub(shapes[0][1], column), types.intp)
    mask = zero.lane_numbers() < left

    def read(k: int) -> Value:
        pointer = element_pointer(context, builder, source_type, source, row(k), column, 1)
        return zero.masked_load(builder.bitcast(pointer, vector.llvm.as_pointer()), mask)

    last = builder.sub(shapes[1][0], column.type(1))
    # Those without a row of their own go to the last row, and its own value goes there after them.
    for k, value in reversed(list(enumerate(transposed([read(k) for k in range(vector.lanes)])))):
        at = builder.add(to[0], column.type(k))
        at = builder.select(builder.icmp_signed("<", at, last), at, last)
        pointer = element_pointer(context, builder, result_type, result, at, to[1], vector.lanes)
        builder.store(
            value.ir, builder.bitcast(pointer, vector.llvm.as_pointer()), align=vector.dtype.bitwidth // 8
        )


def _clamped(builder: Any, first: Any, k: int, last: Any) -> Any:
    position = builder.add(first, first.type(k))
    return builder.select(builder.icmp_signed("<", position, last), position, last)


def _are_matrices(source: Any, result: Any) -> bool:
    return is_plain(source, 2) and is_plain(result, 2, written=True) and source.dtype == result.dtype


@intrinsic
def take_block(typing_context, source, first, last, column, result, row, to):
    """``result[row + i, to + k] = source[min(first + k, last), column + i]`` for a vector of i and k."""
    if not _are_matrices(source, result):
        return None

    def generate(context, builder, signature, args):
        _, first, last, column, _, row, to = args
        arrays = (source, args[0]), (result, args[4])
        _emit_block(context, builder, arrays, lambda k: _clamped(builder, first, k, last), column, (row, to))
        return context.get_dummy_value()

    return types.void(source, *[types.intp] * 3, result, types.intp, types.intp), generate


@intrinsic
def gather_block(typing_context, source, indices, first, last, column, result, row, to):
    """As `take_block`, of the rows that `indices` names at first + k, last."""
    is_index = isinstance(indices, types.Array) and (indices.ndim, indices.layout) == (1, "C")
    if not (_are_matrices(source, result) and is_index and indices.dtype == types.intp):
        return None

    def generate(context, builder, signature, args):
        _, _, first, last, column, _, row, to = args
        arrays = (source, args[0]), (result, args[5])
        data = context.make_array(indices)(context, builder, args[1]).data

        def index(k: int) -> Any:
            return builder.load(builder.gep(data, [_clamped(builder, first, k, last)], inbounds=True))

        _emit_block(context, builder, arrays, index, column, (row, to))
        return context.get_dummy_value()

    return types.void(source, indices, *[types.intp] * 3, result, types.intp, types.intp), generate


@kernel
def transpose(matrix, result):
    """``result[t, r] = matrix[r, t]``; from column R on the result is arbitrary.

    Parameters
    ----------
    matrix : array (R, T)
    result : array (T, V)
        Overwritten. V is R filled up to whole vectors.
    """
    last = matrix.shape[0] - 1
    for r in range(0, matrix.shape[0], lanes(matrix)):
        for t in range(0, matrix.shape[1], lanes(matrix)):
            take_block(matrix, r, last, t, result, t, r)


@kernel
def gather_tile(X, indices, first, n, tile):
    """The samples ``indices[first : first + n]`` of a table as columns, the last again behind them.

    Parameters
    ----------
    X : array (N, I)
    indices : array of int64
    first, n : int
        `n` is 1 .. T.
    tile : array (I, T)
        Overwritten.
    """
    # Along the rows of a few samples at a time, which the processor then fetches ahead.
    for t in range(0, tile.shape[1], lanes(X)):
        for i in range(0, X.shape[1], lanes(X)):
            gather_block(X, indices, first + t, first + n - 1, i, tile, i, t)


@kernel
def take_tile(X, first, n, tile):
    """The samples `first` to `first` + `n` of a table as columns, the last again behind them.

    Parameters
    ----------
    X : array (N, I)
    first, n : int
        `n` is 1 .. T.
    tile : array (I, T)
        Overwritten.
    """
    for t in range(0, tile.shape[1], lanes(X)):
        for i in range(0, X.shape[1], lanes(X)):
            take_block(X, first + t, first + n - 1, i, tile, i, t)
