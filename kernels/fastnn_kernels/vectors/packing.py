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
from typing import Any, NamedTuple

from llvmlite import ir

from ..compiler.numba_internals import cgutils
from .matrix import Rows, prefetch
from .processor import REGISTER_BYTES, VECTOR_BYTES
from .vector import LLVM_TYPES, Vector

__all__ = [
    "COPIED_DISTANCE", "PACKED_BYTES", "PACKED_ROWS", "Coefficients", "PackedCoefficients", "PanelCopy",
    "Range", "chunks",
]  # fmt: skip

# True if blocks have the registers of AVX-512: panels are then four times as wide, and fewer of them read the
# coefficients.
IS_WIDE = REGISTER_BYTES == 64
# Rows of the result whose coefficients are packed at a time, a multiple of the highest block. With 128 terms
# they are at most 96 KB, which stay in the second-level cache.
PACKED_ROWS = 96
# Coefficients of more bytes than this are packed, if at least so many panels read them.
PACKED_BYTES, PACKED_PANELS = 1 << 20 if IS_WIDE else 1 << 16, 2
# While one term's coefficients are packed, those of so many terms later are prefetched: the processor
# prefetches along a row of the matrix by itself, but not from one row to the next.
TERMS_AHEAD = 8
# A panel is copied if at least so many rows of the result read it, if the distance of the source's rows is a
# multiple of so many bytes, and if the source has at least so many bytes. At such distances the rows compete
# for few sets of the first-level cache; at others they are spread over all sets.
COPIED_ROWS, COPIED_DISTANCE, COPIED_BYTES = 48, 1024 if IS_WIDE else 256, 1 << 14

# First index and end of a range, two IR integers.
Range = tuple[Any, Any]


@contextlib.contextmanager
def chunks(builder: Any, total: Any, size: Any) -> Iterator[Range]:
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


class Coefficients(NamedTuple):
    """Coefficients in memory: ``coefficient(r, m)`` is ``start[r * row_distance + m * term_distance]``."""

    start: Any
    row_distance: Any
    term_distance: Any

    def of_block(self, builder: Any, first: Any) -> Coefficients:
        """Return the coefficients of the rows from `first` on."""
        start = builder.gep(self.start, [builder.mul(first, self.row_distance)])
        return Coefficients(start, self.row_distance, self.term_distance)


class PackedCoefficients:
    """Coefficients of a group of rows and a chunk of terms, packed block by block.

    A block has `height` rows. The coefficients of a term are adjacent, followed by those of the next term.

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
        Coefficients of the whole product.
    given : IR pointer
        The coefficients of all rows, packed by the caller chunk after chunk, each chunk block by block; null
        if the caller packed none.

    Attributes
    ----------
    is_used : IR integer
        A bit that is set if the product reads packed coefficients. It exists within `allocated`.
    """

    def __init__(
        self, builder: Any, vector: Vector, height: int, max_terms: int, coefficients: Coefficients,
        given: Any,
    ) -> None:  # fmt: skip
        self._builder, self._height, self._max_terms = builder, height, max_terms
        self._all, self._given = coefficients, given
        self._element, self._item_bytes = LLVM_TYPES[vector.dtype], vector.dtype.bitwidth // 8

    @contextlib.contextmanager
    def allocated(self, n_rows: Any, n_terms: Any, n_panels: Any) -> Iterator[Any]:
        """Allocate memory for the duration of the emitted body, and yield `is_used`.

        It is not set if the product is small, or if memory is short. Given coefficients need no memory.
        """
        builder, integer, byte = self._builder, n_rows.type, ir.IntType(8).as_pointer()
        allocate, free = (
            cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, [argument]), name)
            for name, result, argument in (("malloc", byte, integer), ("free", ir.VoidType(), byte))
        )
        n_bytes = builder.mul(builder.mul(n_rows, n_terms), integer(self._item_bytes))
        is_given = cgutils.is_not_null(builder, self._given)
        pays = builder.and_(
            builder.icmp_signed(">", n_bytes, integer(PACKED_BYTES)),
            builder.icmp_signed(">=", n_panels, integer(PACKED_PANELS)),
        )
        memory = cgutils.alloca_once_value(builder, byte(None))
        with builder.if_then(builder.and_(pays, builder.not_(is_given))):
            size = integer(PACKED_ROWS * self._max_terms * self._item_bytes)
            builder.store(builder.call(allocate, [size]), memory)
        address = builder.load(memory)
        self._is_own = cgutils.is_not_null(builder, address)
        own = builder.bitcast(address, self._given.type)
        self._data = builder.select(is_given, self._given, own)
        # All bits are set if a group of rows and a chunk are packed at a time, none if all of them are.
        self._group_mask = builder.sext(builder.not_(is_given), integer)
        n_whole = builder.sub(n_rows, builder.srem(n_rows, integer(self._height)))
        self._term_size = builder.select(is_given, n_whole, integer(0))
        self.is_used = builder.or_(is_given, self._is_own)
        yield self.is_used
        with builder.if_then(self._is_own):
            builder.call(free, [address])

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
        """Pack the coefficients term by term; those of a term are adjacent."""
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
        """Pack the coefficients block by block; those of a term are apart."""
        builder, (begin, end), one = self._builder, terms, rows[0].type(1)
        with self._blocks(rows) as row:
            block = self._all.of_block(builder, row)
            with cgutils.for_range_slice(builder, begin, end, one, inc=True) as (term, _):
                source = builder.gep(block.start, [builder.mul(term, block.term_distance)])
                place = self._place(rows, row, terms, term)
                for k in range(self._height):
                    value = builder.load(builder.gep(source, [builder.mul(block.row_distance, one.type(k))]))
                    builder.store(value, builder.gep(place, [one.type(k)]))

    @contextlib.contextmanager
    def _blocks(self, rows: Range) -> Iterator[Any]:
        """Emit a loop over blocks of rows, and yield the first row of each for its body."""
        step = rows[0].type(self._height)
        with cgutils.for_range_slice(self._builder, *rows, step, inc=True) as (row, _):
            yield row

    def of_block(self, rows: Range, first: Any, terms: Range) -> Coefficients:
        """Return the packed coefficients of the block of `rows` whose first row is `first`.

        The start is the place of term 0, but only `terms`, which were packed, may be read.
        """
        one = first.type(1)
        start = self._place(rows, first, terms, one.type(0))
        return Coefficients(start, one, one.type(self._height))

    def _place(self, rows: Range, row: Any, terms: Range, term: Any) -> Any:
        """Return the place of the first coefficient of a block's term; `row` is the block's first."""
        builder, integer = self._builder, row.type
        begin, end = terms
        row = builder.sub(row, builder.and_(rows[0], self._group_mask))
        chunk = builder.mul(begin, self._term_size)
        block = builder.mul(row, builder.sub(end, begin))
        offset = builder.mul(builder.sub(term, begin), integer(self._height))
        return builder.gep(self._data, [builder.add(chunk, builder.add(block, offset))])


