"""Matrix products in register blocks, the innermost loops of the gates.

A block keeps a few rows of the result, several vectors wide, in registers while it adds up the terms of the
sums, so that every value loaded is used several times. The blocks are emitted instruction by instruction:
fully unrolled, without checks for overlapping arrays, and independent of LLVM's loop vectoriser.

All products have one form, ``result[r, :] = start + sum over m of coefficient(r, m) * source[m, :]``. For the
forward product and the derivative by the inputs, rows of the result run along the samples. For the derivative
by the weights, they run along the layer's outputs, and the source is the transposed derivative by the sums.
The sums are computed in chunks of terms. Each chunk visits the result in panels as wide as a block, whose
source rows stay in the first-level cache, and each panel in blocks of rows. Large products copy their
operands, so that each is read in order (``packing.py``), and visit a group of rows at a time. Where the sums
have a few terms, as behind two inputs or two outputs, a panel of the source stays in registers instead.

One function of pointers and distances for each dtype serves all products of all kernels, and is compiled once
(``compiler/shared.py``).

Shape letters: I inputs, J outputs of a layer, T samples of a tile (columns), V outputs rounded up to whole
vectors.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.numba_internals import Signature, TargetContext, cgutils, checks_bounds, return_error
from ..compiler.shared import SharedFunction
from .matrix import Matrix, PartialRows, Rows, prefetch
from .packing import PACKED_ROWS, Coefficients, PackedCoefficients, PanelCopy, Range, chunks
from .processor import LINE_BYTES, N_REGISTERS, REGISTER_BYTES, VECTOR_BYTES
from .value import Value
from .vector import LLVM_TYPES, Vector, get_vector, is_plain

# Blocks, widest first: width in vectors, and heights in rows; lower blocks are for the remaining rows.
Blocks = tuple[tuple[int, tuple[int, ...]], ...]


def choose_blocks(n_sums: int) -> Blocks:
    """Return the blocks of at most `n_sums` vectors; the widest are at most four wide and six high."""
    widest = max(width for width in (4, 2, 1) if width == 1 or 6 * width <= n_sums)
    blocks = {widest: (6, 4, 3, 2, 1), **{width: (8, 4, 2, 1) for width in (2, 1) if width < widest}}
    return tuple((width, tuple(n for n in blocks[width] if n * width <= n_sums)) for width in blocks)


# The sums of the highest block leave a quarter of the registers for the factors, except in the slowest case,
# vectors of 64 bytes in 16 registers of 16: packing shuffles the coefficients of at least two pairs of rows.
BLOCKS: Blocks = choose_blocks(max(4, N_REGISTERS * 3 // 4 // max(1, VECTOR_BYTES // REGISTER_BYTES)))
WIDEST, HIGHEST = BLOCKS[0][0], BLOCKS[0][1][0]
# A product of few rows divides the sums of a block into several, the more the fewer rows: its blocks decide
# the order of the additions, and depend on the width of the vectors alone.
ROW_BLOCKS = choose_blocks(24 if VECTOR_BYTES == 64 else 12)
# Terms of a chunk. A panel of this many source rows, at most 32 KB, stays in the first-level cache, and the
# coefficients, which every panel reads again, stay in the second-level cache. If the coefficients of a term
# are adjacent in memory and are not copied, each term has its own cache lines, at distances for which the
# caches keep few of them: a chunk then has half as many terms.
CHUNK = 128
# Terms of one iteration of the loop over packed coefficients. Unrolling saves instructions, which matter most
# where another thread computes on the same core.
UNROLLED = 4
# While packed coefficients are used, the ones this many bytes later are prefetched, as the first panel reads
# them from beyond the second-level cache.
BYTES_AHEAD = 1024
# Sums of at most this many terms are computed row by row: the source's vectors of a panel stay in registers.
FEW_TERMS = 4
# Number of independent sums that hide the latency of an addition.
PARALLEL_SUMS = 8

# Places of the sums of a block: one vector for each row and each vector of the panel's width.
Sums = list[list[ir.Value]]


def are_plain(read: tuple, written: tuple) -> bool:
    """Return True if the types `read` and `written` are plain matrices (`is_plain`) of one dtype."""
    return (
        all(is_plain(matrix, 2) for matrix in read)
        and all(is_plain(matrix, 2, written=True) for matrix in written)
        and len({matrix.dtype for matrix in (*read, *written)}) == 1
    )


def add_offset(builder: ir.IRBuilder, index: ir.Value, by: int) -> ir.Value:
    """Return ``index + by``, an IR integer."""
    return builder.add(index, index.type(by), flags=("nsw",)) if by else index


def for_blocks(
    builder: ir.IRBuilder,
    begin: ir.Value,
    end: ir.Value,
    sizes: tuple[int, ...],
    unit: int,
    body: Callable[[ir.Value, int], None],
) -> ir.Value:
    """Emit calls of ``body(position, size)`` for consecutive blocks of ``size * unit`` from `begin` on.

    `sizes` are in descending order. The first size is repeated in a loop while it fits before `end`; each of
    the others is used at most once. Returns the position after the last block.
    """
    intp = begin.type
    position = cgutils.alloca_once(builder, intp)
    builder.store(begin, position)

    def fits(size: int) -> ir.Value:
        return builder.icmp_signed("<=", add_offset(builder, builder.load(position), size * unit), end)

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


@contextlib.contextmanager
def _while(builder: ir.IRBuilder, condition: Callable[[], ir.Value]) -> Iterator[None]:
    """Wrap the instructions emitted within in a loop ``while condition():``."""
    head, body, end = (builder.append_basic_block(f"while.{part}") for part in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    builder.cbranch(condition(), body, end)
    builder.position_at_end(body)
    yield
    builder.branch(head)
    builder.position_at_end(end)


class Panel(NamedTuple):
    """Some columns of the result, `width` vectors from `column` on.

    `rows` and `terms` are the ranges of the result's rows and of the sums' terms that are computed; column 0
    of `source` is the panel's first.
    """

    rows: Range
    terms: Range
    column: ir.Value
    width: int
    source: Rows
    results: Rows


COEFFICIENTS = {"coefficients": "P", "row_distance": "I", "term_distance": "I"}  # coefficient(r, m)
# Arguments of the product's function: `P` is a pointer to elements of the matrices' dtype, `I` an integer.
ARGUMENTS = {
    **COEFFICIENTS,
    "packed": "P",  # coefficients of all whole blocks, in the order of `PackedCoefficients`; may be null
    "starts": "P",
    "start_distance": "I",  # start of every row; not read if `adds` is 1
    # Distances from one row to the next, and from a panel of the widest blocks to the next: rows that are
    # adjacent in memory have a panel's width from panel to panel.
    "source": "P",
    "source_distance": "I",
    "panel_distance": "I",
    "result": "P",
    "result_distance": "I",
    "n_rows": "I",
    "n_terms": "I",
    "n_columns": "I",
    "adds": "I",
}


def _make_product(dtype: types.Number, few_rows: bool) -> SharedFunction:
    """Return the function that computes any product of matrices of a dtype.

    The function sets ``result[r, c] = start + sum over m of coefficients[r * row_distance + m *
    term_distance] * source[m, c]``. The start is ``starts[r * start_distance]`` if `adds` is 0, and the
    previous ``result[r, c]`` if it is 1. Rows of the source are whole vectors; rows of the result need not
    be. With `few_rows`, a block of few sums divides each of them into several, which hide the latency of the
    additions; rows of the source then need not be whole vectors either.
    """
    pointer = LLVM_TYPES[dtype].as_pointer()
    kinds = [ir.IntType(64) if kind == "I" else pointer for kind in ARGUMENTS.values()]
    vector = get_vector(types.Array(dtype, 2, "C"))

    def emit(context: TargetContext, builder: ir.IRBuilder, *arguments: ir.Value) -> None:
        values = dict(zip(ARGUMENTS, arguments, strict=True))
        _Product(context, builder, vector, few_rows, **values).emit()

    return SharedFunction(f"fastnn_{'row_' if few_rows else ''}product_{dtype}", kinds, emit)


class _Product:
    """The body of a product's function: emits loops over chunks, groups of rows, panels and blocks.

    Every method emits instructions. `arguments` are the function's, by the names of `ARGUMENTS`.
    """

    def __init__(
        self,
        context: TargetContext,
        builder: ir.IRBuilder,
        vector: Vector,
        few_rows: bool,
        **arguments: ir.Value,
    ) -> None:
        self.context, self.builder, self.vector, self.few_rows = context, builder, vector, few_rows
        self.blocks = ROW_BLOCKS if few_rows else BLOCKS
        self.coefficients = Coefficients(*(arguments[name] for name in COEFFICIENTS))
        self.packed = arguments["packed"]
        self.starts, self.start_distance = arguments["starts"], arguments["start_distance"]
        self.source, self.source_distance = arguments["source"], arguments["source_distance"]
        self.panel_distance = arguments["panel_distance"]
        self.results = Rows(context, builder, vector, arguments["result"], arguments["result_distance"])
        self.n_rows, self.n_terms = arguments["n_rows"], arguments["n_terms"]
        self.n_columns, self.adds = arguments["n_columns"], arguments["adds"]
        self.zero = self.n_rows.type(0)

    def emit(self) -> None:
        """Emit the whole product."""
        builder, zero = self.builder, self.zero
        side_by_side = builder.icmp_signed("==", self.coefficients.row_distance, zero.type(1))
        chunk = builder.select(side_by_side, zero.type(CHUNK // 2), zero.type(CHUNK))
        if self.few_rows:
            with chunks(builder, self.n_terms, chunk) as terms:
                self._panels((zero, self.n_rows), terms)
            return
        general, end = (builder.append_basic_block(name) for name in ("many.terms", "product.end"))
        begins = builder.icmp_signed("==", self.adds, self.adds.type(0))
        switch = builder.switch(builder.select(begins, self.n_terms, zero), general)
        for n_terms in range(1, FEW_TERMS + 1):
            block = builder.append_basic_block(f"terms.{n_terms}")
            switch.add_case(zero.type(n_terms), block)
            builder.position_at_end(block)
            self._add_few_terms(n_terms)
            builder.branch(end)
        builder.position_at_end(general)
        self._emit_many_terms(chunk)
        builder.branch(end)
        builder.position_at_end(end)

    def _add_few_terms(self, n_terms: int) -> None:
        """Emit a product whose sums have `n_terms` terms, a constant."""
        builder, coefficients = self.builder, self.coefficients

        def panel(column: ir.Value, width: int, results: Rows) -> None:
            source = self._source_from(column)
            places = [column.type(v * self.vector.lanes) for v in range(width)]
            values = [[source.load(column.type(m), place) for place in places] for m in range(n_terms)]
            with cgutils.for_range(builder, self.n_rows) as loop:
                start = self._broadcast(self.starts, builder.mul(loop.index, self.start_distance))
                sums = [start] * width
                at = coefficients.of_block(builder, loop.index).start
                for m, vectors in enumerate(values):
                    factor = self._broadcast(at, builder.mul(column.type(m), coefficients.term_distance))
                    sums = [factor.fma(x, total) for x, total in zip(vectors, sums, strict=True)]
                for place, total in zip(places, sums, strict=True):
                    results.store(loop.index, builder.add(column, place), total)

        widths = tuple(width for width, _ in self.blocks)
        whole = functools.partial(panel, results=self.results)
        after = for_blocks(builder, self.zero, self.n_columns, widths, self.vector.lanes, whole)
        rest = builder.sub(self.n_columns, after)
        with builder.if_then(builder.icmp_signed(">", rest, self.zero)):
            panel(after, 1, PartialRows(self.results, rest))

    def _emit_many_terms(self, chunk: ir.Value) -> None:
        builder, zero = self.builder, self.zero
        self._copy = PanelCopy(
            self.context, builder, self.vector, WIDEST, CHUNK, self.source_distance, self.n_terms, self.n_rows
        )
        self._packed = PackedCoefficients(
            builder, self.vector, HIGHEST, CHUNK, self.coefficients, self.packed
        )
        n_panels = builder.sdiv(self.n_columns, zero.type(WIDEST * self.vector.lanes))
        with (
            self._packed.allocate(self.n_rows, self.n_terms, n_panels) as packs,
            self._copy.allocate(packs, n_panels),
        ):
            chunk = builder.select(packs, zero.type(CHUNK), chunk)
            group = builder.select(packs, zero.type(PACKED_ROWS), self.n_rows)
            with chunks(builder, self.n_terms, chunk) as terms, chunks(builder, self.n_rows, group) as rows:
                self._packed.pack(rows, terms)
                self._panels(rows, terms)

    def _source_from(self, column: ir.Value) -> Rows:
        """Return the rows of the source from a column on, the first of a panel."""
        builder = self.builder
        if not self.few_rows:
            width = column.type(WIDEST * self.vector.lanes)
            panel = builder.mul(builder.sdiv(column, width), self.panel_distance)
            column = builder.add(panel, builder.srem(column, width))
        pointer = builder.gep(self.source, [column])
        return Rows(self.context, builder, self.vector, pointer, self.source_distance)

    def _panels(self, rows: Range, terms: Range) -> None:
        """Emit the panels of a group of rows and a chunk of terms."""
        builder, lanes = self.builder, self.vector.lanes

        def panel(column: ir.Value, width: int) -> None:
            source = self._source_from(column)
            if not self.few_rows and width == WIDEST:
                source = self._copy.panel(rows, terms, column, source)
            self._panel(Panel(rows, terms, column, width, source, self.results))

        widths = tuple(width for width, _ in self.blocks)
        after = for_blocks(builder, self.zero, self.n_columns, widths, lanes, panel)
        rest = builder.sub(self.n_columns, after)
        with builder.if_then(builder.icmp_signed(">", rest, self.zero)):
            source = self._source_from(after)
            source = PartialRows(source, rest) if self.few_rows else source
            self._panel(Panel(rows, terms, after, 1, source, PartialRows(self.results, rest)))

    def _panel(self, panel: Panel) -> None:
        """Emit the blocks of a panel."""
        heights = dict(self.blocks)[panel.width]

        def block(first: ir.Value, height: int) -> None:
            n_more = PARALLEL_SUMS // (height * panel.width) - 1 if self.few_rows else 0
            sums = self._begin_sums(panel, first, height)
            more = [[[self._zero_cell() for _ in cells] for cells in sums] for _ in range(n_more)]
            in_matrix = self.coefficients.of_block(self.builder, first)
            if not self.few_rows and (panel.width, height) == (WIDEST, HIGHEST):
                packed = self._packed.of_block(panel.rows, first, panel.terms)
                with self.builder.if_else(self._packed.is_used) as (from_copy, from_matrix):
                    with from_copy:
                        self._prefetch_results(panel, add_offset(self.builder, first, height), height)
                        self._add_terms(panel, packed, [sums] * UNROLLED, packed=True)
                    with from_matrix:
                        self._add_terms(panel, in_matrix, [sums])
            else:
                self._add_terms(panel, in_matrix, [sums, *more])
            self._write(panel, first, [sums, *more])

        for_blocks(self.builder, *panel.rows, heights, 1, block)

    def _begin_sums(self, panel: Panel, first: ir.Value, height: int) -> Sums:
        """Return the sums of a block, by row and column: the previous results or the starts."""
        builder, columns = self.builder, self._columns(panel)
        rows = [add_offset(builder, first, k) for k in range(height)]
        sums = [[cgutils.alloca_once(builder, self.vector.llvm) for _ in columns] for _ in rows]
        is_later = builder.zext(builder.icmp_signed(">", panel.terms[0], self.zero), self.adds.type)
        continues = builder.icmp_signed("!=", builder.or_(self.adds, is_later), self.zero)
        with builder.if_else(continues) as (continued, begun):
            with continued:
                for row, cells in zip(rows, sums, strict=True):
                    for cell, c in zip(cells, columns, strict=True):
                        builder.store(panel.results.load(row, c).ir, cell)
            with begun:
                for row, cells in zip(rows, sums, strict=True):
                    start = self._broadcast(self.starts, builder.mul(row, self.start_distance))
                    for cell in cells:
                        builder.store(start.ir, cell)
        return sums

    def _prefetch_results(self, panel: Panel, first: ir.Value, height: int) -> None:
        """Prefetch the first cache line of each of a block's rows of the result.

        Since the last visit of the block, other chunks and groups have displaced them.
        """
        for k in range(height):
            panel.results.prefetch(add_offset(self.builder, first, k), panel.column)

    def _prefetch_packed(self, coefficients: Coefficients, term: ir.Value, n_terms: int) -> None:
        """Prefetch packed coefficients, as many cache lines as `n_terms` terms have."""
        builder, item_bytes = self.builder, self.vector.dtype.bitwidth // 8
        at = builder.gep(coefficients.start, [builder.mul(term, coefficients.term_distance)])
        for offset in range(0, n_terms * HIGHEST * item_bytes, LINE_BYTES):
            prefetch(builder, builder.gep(at, [term.type((BYTES_AHEAD + offset) // item_bytes)]))

    def _add_terms(
        self, panel: Panel, coefficients: Coefficients, sums: list[Sums], packed: bool = False
    ) -> None:
        """Add the terms of a block.

        `sums` has a set of sums for each of the terms that one iteration adds; the sets may be the same. The
        remaining terms are added to the first. `packed` coefficients are prefetched.
        """
        builder, (position, end), one = self.builder, panel.terms, self.zero.type(1)
        offsets = [builder.mul(one.type(k), coefficients.row_distance) for k in range(len(sums[0]))]
        if not isinstance(coefficients.row_distance, ir.Constant):
            offsets = [offsets[0], *map(self._opaque, offsets[1:])]
        places = [one.type(v * self.vector.lanes) for v in range(panel.width)]

        def add_term(term: ir.Value, sums: Sums) -> None:
            values = [panel.source.load(term, place) for place in places]
            at = builder.gep(coefficients.start, [builder.mul(term, coefficients.term_distance)])
            for offset, cells in zip(offsets, sums, strict=True):
                factor = self._broadcast(at, offset)
                for cell, value in zip(cells, values, strict=True):
                    builder.store(factor.fma(value, factor.like(builder.load(cell))).ir, cell)

        if len(sums) > 1:
            step = one.type(len(sums))
            whole = builder.sub(end, builder.srem(builder.sub(end, position), step))
            with cgutils.for_range_slice(builder, position, whole, step, inc=True) as (term, _):
                if packed:
                    self._prefetch_packed(coefficients, term, len(sums))
                for k, cells in enumerate(sums):
                    add_term(add_offset(builder, term, k), cells)
            position = whole
        with cgutils.for_range_slice(builder, position, end, one, inc=True) as (term, _):
            add_term(term, sums[0])

    def _write(self, panel: Panel, first: ir.Value, sums: list[Sums]) -> None:
        """Write the totals of the sums of a block to the result."""
        for r in range(len(sums[0])):
            for v, column in enumerate(self._columns(panel)):
                cells = [part[r][v] for part in sums]
                parts = [Value(self.context, self.builder, self.vector, self.builder.load(c)) for c in cells]
                while len(parts) > 1:
                    parts = [*map(Value.__add__, parts[::2], parts[1::2]), *parts[len(parts) & ~1 :]]
                panel.results.store(add_offset(self.builder, first, r), column, parts[0])

    def _columns(self, panel: Panel) -> list[ir.Value]:
        """Return the first column of each vector of a panel."""
        return [add_offset(self.builder, panel.column, v * self.vector.lanes) for v in range(panel.width)]

    def _broadcast(self, pointer: ir.Value, offset: ir.Value) -> Value:
        """Return a vector with the element at `offset` in every lane."""
        element = self.builder.load(self.builder.gep(pointer, [offset], inbounds=True))
        return Value.wrap(self.context, self.builder, self.vector, element, self.vector.dtype)

    def _opaque(self, value: ir.Value) -> ir.Value:
        """Hide from LLVM how a value was computed, so that it keeps the value in a register.

        LLVM would otherwise derive each coefficient's address from the one before, by an addition.
        """
        kind = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(kind, "", "=r,0", [value], side_effect=False)

    def _zero_cell(self) -> ir.Value:
        """Return a place for a vector, set to zero."""
        cell = cgutils.alloca_once(self.builder, self.vector.llvm)
        self.builder.store(ir.Constant(self.vector.llvm, None), cell)
        return cell


# The functions of all products, by dtype and `few_rows`.
PRODUCTS = {
    (dtype, few_rows): _make_product(dtype, few_rows)
    for dtype in (types.float32, types.float64)
    for few_rows in (False, True)
}


def call_product(source: Matrix, result: Matrix, few_rows: bool = False, **arguments: ir.Value) -> None:
    """Emit a call of one of `PRODUCTS`.

    `arguments` are some of `ARGUMENTS`. By default sums start at 0, the matrices have the sizes, and the
    coefficients were not packed before.
    """
    builder, dtype = source.builder, source.type.dtype
    zero_start = cgutils.alloca_once_value(builder, LLVM_TYPES[dtype](0.0))
    one = ir.IntType(64)(1)
    width = one.type(WIDEST * source.vector.lanes)
    values = {
        "packed": zero_start.type(None),
        "starts": zero_start,
        "start_distance": one.type(0),
        "adds": one.type(0),
        "source": source.array.data,
        "source_distance": source.shape[1],
        "panel_distance": width,
        "result": result.array.data,
        "result_distance": result.shape[1],
        "n_terms": source.shape[0],
        "n_columns": result.shape[1],
        "n_rows": result.shape[0],
        **arguments,
    }
    function = PRODUCTS[dtype, few_rows].declare(builder.module)
    builder.call(function, [values[name] for name in ARGUMENTS])


def check_lengths(context: TargetContext, builder: ir.IRBuilder, *pairs: tuple[ir.Value, ir.Value]) -> None:
    """Emit checks that the two lengths of each pair are equal, if bounds checking is on."""
    if checks_bounds(context):
        for left, right in pairs:
            with builder.if_then(builder.icmp_signed("!=", left, right), likely=False):
                return_error(context, builder, IndexError, "shapes of matrices do not fit a product")


def matrices(
    context: TargetContext, builder: ir.IRBuilder, signature: Signature, args: Sequence[ir.Value]
) -> list[Matrix]:
    """Return the arrays among the arguments of an intrinsic, in order."""
    return [
        Matrix(context, builder, type, value)
        for type, value in zip(signature.args, args, strict=True)
        if isinstance(type, types.Array)
    ]


@intrinsic
def product_forward(typing_context, W, b, X, packed, Z):
    """Compute ``Z = W^T X + b``; W (I, J), b (1, J), X (I, T), Z (J, T).

    packed (1, C) is filled by `gate.pack`; it is None, or has no columns, if the weights are not packed.
    """
    is_packed = packed is not types.none
    if not are_plain((W, b, X, packed) if is_packed else (W, b, X), (Z,)):
        return None

    def generate(context, builder, signature, args):
        weights, bias, source, *copies, result = matrices(context, builder, signature, args)
        check_lengths(
            context,
            builder,
            (weights.shape[0], source.shape[0]),
            (weights.shape[1], result.shape[0]),
            (bias.shape[1], result.shape[0]),
            (source.shape[1], result.shape[1]),
        )
        one = weights.shape[0].type(1)
        pointer = weights.array.data.type(None)
        for copy in copies:
            is_filled = builder.icmp_signed(">", copy.shape[1], one.type(0))
            rest = builder.srem(weights.shape[1], one.type(HIGHEST))
            size = builder.mul(weights.shape[0], builder.sub(weights.shape[1], rest))
            check_lengths(context, builder, (copy.shape[1], builder.select(is_filled, size, one.type(0))))
            pointer = builder.select(is_filled, copy.array.data, pointer)
        call_product(
            source,
            result,
            coefficients=weights.array.data,
            row_distance=one,
            packed=pointer,
            term_distance=weights.shape[1],
            starts=bias.array.data,
            start_distance=one,
        )
        return context.get_dummy_value()

    return types.void(W, b, X, packed, Z), generate


@intrinsic
def product_backward(typing_context, W, dZ, dX):
    """Compute ``dX = W dZ``; W (I, J), dZ (J, T), dX (I, T)."""
    if not are_plain((W, dZ), (dX,)):
        return None

    def generate(context, builder, signature, args):
        weights, source, result = matrices(context, builder, signature, args)
        check_lengths(
            context,
            builder,
            (weights.shape[0], result.shape[0]),
            (weights.shape[1], source.shape[0]),
            (source.shape[1], result.shape[1]),
        )
        call_product(
            source,
            result,
            coefficients=weights.array.data,
            row_distance=weights.shape[1],
            term_distance=weights.shape[0].type(1),
        )
        return context.get_dummy_value()

    return types.void(W, dZ, dX), generate


@intrinsic
def outer_product(typing_context, X, panels, dW, adds):
    """Compute ``dW = X dZ^T``, or add the product to dW if `adds`.

    X (I, T); panels (K T, W) are the K panels of dZ^T (`tile.transpose_panels`): W is `panel_width`, or less
    if there is one panel alone; dW (I, J); adds is a bool.
    """
    if not are_plain((X, panels), (dW,)):
        return None

    def generate(context, builder, signature, args):
        inputs, source, result = matrices(context, builder, signature, args)
        (n_rows, width), n_terms, one = source.shape, inputs.shape[1], inputs.shape[0].type(1)
        widest = one.type(WIDEST * source.vector.lanes)
        n_panels = builder.udiv(builder.sub(builder.add(result.shape[1], width), one), width)
        is_one = builder.icmp_signed("==", n_panels, one)
        narrow = builder.and_(is_one, builder.icmp_signed("<", width, widest))
        check_lengths(
            context,
            builder,
            (inputs.shape[0], result.shape[0]),
            (n_rows, builder.mul(n_panels, n_terms)),
            (builder.select(narrow, widest, width), widest),
        )
        call_product(
            source,
            result,
            coefficients=inputs.array.data,
            row_distance=n_terms,
            term_distance=one,
            n_terms=n_terms,
            panel_distance=builder.mul(n_terms, widest),
            adds=builder.zext(args[3], one.type),
        )
        return context.get_dummy_value()

    return types.void(X, panels, dW, types.boolean), generate


@intrinsic
def panel_width(typing_context, matrix):
    """Return the number of columns of the widest panel of products, at most four cache lines."""
    width = WIDEST * get_vector(matrix).lanes
    return types.intp(matrix), lambda context, builder, signature, args: context.get_constant(
        types.intp, width
    )
