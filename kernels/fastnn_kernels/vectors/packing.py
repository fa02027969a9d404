"""Contiguous copies of the operands of a product.

A product reads a block of coefficients once for each panel of columns, and a panel of source rows once for
each block of rows. If the rows of a matrix are far apart in memory, most of these reads miss the caches: each
uses a part of a cache line only, on a page of its own, and rows whose distance is a power of two share few of
a cache's sets. A copy in the order in which it is read costs one pass, and the reads that follow are
sequential. Results have the same bits with and without copies.

Source: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", ACM Transactions on
Mathematical Software 34 (2008), sections 4 and 5.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from llvmlite import ir

from ..compiler.numba_internals import TargetContext, cgutils
from .matrix import Rows, prefetch
from .processor import LINE_BYTES, REGISTER_BYTES, VECTOR_BYTES
from .vector import LLVM_TYPES, Vector

# True if blocks have the registers of AVX-512: panels are then four times as wide, and fewer of them read the
# coefficients.
IS_WIDE = REGISTER_BYTES == 64
# Rows of the result whose coefficients are packed at a time, a multiple of the highest block. With 128 terms
# they are at most 96 KB, which stay in the second-level cache.
PACKED_ROWS = 96
# Coefficients of more bytes than this are packed, if at least PACKED_PANELS panels read them.
PACKED_BYTES, PACKED_PANELS = 1 << 20 if IS_WIDE else 1 << 16, 2
# While one term's coefficients are packed, the coefficients TERMS_AHEAD terms later are prefetched: the
# processor prefetches along a row of the matrix by itself, but not from one row to the next.
TERMS_AHEAD = 16
# Terms whose coefficients are packed together if a row's are adjacent, an even number.
PACKED_TERMS = 4
# A panel is copied if at least COPIED_ROWS rows of the result read it, if the source's rows are a multiple of
# COPIED_DISTANCE apart, and if the source has at least COPIED_BYTES. At these distances the rows compete
# for few sets of the first-level cache; at others they are spread over all sets.
COPIED_ROWS, COPIED_DISTANCE, COPIED_BYTES = 48, 1024 if IS_WIDE else 256, 1 << 14

# First index and end of a range, two IR integers.
Range = tuple[ir.Value, ir.Value]


@contextlib.contextmanager
def chunks(builder: ir.IRBuilder, total: ir.Value, size: ir.Value) -> Iterator[Range]:
    """Emit a loop over chunks of at most `size` of `total` items, and yield each chunk for its body.

    The loop body runs at least once: without items, for one empty chunk.
    """
    position = cgutils.alloca_once(builder, total.type)
    body, after = (builder.append_basic_block(f"chunks.{part}") for part in ("body", "end"))
    builder.store(total.type(0), position)
    builder.branch(body)
    builder.position_at_end(body)
    begin = builder.load(position)
    end = builder.add(begin, size, flags=("nsw",))
    end = builder.select(builder.icmp_signed("<", end, total), end, total)
    yield begin, end
    builder.store(end, position)
    builder.cbranch(builder.icmp_signed("<", end, total), body, after)
    builder.position_at_end(after)


@contextlib.contextmanager
def _memory(builder: ir.IRBuilder, wanted: ir.Value, n_bytes: ir.Value) -> Iterator[ir.Value]:
    """Allocate memory for the duration of the emitted body, and yield its address, the start of a cache line.

    The address is null if the bit `wanted` is not set, or if memory is short.
    """
    byte = ir.IntType(8).as_pointer()
    allocate, free = (
        cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [argument]), name)
        for name, result, argument in (("malloc", byte, n_bytes.type), ("free", ir.VoidType(), byte))
    )
    place = cgutils.alloca_once_value(builder, byte(None))
    rest = n_bytes.type(LINE_BYTES - 1)
    with builder.if_then(wanted):
        builder.store(builder.call(allocate, [builder.add(n_bytes, rest)]), place)
    memory = builder.load(place)
    line = builder.and_(builder.add(builder.ptrtoint(memory, n_bytes.type), rest), builder.not_(rest))
    yield builder.inttoptr(line, byte)  # null remains null
    with builder.if_then(cgutils.is_not_null(builder, memory)):
        builder.call(free, [memory])


class Coefficients(NamedTuple):
    """Coefficients in memory: ``coefficient(r, m)`` is ``start[r * row_distance + m * term_distance]``."""

    start: ir.Value
    row_distance: ir.Value
    term_distance: ir.Value

    def of_block(self, builder: ir.IRBuilder, first: ir.Value) -> Coefficients:
        """Return the coefficients of the rows from `first` on."""
        start = builder.gep(self.start, [builder.mul(first, self.row_distance)])
        return Coefficients(start, self.row_distance, self.term_distance)


def _columns(builder: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """Return the columns of a matrix; rows, an even number, are IR vectors of `PACKED_TERMS` elements."""

    def shuffle(first: ir.Value, second: ir.Value, places: list[int]) -> ir.Value:
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places)
        return builder.shuffle_vector(first, second, mask)

    n, columns = PACKED_TERMS, []
    for begin in (0, n // 2):
        # Half of the columns: their elements of two rows in turns.
        places = [column + row for column in range(begin, begin + n // 2) for row in (0, n)]
        pairs = [shuffle(*two, places) for two in zip(rows[::2], rows[1::2], strict=True)]
        for at in range(0, n, 2):
            column, size = shuffle(pairs[0], pairs[1], [at, at + 1, n + at, n + at + 1]), 4
            for pair in pairs[2:]:
                column = shuffle(column, pair, [*range(size), size + at, size + at + 1])
                size += 2
            columns.append(column)
    return columns


class PackedCoefficients:
    """Coefficients of a group of rows and a chunk of terms, packed block by block.

    A block has `height` rows. The coefficients of a term are adjacent, followed by the next term's.

    Parameters
    ----------
    builder : IRBuilder
        Builder of the function.
    vector : Vector
        Vectors of the matrices' dtype.
    height : int
        Rows of the highest block.
    max_terms : int
        Largest number of terms that are packed at a time.
    coefficients : Coefficients
        Coefficients of the whole product; adjacent ones belong to one term, or to one row.
    given : IR pointer
        The coefficients of all rows, packed by the caller chunk after chunk, each chunk block by block; null
        if the caller packed none.

    Attributes
    ----------
    is_used : IR integer
        A bit that is set if the product reads packed coefficients. It exists within `allocate`.
    """

    def __init__(
        self,
        builder: ir.IRBuilder,
        vector: Vector,
        height: int,
        max_terms: int,
        coefficients: Coefficients,
        given: ir.Value,
    ) -> None:
        self._builder, self._height, self._max_terms = builder, height, max_terms
        self._all, self._given = coefficients, given
        self._element, self._item_bytes = LLVM_TYPES[vector.dtype], vector.dtype.bitwidth // 8

    @contextlib.contextmanager
    def allocate(self, n_rows: ir.Value, n_terms: ir.Value, n_panels: ir.Value) -> Iterator[ir.Value]:
        """Allocate memory for the duration of the emitted body, and yield `is_used`.

        It is not set if the product is small, or if memory is short. Given coefficients need no memory.
        """
        builder, integer = self._builder, n_rows.type
        n_bytes = builder.mul(builder.mul(n_rows, n_terms), integer(self._item_bytes))
        is_given = cgutils.is_not_null(builder, self._given)
        pays = builder.and_(
            builder.icmp_signed(">", n_bytes, integer(PACKED_BYTES)),
            builder.icmp_signed(">=", n_panels, integer(PACKED_PANELS)),
        )
        size = integer(PACKED_ROWS * self._max_terms * self._item_bytes)
        with _memory(builder, builder.and_(pays, builder.not_(is_given)), size) as address:
            self._is_own = cgutils.is_not_null(builder, address)
            own = builder.bitcast(address, self._given.type)
            self._data = builder.select(is_given, self._given, own)
            # All bits are set if a group of rows and a chunk are packed at a time, none if all of them are.
            self._group_mask = builder.sext(builder.not_(is_given), integer)
            n_whole = builder.sub(n_rows, builder.srem(n_rows, integer(self._height)))
            self._term_size = builder.select(is_given, n_whole, integer(0))
            self.is_used = builder.or_(is_given, self._is_own)
            yield self.is_used

    def pack(self, rows: Range, terms: Range) -> None:
        """Pack the coefficients of a group of rows and a chunk of terms.

        Rows after the last whole block are left out. Nothing happens if the coefficients were given, or if
        they are not packed at all.
        """
        builder, (first, end), one = self._builder, rows, rows[0].type(1)
        rest = builder.srem(builder.sub(end, first), one.type(self._height))
        whole = first, builder.sub(end, rest)
        side_by_side = builder.icmp_signed("==", self._all.row_distance, one)
        with builder.if_then(self._is_own), builder.if_else(side_by_side) as (adjacent, apart):
            with adjacent:
                self._pack_rows(whole, terms)
            with apart:
                self._pack_elements(whole, terms)

    def _pack_rows(self, rows: Range, terms: Range) -> None:
        """Pack the coefficients term by term; the source has a term's side by side."""
        builder, (begin, end), one = self._builder, terms, rows[0].type(1)
        several = ir.VectorType(self._element, self._height).as_pointer()
        ahead = builder.mul(self._all.term_distance, one.type(TERMS_AHEAD))
        with cgutils.for_range_slice(builder, begin, end, one, inc=True) as (term, _):
            start = builder.gep(self._all.start, [builder.mul(term, self._all.term_distance)])
            with self._blocks(rows) as row:
                source = builder.gep(start, [row])
                prefetch(builder, builder.gep(source, [ahead]))
                values = builder.load(builder.bitcast(source, several), align=self._item_bytes)
                place = self._place(rows, row, terms, term)
                builder.store(values, builder.bitcast(place, several), align=self._item_bytes)

    def _pack_elements(self, rows: Range, terms: Range) -> None:
        """Pack the coefficients block by block; the source has a row's side by side."""
        builder, (begin, end), one = self._builder, terms, rows[0].type(1)
        several = one.type(PACKED_TERMS)
        of_row, of_term = (
            ir.VectorType(self._element, size).as_pointer() for size in (PACKED_TERMS, self._height)
        )
        whole = builder.sub(end, builder.srem(builder.sub(end, begin), several))
        ahead = builder.mul(self._all.row_distance, one.type(self._height))
        with self._blocks(rows) as row:
            start = self._all.of_block(builder, row).start
            offsets = [builder.mul(self._all.row_distance, one.type(k)) for k in range(self._height)]
            starts = [builder.gep(start, [offset]) for offset in offsets]
            with cgutils.for_range_slice(builder, begin, whole, several, inc=True) as (term, _):
                sources = [builder.gep(start, [term]) for start in starts]
                for source in sources:  # the next block's
                    prefetch(builder, builder.gep(source, [ahead]))
                values = [builder.bitcast(source, of_row) for source in sources]
                values = [builder.load(value, align=self._item_bytes) for value in values]
                place = self._place(rows, row, terms, term)
                for k, value in enumerate(_columns(builder, values)):
                    at = builder.gep(place, [one.type(k * self._height)])
                    builder.store(value, builder.bitcast(at, of_term), align=self._item_bytes)
            with cgutils.for_range_slice(builder, whole, end, one, inc=True) as (term, _):
                place = self._place(rows, row, terms, term)
                for k, start in enumerate(starts):
                    builder.store(builder.load(builder.gep(start, [term])), builder.gep(place, [one.type(k)]))

    @contextlib.contextmanager
    def _blocks(self, rows: Range) -> Iterator[ir.Value]:
        """Emit a loop over blocks of rows, and yield the first row of each for its body."""
        step = rows[0].type(self._height)
        with cgutils.for_range_slice(self._builder, *rows, step, inc=True) as (row, _):
            yield row

    def of_block(self, rows: Range, first: ir.Value, terms: Range) -> Coefficients:
        """Return the packed coefficients of the block of `rows` whose first row is `first`.

        The start is the place of term 0, but only `terms`, which were packed, may be read.
        """
        one = first.type(1)
        start = self._place(rows, first, terms, one.type(0))
        return Coefficients(start, one, one.type(self._height))

    def _place(self, rows: Range, row: ir.Value, terms: Range, term: ir.Value) -> ir.Value:
        """Return the place of the first coefficient of a block's term; `row` is the block's first."""
        builder, integer = self._builder, row.type
        begin, end = terms
        row = builder.sub(row, builder.and_(rows[0], self._group_mask))
        chunk = builder.mul(begin, self._term_size)
        block = builder.mul(row, builder.sub(end, begin))
        offset = builder.mul(builder.sub(term, begin), integer(self._height))
        return builder.gep(self._data, [builder.add(chunk, builder.add(block, offset))])


