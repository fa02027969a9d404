"""Matrix products in register blocks, the innermost loops of the gates.

A block keeps a few rows of the result, several vectors wide, in registers while it adds up the terms of the
sums, so that every value loaded is used several times. The blocks are emitted instruction by instruction:
fully unrolled, without checks for overlapping arrays, and independent of LLVM's loop vectoriser.

All products have one form, ``result[r, :] = start + sum over m of coefficient(r, m) * source[m, :]``. For the
forward product and the derivative by the inputs, rows of the result run along the samples. For the derivative
by the weights, they run along the layer's outputs, and the source is the transposed derivative by the sums.
The sums are computed in chunks of terms. Each chunk visits the result in panels as wide as a block, whose
source rows stay in the first-level cache, and each panel in blocks of rows.

One function of pointers and distances for each dtype serves all products of all kernels, and is compiled once
(``compiler/shared.py``).

Shape letters: I inputs, J outputs of a layer, T samples of a tile (columns), V outputs rounded up to whole
vectors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.numba_internals import cgutils, checks_bounds, return_error
from ..compiler.shared import SharedFunction
from .matrix import Matrix, PartialRows, Rows
from .processor import VECTOR_BYTES
from .value import Value
from .vector import LLVM_TYPES, Vector, is_plain, vector_of

__all__ = ["outer_product", "product_backward", "product_forward"]

# Blocks, widest first: width in vectors, and heights in rows. The sums of the highest block leave some of the
# registers, 32 with AVX-512 and 16 without, for the factors; lower blocks are for the remaining rows.
BLOCKS: tuple[tuple[int, tuple[int, ...]], ...] = (
    ((4, (6, 4, 3, 2, 1)), (2, (8, 4, 2, 1)), (1, (8, 4, 2, 1)))
    if VECTOR_BYTES == 64
    else ((2, (6, 4, 3, 2, 1)), (1, (8, 4, 2, 1)))
)
# Terms of a chunk. A panel of this many source rows, at most 32 KB, stays in the first-level cache, and the
# coefficients, which every panel reads again, stay in the second-level cache. If the coefficients of a term
# are adjacent in memory, each term has its own cache lines, at distances for which the caches keep few of
# them: a chunk then has half as many terms.
CHUNK = 128
# Coefficients of more bytes than this leave no room in a second-level cache for source and result: each block
# then prefetches the coefficients of the next block. The processor does not prefetch them itself, because the
# cache lines of successive terms are too far apart.
DISTANT_BYTES = 1 << 20
# Number of independent sums that hide the latency of an addition.
PARALLEL_SUMS = 8


def are_plain(read: tuple, written: tuple) -> bool:
    """Return True if the types `read` and `written` are plain matrices (`is_plain`) of one dtype."""
    return (
        all(is_plain(matrix, 2) for matrix in read)
        and all(is_plain(matrix, 2, written=True) for matrix in written)
        and len({matrix.dtype for matrix in (*read, *written)}) == 1
    )


def offset_by(builder: Any, index: Any, by: int) -> Any:
    """Return ``index + by``, an IR integer."""
    return builder.add(index, index.type(by), flags=("nsw",)) if by else index


def for_blocks(
    builder: Any, begin: Any, end: Any, sizes: tuple[int, ...], unit: int, body: Callable[[Any, int], None]
) -> Any:
    """Emit calls of ``body(position, size)`` for consecutive blocks of ``size * unit`` from `begin` on.

    `sizes` are in descending order. The first size is repeated in a loop while it fits before `end`; each of
    the others is used at most once. Returns the position after the last block.
    """
    intp = begin.type
    position = cgutils.alloca_once(builder, intp)
    builder.store(begin, position)

    def fits(size: int) -> Any:
        return builder.icmp_signed("<=", offset_by(builder, builder.load(position), size * unit), end)

    def take(size: int) -> None:
        at = builder.load(position)
        body(at, size)
        builder.store(builder.add(at, intp(size * unit), flags=("nsw",)), position)

    with _while(builder, lambda: fits(sizes[0])):
        take(sizes[0])
    for size in sizes[1:]:
        with builder.if_then(fits(size)):
            take(size)
    return builder.load(position)


def _prefetch(builder: Any, pointer: Any) -> None:
    """Emit a hint to load the cache line at `pointer`: any address is allowed, and nothing else happens."""
    byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, *[integer] * 3])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    is_write, all_levels, is_data = 0, 3, 1
    flags = [integer(flag) for flag in (is_write, all_levels, is_data)]
    builder.call(function, [builder.bitcast(pointer, byte), *flags])


@contextlib.contextmanager
def _while(builder: Any, condition: Callable[[], Any]) -> Iterator[None]:
    """Wrap the instructions emitted within in a loop ``while condition():``."""
    head, body, end = (builder.append_basic_block(f"while.{part}") for part in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    builder.cbranch(condition(), body, end)
    builder.position_at_end(body)
    yield
    builder.branch(head)
    builder.position_at_end(end)


@contextlib.contextmanager
def _chunks(builder: Any, n_terms: Any, size: Any) -> Iterator[tuple[Any, Any]]:
    """Emit a loop over chunks of at most `size` terms, and yield (begin, end) of the chunk for its body.

    The loop body runs at least once: without terms, for one empty chunk.
    """
    position = cgutils.alloca_once(builder, n_terms.type)
    body, after = (builder.append_basic_block(f"chunks.{part}") for part in ("body", "end"))
    builder.store(n_terms.type(0), position)
    builder.branch(body)
    builder.position_at_end(body)
    begin = builder.load(position)
    end = builder.add(begin, size, flags=("nsw",))
    end = builder.select(builder.icmp_signed("<", end, n_terms), end, n_terms)
    yield begin, end
    builder.store(end, position)
    builder.cbranch(builder.icmp_signed("<", end, n_terms), body, after)
    builder.position_at_end(after)


# Arguments of the product's function: `P` is a pointer to elements of the matrices' dtype, `I` an integer.
ARGUMENTS = {
    "coefficients": "P", "row_distance": "I", "term_distance": "I",  # coefficient(r, m)
    "starts": "P", "start_distance": "I",  # start of every row; not read if `adds` is 1
    "source": "P", "source_distance": "I",
    "result": "P", "result_distance": "I",
    "n_rows": "I", "n_terms": "I", "n_columns": "I", "adds": "I",
}  # fmt: skip


def _product_function(dtype: Any, few_rows: bool) -> SharedFunction:
    """Return the function that computes any product of matrices of a dtype.

    The function sets ``result[r, c] = start + sum over m of coefficients[r * row_distance + m *
    term_distance] * source[m, c]``. The start is ``starts[r * start_distance]`` if `adds` is 0, and the
    previous ``result[r, c]`` if it is 1. Rows of the source are whole vectors; rows of the result need not
    be. With `few_rows`, a block of few sums divides each of them into several, which hide the latency of the
    additions; rows of the source then need not be whole vectors either.
    """
    pointer = LLVM_TYPES[dtype].as_pointer()
    kinds = [ir.IntType(64) if kind == "I" else pointer for kind in ARGUMENTS.values()]
    vector = vector_of(types.Array(dtype, 2, "C"))

    def emit(context: Any, builder: Any, *arguments: Any) -> None:
        values = dict(zip(ARGUMENTS, arguments, strict=True))
        _emit_product(context, builder, vector, few_rows, **values)

    return SharedFunction(f"fastnn_{'row_' if few_rows else ''}product_{dtype}", kinds, emit)


def _emit_product(
    context: Any, builder: Any, vector: Vector, few_rows: bool, *, coefficients: Any, row_distance: Any,
    term_distance: Any, starts: Any, start_distance: Any, source: Any, source_distance: Any, result: Any,
    result_distance: Any, n_rows: Any, n_terms: Any, n_columns: Any, adds: Any,
) -> None:  # fmt: skip
    """Emit the body of the product's function."""
    lanes, zero = vector.lanes, n_rows.type(0)
    terms = Rows(context, builder, vector, source, source_distance)
    results = Rows(context, builder, vector, result, result_distance)

    def broadcast(pointer: Any, *offsets: Any) -> Value:
        for offset in offsets:
            pointer = builder.gep(pointer, [offset], inbounds=True)
        return Value.wrap(context, builder, vector, builder.load(pointer), vector.dtype)

    def zero_cell() -> Any:
        cell = cgutils.alloca_once(builder, vector.llvm)
        builder.store(ir.Constant(vector.llvm, None), cell)
        return cell

    side_by_side = builder.icmp_signed("==", row_distance, zero.type(1))
    chunk = builder.select(side_by_side, zero.type(CHUNK // 2), zero.type(CHUNK))
    if not few_rows:
        n_coefficients = builder.mul(n_rows, n_terms)
        is_distant = builder.icmp_signed(
            ">", builder.mul(n_coefficients, zero.type(vector.dtype.bitwidth // 8)), zero.type(DISTANT_BYTES)
        )

    def panel(
        begin: Any, end: Any, column: Any, width: int, row_sizes: tuple[int, ...], terms: Rows, results: Rows
    ) -> None:
        columns = [offset_by(builder, column, lanes * v) for v in range(width)]
        continues = builder.or_(adds, builder.zext(builder.icmp_signed(">", begin, zero), adds.type))

        def block(first: Any, height: int) -> None:
            rows = [offset_by(builder, first, k) for k in range(height)]
            sums = [[cgutils.alloca_once(builder, vector.llvm) for _ in columns] for _ in rows]
            n_more = PARALLEL_SUMS // (height * width) - 1 if few_rows else 0
            more = [[[zero_cell() for _ in columns] for _ in rows] for _ in range(n_more)]
            with builder.if_else(builder.icmp_signed("!=", continues, zero)) as (continued, begun):
                with continued:
                    for row, cells in zip(rows, sums, strict=True):
                        for cell, c in zip(cells, columns, strict=True):
                            builder.store(results.load(row, c).ir, cell)
                with begun:
                    for row, cells in zip(rows, sums, strict=True):
                        start = broadcast(starts, builder.mul(row, start_distance))
                        for cell in cells:
                            builder.store(start.ir, cell)
            offsets = [builder.mul(row, row_distance) for row in rows]

            def add_term(term: Any, sums: list[list[Any]], prefetches: bool = False) -> None:
                values = [terms.load(term, c) for c in columns]
                at = builder.gep(coefficients, [builder.mul(term, term_distance)], inbounds=True)
                if prefetches:
                    # Prefetch the next block's last coefficient of this term. If a term's coefficients are
                    # adjacent, the others of the next block lie on the same cache line or on the line before,
                    # which this block reads. In the last block, the address may be outside of the matrix.
                    next_block = builder.mul(row_distance, zero.type(len(offsets)))
                    _prefetch(builder, builder.gep(at, [builder.add(offsets[-1], next_block)]))
                for offset, cells in zip(offsets, sums, strict=True):
                    factor = broadcast(at, offset)
                    for cell, value in zip(cells, values, strict=True):
                        builder.store(factor.fma(value, factor.like(builder.load(cell))).ir, cell)

            single = begin
            if n_more > 0:  # several terms at a time, each added to sums of its own
                step = zero.type(n_more + 1)
                single = builder.sub(end, builder.srem(builder.sub(end, begin), step))
                with cgutils.for_range_slice(builder, begin, single, step, inc=True) as (term, _):
                    for k, cells in enumerate([sums, *more]):
                        add_term(offset_by(builder, term, k), cells)

            def add_terms(prefetches: bool) -> None:
                with cgutils.for_range_slice(builder, single, end, zero.type(1), inc=True) as (term, _):
                    add_term(term, sums, prefetches)

            if height == row_sizes[0] and not few_rows:
                with builder.if_else(is_distant) as (distant, near):
                    with distant:
                        add_terms(True)
                    with near:
                        add_terms(False)
            else:
                add_terms(False)
            for r, row in enumerate(rows):
                for v, c in enumerate(columns):
                    parts = [
                        Value(context, builder, vector, builder.load(cells[r][v])) for cells in [sums, *more]
                    ]
                    while len(parts) > 1:
                        parts = [*map(Value.__add__, parts[::2], parts[1::2]), *parts[len(parts) & ~1 :]]
                    results.store(row, c, parts[0])

        for_blocks(builder, zero, n_rows, row_sizes, 1, block)

    rows_of_width = dict(BLOCKS)
    with _chunks(builder, n_terms, chunk) as (begin, end):
        after = for_blocks(
            builder, zero, n_columns, tuple(rows_of_width), lanes,
            lambda column, width: panel(begin, end, column, width, rows_of_width[width], terms, results),
        )  # fmt: skip
        rest = builder.sub(n_columns, after)
        with builder.if_then(builder.icmp_signed(">", rest, zero)):
            partial = PartialRows(terms, rest) if few_rows else terms
            panel(begin, end, after, 1, rows_of_width[1], partial, PartialRows(results, rest))


# The functions of all products, by dtype and `few_rows`.
PRODUCTS = {
    (dtype, few_rows): _product_function(dtype, few_rows)
    for dtype in (types.float32, types.float64)
    for few_rows in (False, True)
}


def call_product(source: Matrix, result: Matrix, few_rows: bool = False, **arguments: Any) -> None:
    """Emit a call of one of `PRODUCTS`.

    `arguments` are some of `ARGUMENTS`. By default sums start at 0, and sizes are those of the matrices.
    """
    builder, dtype = source.builder, source.type.dtype
    zero_start = cgutils.alloca_once_value(builder, LLVM_TYPES[dtype](0.0))
    one = ir.IntType(64)(1)
    values = {
        "starts": zero_start, "start_distance": one.type(0), "adds": one.type(0),
        "source": source.array.data, "source_distance": source.shape[1],
        "result": result.array.data, "result_distance": result.shape[1],
        "n_terms": source.shape[0], "n_columns": result.shape[1], "n_rows": result.shape[0],
        **arguments,
    }  # fmt: skip
    function = PRODUCTS[dtype, few_rows].declared(builder.module)
    builder.call(function, [values[name] for name in ARGUMENTS])


def check_lengths(context: Any, builder: Any, *pairs: tuple[Any, Any]) -> None:
    """Emit checks that the two lengths of each pair are equal, if bounds checking is on."""
    if checks_bounds(context):
        for left, right in pairs:
            with builder.if_then(builder.icmp_signed("!=", left, right), likely=False):
                return_error(context, builder, IndexError, "shapes of matrices do not fit a product")


def matrices(context: Any, builder: Any, signature: Any, args: Any) -> list[Matrix]:
    """Return the arrays among the arguments of an intrinsic, in order."""
    return [
        Matrix(context, builder, type, value)
        for type, value in zip(signature.args, args, strict=True)
        if isinstance(type, types.Array)
    ]


@intrinsic
def product_forward(typing_context, W, b, X, Z):
    """Compute ``Z = W^T X + b``; W (I, J), b (1, J), X (I, T), Z (J, T)."""
    if not are_plain((W, b, X), (Z,)):
        return None

    def generate(context, builder, signature, args):
        weights, bias, source, result = matrices(context, builder, signature, args)
        check_lengths(
            context, builder, (weights.shape[0], source.shape[0]), (weights.shape[1], result.shape[0]),
            (bias.shape[1], result.shape[0]), (source.shape[1], result.shape[1]),
        )  # fmt: skip
        one = weights.shape[0].type(1)
        call_product(
            source, result, coefficients=weights.array.data, row_distance=one,
            term_distance=weights.shape[1], starts=bias.array.data, start_distance=one,
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(W, b, X, Z), generate


@intrinsic
def product_backward(typing_context, W, dZ, dX):
    """Compute ``dX = W dZ``; W (I, J), dZ (J, T), dX (I, T)."""
    if not are_plain((W, dZ), (dX,)):
        return None

    def generate(context, builder, signature, args):
        weights, source, result = matrices(context, builder, signature, args)
        check_lengths(
            context, builder, (weights.shape[0], result.shape[0]), (weights.shape[1], source.shape[0]),
            (source.shape[1], result.shape[1]),
        )  # fmt: skip
        call_product(
            source, result, coefficients=weights.array.data, row_distance=weights.shape[1],
            term_distance=weights.shape[0].type(1),
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(W, dZ, dX), generate


@intrinsic
def outer_product(typing_context, X, transposed, dW, adds):
    """Compute ``dW = X dZ^T``, or add the product to dW if `adds`.

    X (I, T); transposed (T, V) is dZ^T; dW (I, J); adds is a bool.
    """
    if not are_plain((X, transposed), (dW,)):
        return None

    def generate(context, builder, signature, args):
        inputs, source, result = matrices(context, builder, signature, args)
        check_lengths(
            context, builder, (inputs.shape[0], result.shape[0]), (inputs.shape[1], source.shape[0])
        )
        one = inputs.shape[0].type(1)
        call_product(
            source, result, coefficients=inputs.array.data, row_distance=inputs.shape[1],
            term_distance=one, adds=builder.zext(args[3], one.type),
        )  # fmt: skip
        return context.get_dummy_value()

    return types.void(X, transposed, dW, types.boolean), generate
