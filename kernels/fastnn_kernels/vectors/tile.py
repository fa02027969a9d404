"""Transposition of tables, in which a sample is a row, to tiles, in which a sample is a column.

As many rows as a vector has lanes are transposed together, 16 bytes (a piece) of each row at a time. The
pieces of several rows are loaded side by side into one vector, and permutations within pieces, the cheapest
permutations, complete the transposition.

Shape letters: N samples, I features, T samples of a tile (a whole number of vectors); of any matrix, R rows,
and V, which is R rounded up to whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.jit import kernel
from ..compiler.numba_internals import ArrayFields, cgutils, checks_bounds
from .processor import PIECE_BYTES
from .value import Value
from .vector import ArrayOperand, Vector, is_plain, lanes, rows


def _emit_rows(
    source: ArrayOperand, result: ArrayOperand, row: Callable[[int], ir.Value], begin: ir.Value, to: ir.Value
) -> None:
    """Emit ``result[i, to + k] = source[row(k), begin + i]`` for all rows i of the result and lanes k.

    `row(k)` returns an IR integer.
    """
    context, builder, n = source.context, source.builder, result.shape[0]
    vector = source.vector
    width = PIECE_BYTES * 8 // vector.dtype.bitwidth
    if checks_bounds(context):
        with builder.if_then(builder.icmp_signed(">", n, n.type(0))):
            last = builder.sub(builder.add(begin, n), n.type(1))
            for k in range(vector.lanes):
                source.pointer(row(k), last)
    rows = [source.unchecked_pointer(row(k), begin) for k in range(vector.lanes)]
    piece = Value(context, builder, Vector(vector.dtype, width), None).constant(0.0)

    def transpose_columns(column: ir.Value, mask: Value | None) -> list[Value]:
        """Return `width` columns from `column` on, each as a vector; with a mask, read only its columns."""
        pieces = []
        for pointer in rows:
            at = builder.bitcast(builder.gep(pointer, [column], inbounds=True), piece.type.llvm.as_pointer())
            if mask is None:
                pieces.append(piece.like(builder.load(at, align=vector.dtype.bitwidth // 8)))
            else:
                pieces.append(piece.masked_load(at, mask))
        sides = [Value.side_by_side(pieces[k::width]) for k in range(width)]
        # The index of a value is (number of the vector, place in the piece). A perfect shuffle rotates the
        # bits of this index by one: as many shuffles as the place has bits exchange the two parts.
        half = width // 2
        for _ in range(half.bit_length()):
            pairs = [sides[k].interleave(sides[k + half]) for k in range(half)]
            sides = [value for pair in pairs for value in pair]
        return sides

    def write(value: Value, i: ir.Value) -> None:
        builder.store(value.ir, result.vector_pointer(i, to), align=vector.dtype.bitwidth // 8)

    whole = builder.and_(n, n.type(-width))
    with cgutils.for_range_slice(builder, n.type(0), whole, n.type(width), inc=True) as (i, _):
        for k, value in enumerate(transpose_columns(i, None)):
            write(value, builder.add(i, n.type(k)))
    rest = builder.sub(n, whole)
    with builder.if_then(builder.icmp_signed(">", rest, n.type(0))):
        limit = Value.wrap(context, builder, piece.type, rest, types.intp)
        for k, value in enumerate(transpose_columns(whole, piece.lane_numbers() < limit)[:-1]):
            with builder.if_then(builder.icmp_signed(">", rest, n.type(k))):
                write(value, builder.add(whole, n.type(k)))


def _clamp(builder: ir.IRBuilder, first: ir.Value, k: int, last: ir.Value) -> ir.Value:
    """Return ``min(first + k, last)``, an IR integer."""
    position = builder.add(first, first.type(k))
    return builder.select(builder.icmp_signed("<", position, last), position, last)


def _are_matrices(source: types.Array, result: types.Array) -> bool:
    return is_plain(source, 2) and is_plain(result, 2, written=True) and source.dtype == result.dtype


@intrinsic
def transpose_rows(typing_context, source, first, last, begin, result, to):
    """Set ``result[i, to + k] = source[min(first + k, last), begin + i]`` for all rows i and lanes k."""
    if not _are_matrices(source, result):
        return None

    def generate(context, builder, signature, args):
        _, first, last, begin, _, to = args
        table = ArrayOperand(context, builder, source, args[0])
        tile = ArrayOperand(context, builder, result, args[4])
        _emit_rows(table, tile, lambda k: _clamp(builder, first, k, last), begin, to)
        return context.get_dummy_value()

    return types.void(source, *[types.intp] * 3, result, types.intp), generate


@intrinsic
def gather_rows(typing_context, source, indices, first, last, begin, result, to):
    """Set ``result[i, to + k] = source[indices[min(first + k, last)], begin + i]`` for all i and lanes k."""
    is_index = isinstance(indices, types.Array) and (indices.ndim, indices.layout) == (1, "C")
    if not (_are_matrices(source, result) and is_index and indices.dtype == types.intp):
        return None

    def generate(context, builder, signature, args):
        _, _, first, last, begin, _, to = args
        table = ArrayOperand(context, builder, source, args[0])
        tile = ArrayOperand(context, builder, result, args[5])
        data = ArrayFields(context, builder, indices, args[1]).data

        def index(k: int) -> ir.Value:
            return builder.load(builder.gep(data, [_clamp(builder, first, k, last)], inbounds=True))

        _emit_rows(table, tile, index, begin, to)
        return context.get_dummy_value()

    return types.void(source, indices, *[types.intp] * 3, result, types.intp), generate


@kernel
def transpose(matrix, result):
    """Set ``result[t, r] = matrix[r, t]``; the columns of the result from R on are arbitrary.

    matrix (R, T); result (T, V), where V is R rounded up to whole vectors.
    """
    last = matrix.shape[0] - 1
    for r in range(0, matrix.shape[0], lanes(matrix)):
        transpose_rows(matrix, r, last, 0, result, r)


@kernel
def transpose_panels(matrix, panels):
    """Copy the transposed matrix in panels of W columns: ``panels[p T + t, k] = matrix[p W + k, t]``.

    `product.outer_product` reads its source in this order. What has no counterpart in the matrix is
    arbitrary.

    matrix (R, T); panels (K T, W), where W is a whole number of vectors and K is R / W, rounded up.
    """
    n_rows, T = matrix.shape
    width = panels.shape[1]
    for r in range(0, n_rows, lanes(matrix)):
        begin = r // width * T
        transpose_rows(matrix, r, n_rows - 1, 0, rows(panels, begin, begin + T), r % width)


@kernel
def gather_tile(X, indices, first, n, tile):
    """Copy the samples ``indices[first : first + n]`` of a table to columns; pad with the last of them.

    X (N, I); tile (I, T); 1 <= n <= T.
    """
    for t in range(0, tile.shape[1], lanes(X)):
        gather_rows(X, indices, first + t, first + n - 1, 0, tile, t)


@kernel
def copy_tile(X, first, n, tile):
    """Copy the samples ``first : first + n`` of a table to columns; pad with the last of them.

    X (N, I); tile (I, T); 1 <= n <= T.
    """
    for t in range(0, tile.shape[1], lanes(X)):
        transpose_rows(X, first + t, first + n - 1, 0, tile, t)