class PanelCopy:
    """Copies of the panels of the source's rows, with one row right after the other.

    If the rows of the result are computed in groups, the first group copies every panel, and the others read
    the copies: a chunk has a place for each of them. Otherwise all panels use the same place.

    Parameters
    ----------
    context, builder
        Numba's target context, and the builder of the function.
    vector : Vector
        Vectors of the matrices' dtype.
    width : int
        Width of the panels in vectors.
    max_terms : int
        Largest number of rows of a panel.
    source_distance : IR integer
        Number of elements from one row of the source to the next.
    n_terms, n_rows : IR integer
        Number of rows of the source and of the result.
    """

    def __init__(
        self,
        context: TargetContext,
        builder: ir.IRBuilder,
        vector: Vector,
        width: int,
        max_terms: int,
        source_distance: ir.Value,
        n_terms: ir.Value,
        n_rows: ir.Value,
    ) -> None:
        self._context, self._builder, self._vector, self._width = context, builder, vector, width
        self._element, self._item_bytes = LLVM_TYPES[vector.dtype], vector.dtype.bitwidth // 8
        self._distance, self._size = source_distance, max_terms * width * vector.lanes
        integer = n_terms.type
        rest = builder.and_(source_distance, integer(COPIED_DISTANCE // self._item_bytes - 1))
        n_elements = builder.mul(n_terms, source_distance)
        pays = builder.and_(
            builder.icmp_signed("==", rest, integer(0)),
            builder.icmp_signed(">=", n_elements, integer(COPIED_BYTES // self._item_bytes)),
        )
        self._pays = builder.and_(pays, builder.icmp_signed(">=", n_rows, integer(COPIED_ROWS)))

    @contextlib.contextmanager
    def allocate(self, in_groups: ir.Value, n_panels: ir.Value) -> Iterator[None]:
        """Allocate memory for the duration of the emitted body.

        `in_groups` is a bit that is set if the rows of the result are computed in groups.
        """
        builder, integer = self._builder, n_panels.type
        with builder.goto_entry_block():
            one = builder.alloca(ir.ArrayType(self._element, self._size))
            one.align = VECTOR_BYTES
        n_bytes = builder.mul(n_panels, integer(self._size * self._item_bytes))
        with _memory(builder, builder.and_(in_groups, self._pays), n_bytes) as address:
            has_all = cgutils.is_not_null(builder, address)
            pointer = self._element.as_pointer()
            self._data = builder.select(
                has_all, builder.bitcast(address, pointer), builder.bitcast(one, pointer)
            )
            self._panel_size = builder.select(has_all, integer(self._size), integer(0))
            self._has_all = has_all
            yield

    def panel(self, rows: Range, terms: Range, column: ir.Value, source: Rows) -> Rows:
        """Return the source's rows of some terms, whose column 0 is `column`.

        source: the same rows in the source itself, which are copied if it pays. `rows`: rows of the result.
        """
        context, builder, vector = self._context, self._builder, self._vector
        (first, _), (begin, end) = rows, terms
        integer = begin.type
        distance = integer(self._width * vector.lanes)
        place = builder.mul(builder.sdiv(column, distance), self._panel_size)
        # The copy begins with the term `begin`.
        place = builder.sub(place, builder.mul(begin, distance))
        copied = builder.gep(self._data, [place])
        copy = Rows(context, builder, vector, copied, distance, has_first=False)
        is_later = builder.and_(self._has_all, builder.icmp_signed(">", first, integer(0)))
        with (
            builder.if_then(builder.and_(self._pays, builder.not_(is_later))),
            cgutils.for_range_slice(builder, begin, end, integer(1), inc=True) as (term, _),
        ):
            for v in range(self._width):
                offset = integer(v * vector.lanes)
                copy.store(term, offset, source.load(term, offset))
        pointer = builder.select(self._pays, copied, source.pointer)
        distance = builder.select(self._pays, distance, self._distance)
        return Rows(context, builder, vector, pointer, distance, has_first=False)
