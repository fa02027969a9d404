"""Matrices at compile time: objects that emit loads and stores of vectors by row and column."""

from __future__ import annotations

from llvmlite import ir
from numba import types

from ..compiler.numba_internals import TargetContext, cgutils
from .value import Value
from .vector import ArrayOperand, Vector


def prefetch(builder: ir.IRBuilder, pointer: ir.Value) -> None:
    """Emit a hint to load the cache line at `pointer`: any address is allowed, and nothing else happens."""
    byte, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
    signature = ir.FunctionType(ir.VoidType(), [byte, *[integer] * 3])
    function = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
    is_write, all_levels, is_data = 0, 3, 1
    flags = [integer(flag) for flag in (is_write, all_levels, is_data)]
    builder.call(function, [builder.bitcast(pointer, byte), *flags])


class Matrix(ArrayOperand):
    """A C-contiguous, two-dimensional array argument of an intrinsic, whose vectors are values."""

    def load(self, row: ir.Value, column: ir.Value) -> Value:
        """Return the vector that begins at [row, column]."""
        loaded = self.builder.load(self.vector_pointer(row, column), align=self.type.dtype.bitwidth // 8)
        return Value(self.context, self.builder, self.vector, loaded)

    def store(self, row: ir.Value, column: ir.Value, value: Value) -> None:
        """Write a vector to the elements from [row, column] on."""
        self.builder.store(value.ir, self.vector_pointer(row, column), align=self.type.dtype.bitwidth // 8)

    def broadcast(self, row: ir.Value, column: ir.Value) -> Value:
        """Return a vector with the element at [row, column] in every lane."""
        scalar = self.builder.load(self.pointer(row, column))
        return Value.wrap(self.context, self.builder, self.vector, scalar, self.type.dtype)

    def zero(self) -> Value:
        return Value(self.context, self.builder, self.vector, ir.Constant(self.vector.llvm, None))


class Rows:
    """A matrix, like `Matrix`, in a function with a pointer and integers as arguments instead of an array.

    `pointer` points to the first element; `distance` is the number of elements from one row to the next. If
    `has_first` is False, only later rows lie in memory.
    """

    def __init__(
        self,
        context: TargetContext,
        builder: ir.IRBuilder,
        vector: Vector,
        pointer: ir.Value,
        distance: ir.Value,
        has_first: bool = True,
    ) -> None:
        self._context, self._builder, self._vector = context, builder, vector
        self.pointer, self._distance, self._has_first = pointer, distance, has_first

    def element(self, row: ir.Value, column: ir.Value) -> ir.Value:
        return self._builder.gep(self.pointer, [self._offset(row, column)], inbounds=self._has_first)

    def prefetch(self, row: ir.Value, column: ir.Value) -> None:
        """Emit a hint to load the cache line at [row, column], which need not lie in the matrix."""
        prefetch(self._builder, self._builder.gep(self.pointer, [self._offset(row, column)]))

    def load(self, row: ir.Value, column: ir.Value) -> Value:
        loaded = self._builder.load(self._at(row, column), align=self._vector.dtype.bitwidth // 8)
        return Value(self._context, self._builder, self._vector, loaded)

    def store(self, row: ir.Value, column: ir.Value, value: Value) -> None:
        self._builder.store(value.ir, self._at(row, column), align=self._vector.dtype.bitwidth // 8)

    def broadcast(self, row: ir.Value, column: ir.Value) -> Value:
        scalar = self._builder.load(self.element(row, column))
        return Value.wrap(self._context, self._builder, self._vector, scalar, self._vector.dtype)

    def _offset(self, row: ir.Value, column: ir.Value) -> ir.Value:
        builder = self._builder
        return builder.add(builder.mul(row, self._distance, flags=("nsw",)), column, flags=("nsw",))

    def _at(self, row: ir.Value, column: ir.Value) -> ir.Value:
        return self._builder.bitcast(self.element(row, column), self._vector.llvm.as_pointer())


class PartialRows(Rows):
    """Rows of which only the first `count` lanes of each vector are read and written; others load as 0."""

    def __init__(self, rows: Rows, count: ir.Value) -> None:
        super().__init__(
            rows._context, rows._builder, rows._vector, rows.pointer, rows._distance, rows._has_first
        )
        self._zero = Value(rows._context, rows._builder, rows._vector, ir.Constant(rows._vector.llvm, None))
        limit = Value.wrap(rows._context, rows._builder, rows._vector, count, types.intp)
        self._mask = self._zero.lane_numbers() < limit

    def load(self, row: ir.Value, column: ir.Value) -> Value:
        """Return the vector that begins at [row, column], with 0 in the lanes that are not read."""
        return self._zero.masked_load(self._at(row, column), self._mask)

    def store(self, row: ir.Value, column: ir.Value, value: Value) -> None:
        """Write the first `count` lanes of a vector to the elements from [row, column] on."""
        value.masked_store(self._at(row, column), self._mask)