class PanelCopy:
    """Copy of a panel of the source's rows, with one row right after the other.

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
    source : IR pointer
        First element of the source.
    source_distance : IR integer
        Number of elements from one row of the source to the next.
    n_terms : IR integer
        Number of rows of the source.
    """

    def __init__(
        self, context: Any, builder: Any, vector: Vector, width: int, max_terms: int, source: Any,
        source_distance: Any, n_terms: Any,
    ) -> None:  # fmt: skip
        self._context, self._builder, self._vector, self._width = context, builder, vector, width
        self._source, self._distance = source, source_distance
        self._rows = Rows(context, builder, vector, source, source_distance)
        integer, element = n_terms.type, LLVM_TYPES[vector.dtype]
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(element, max_terms * width * vector.lanes))
            memory.align = VECTOR_BYTES
        self._memory = builder.bitcast(memory, element.as_pointer())
        item_bytes = vector.dtype.bitwidth // 8
        rest = builder.and_(source_distance, integer(COPIED_DISTANCE // item_bytes - 1))
        n_elements = builder.mul(n_terms, source_distance)
        self._pays = builder.and_(
            builder.icmp_signed("==", rest, integer(0)),
            builder.icmp_signed(">=", n_elements, integer(COPIED_BYTES // item_bytes)),
        )

    def rows(self, rows: Range, terms: Range, column: Any) -> Rows:
        """Return the source's rows of some terms, whose column 0 is `column`.

        They are copied if it pays for the product of these `rows` of the result.
        """
        context, builder, vector = self._context, self._builder, self._vector
        (first, last), (begin, end) = rows, terms
        integer = begin.type
        n_rows = builder.sub(last, first)
        is_used = builder.and_(self._pays, builder.icmp_signed(">=", n_rows, integer(COPIED_ROWS)))
        distance = integer(self._width * vector.lanes)
        # The copy begins with the term `begin`.
        copied = builder.gep(self._memory, [builder.mul(builder.neg(begin), distance)])
        copy = Rows(context, builder, vector, copied, distance, has_first=False)
        with (
            builder.if_then(is_used),
            cgutils.for_range_slice(builder, begin, end, integer(1), inc=True) as (term, _),
        ):
            for v in range(self._width):
                offset = integer(v * vector.lanes)
                copy.store(term, offset, self._rows.load(term, builder.add(column, offset)))
        pointer = builder.select(is_used, copied, builder.gep(self._source, [column]))
        distance = builder.select(is_used, distance, self._distance)
        return Rows(context, builder, vector, pointer, distance, has_first=False)
