"""Explicit vectors: one value a lane, one instruction for all of them.

Why not leave it to the compiler? Its loop vectoriser prefers half-width vectors here, leaves a
scalar remainder behind every short loop (ten times the price of a vector for a tanh), and needs a
run-time check against overlapping arrays in front of every loop, which on a network three units
wide costs more than the loop. A vector type settles all three, and compiles faster.

Three parts:

- `Vector`, the numba type: as many values of one dtype as fit the processor's registers. Inside
  kernels ``+``, ``-`` and ``*`` work on vectors.
- `load`, `store`, `fill`, `view`: between arrays and vectors. Arrays are C-contiguous, and their
  rows a whole number of vectors long. With NUMBA_BOUNDSCHECK=1 each of them is checked.
- `Value` and `emitter`: a formula written once in Python that is run at compile time and emits
  its instructions, for what numba's own front end would take long to compile (`vmath`) or could
  not express (`product`).

Shape letters: R rows, T columns.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from ..compiler.numba_internals import array_without_count, cgutils, checks_bounds, cpu_features

__all__ = [
    "LINE_BYTES",
    "Value",
    "Vector",
    "borrow",
    "emitter",
    "fill",
    "fill_row",
    "flat",
    "flush_subnormals",
    "is_zero",
    "lanes",
    "load",
    "reduce_add_squares",
    "reduce_add_weighted",
    "restore_mode",
    "row",
    "store",
    "store_integers",
    "view",
]


def _has(feature: str) -> bool:
    """Return whether numba compiles for a feature: the host's, unless NUMBA_CPU_FEATURES names others."""
    features = cpu_features()
    if features is not None:
        return f"+{feature}" in features.split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get(feature))


# Full-width vectors where the processor has them. Arrays are laid out for 64 bytes everywhere, so
# that nothing above this file depends on it.
HAS_AVX512 = _has("avx512f")
LINE_BYTES = 64
VECTOR_BYTES = LINE_BYTES if HAS_AVX512 else 32

# Vectors exchange values within pieces of so many bytes more easily than from one piece to another.
PIECE_BYTES = 16

LLVM_TYPES: dict[Any, Any] = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
    types.uint8: ir.IntType(8),
    types.boolean: ir.IntType(1),
}
INT_OF_FLOAT: dict[Any, Any] = {types.float32: types.int32, types.float64: types.int64}


class Vector(types.Type):
    """The numba type of `lanes` values of `dtype`."""

    def __init__(self, dtype: Any, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype} x {lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(LLVM_TYPES[self.dtype], self.lanes)

    def of(self, dtype: Any) -> Vector:
        """As many lanes of another dtype."""
        return Vector(dtype, self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, vector.llvm)


def vector_of(array: Any) -> Vector:
    """The vector type in which kernels read `array`."""
    return Vector(array.dtype, VECTOR_BYTES * 8 // array.dtype.bitwidth)


def is_plain(array: Any, ndim: int, *, written: bool = False) -> bool:
    """Whether kernels may take `array` as it lies in memory: row after row, floats, aligned."""
    return (
        isinstance(array, types.Array)
        and array.ndim == ndim
        and array.layout == "C"
        and array.aligned
        and array.dtype in INT_OF_FLOAT
        and (array.mutable or not written)
    )


# --- between arrays and vectors ------------------------------------------------------------------


def element_pointer(
    context: Any, builder: Any, matrix: Any, value: Any, row: Any, column: Any, n_elements: int
) -> Any:
    """Pointer to [row, column] of `matrix`, from where `n_elements` of the row are used."""
    array = context.make_array(matrix)(context, builder, value)
    rows, columns = cgutils.unpack_tuple(builder, array.shape, 2)
    if checks_bounds(context):
        last = builder.add(column, column.type(n_elements - 1))
        for index, size in ((row, rows), (column, columns), (last, columns)):
            cgutils.do_boundscheck(context, builder, index, size)
    return row_pointer(context, builder, matrix, value, row, column)


def row_pointer(context: Any, builder: Any, matrix: Any, value: Any, row: Any, column: Any) -> Any:
    """Pointer to [row, column] of `matrix`, unchecked."""
    array = context.make_array(matrix)(context, builder, value)
    columns = cgutils.unpack_tuple(builder, array.shape, 2)[1]
    offset = builder.add(builder.mul(row, columns, flags=("nsw",)), column, flags=("nsw",))
    return builder.gep(array.data, [offset], inbounds=True)


def vector_pointer(context: Any, builder: Any, matrix: Any, value: Any, row: Any, column: Any) -> Any:
    """Pointer to the vector of `matrix` that begins at [row, column]."""
    vector = vector_of(matrix)
    pointer = element_pointer(context, builder, matrix, value, row, column, vector.lanes)
    return builder.bitcast(pointer, vector.llvm.as_pointer())


@intrinsic
def load(typing_context, matrix, row, column):
    """The vector ``matrix[row, column : column + lanes(matrix)]``."""
    if not is_plain(matrix, 2):
        return None
    vector = vector_of(matrix)

    def generate(context, builder, signature, args):
        pointer = vector_pointer(context, builder, signature.args[0], *args)
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(matrix, types.intp, types.intp), generate


@intrinsic
def store(typing_context, matrix, row, column, value):
    """Write the vector `value` to ``matrix[row, column : column + lanes(matrix)]``."""
    if not (is_plain(matrix, 2, written=True) and value == vector_of(matrix)):
        return None

    def generate(context, builder, signature, args):
        pointer = vector_pointer(context, builder, signature.args[0], *args[:3])
        builder.store(args[3], pointer, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, value), generate


@intrinsic
def store_integers(typing_context, matrix, row, column, value):
    """Write the whole numbers in `value` to an integer matrix, at [row, column] and behind it."""
    is_integer_matrix = (
        isinstance(matrix, types.Array)
        and (matrix.ndim, matrix.layout, matrix.mutable, matrix.aligned) == (2, "C", True, True)
        and isinstance(matrix.dtype, types.Integer)
    )
    if not (is_integer_matrix and isinstance(value, Vector)):
        return None

    def generate(context, builder, signature, args):
        target = ir.VectorType(ir.IntType(matrix.dtype.bitwidth), value.lanes)
        pointer = element_pointer(context, builder, matrix, args[0], args[1], args[2], value.lanes)
        convert = builder.fptosi if matrix.dtype.signed else builder.fptoui
        builder.store(
            convert(args[3], target),
            builder.bitcast(pointer, target.as_pointer()),
            align=matrix.dtype.bitwidth // 8,
        )
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, value), generate


# From so many bytes on a row is written past the caches: twice as fast where nobody reads it soon.
STREAMED_BYTES = 256


@intrinsic
def fill_row(typing_context, matrix, row, begin, end, value):
    """``matrix[row, begin:end] = value`` for a matrix of integers, begin < end.

    In whole cache lines. What a plain loop becomes waits for the memory to read every line that it is about
    to overwrite, which takes several times as long.
    """
    if not (
        isinstance(matrix, types.Array)
        and (matrix.ndim, matrix.layout, matrix.mutable, matrix.aligned) == (2, "C", True, True)
        and isinstance(matrix.dtype, types.Integer)
    ):
        return None
    value = types.unliteral(value)
    bits: int = getattr(matrix.dtype, "bitwidth")  # noqa: B009  (numba's annotations do not know it)
    element, itemsize = ir.IntType(bits), bits // 8
    intp, line = ir.IntType(64), ir.VectorType(element, 64 // itemsize)

    def generate(context, builder, signature, args):
        at, begin, end = args[1:4]
        n = builder.sub(end, begin)
        last = builder.sub(end, intp(1))
        element_pointer(context, builder, matrix, args[0], at, last, 1)  # checked, if there are checks
        start = element_pointer(context, builder, matrix, args[0], at, begin, 1)
        scalar = context.cast(builder, args[4], value, matrix.dtype)
        first = builder.insert_element(ir.Constant(line, ir.Undefined), scalar, ir.IntType(32)(0))
        whole = builder.shuffle_vector(
            first, first, ir.Constant(ir.VectorType(ir.IntType(32), line.count), None)
        )
        unaligned = builder.and_(builder.neg(builder.ptrtoint(start, intp)), intp(63))
        head = builder.udiv(unaligned, intp(itemsize))
        head = builder.select(builder.icmp_signed("<", head, n), head, n)
        n_lines = builder.udiv(builder.sub(n, head), intp(line.count))
        body = builder.gep(start, [head])

        def store_lines(past_caches: bool) -> None:
            with cgutils.for_range(builder, n_lines) as loop:
                pointer = builder.gep(body, [builder.mul(loop.index, intp(line.count))])
                stored = builder.store(whole, builder.bitcast(pointer, line.as_pointer()), align=64)
                if past_caches:
                    one = builder.module.add_metadata([ir.IntType(32)(1)])
                    stored.set_metadata("nontemporal", one)

        with cgutils.for_range(builder, head) as loop:
            builder.store(scalar, builder.gep(start, [loop.index]))
        is_long = builder.icmp_signed(">=", n_lines, intp(STREAMED_BYTES // 64))
        with builder.if_else(is_long) as (long, short):
            with long:
                store_lines(True)
            with short:
                store_lines(False)
        done = builder.add(head, builder.mul(n_lines, intp(line.count)))
        with cgutils.for_range(builder, builder.sub(n, done)) as loop:
            builder.store(scalar, builder.gep(start, [builder.add(done, loop.index)]))
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, types.intp, value), generate


@intrinsic
def lanes(typing_context, array):
    """How many lanes the vectors of `array` have."""
    n_lanes = vector_of(array).lanes
    return types.intp(array), lambda context, builder, signature, args: context.get_constant(
        types.intp, n_lanes
    )


@intrinsic
def fill(typing_context, array, scalar):
    """The vector, of `array`'s dtype, with `scalar` in every lane."""
    vector = vector_of(array)
    scalar = types.unliteral(scalar)

    def generate(context, builder, signature, args):
        return Value.wrap(context, builder, vector, args[1], signature.args[1]).ir

    return vector(array, scalar), generate


@intrinsic
def view(typing_context, flat, offset, rows, columns):
    """The (rows, columns) window of the flat array `flat` that begins at `offset`.

    It carries no reference count, unlike a slice with reshape, whose bookkeeping costs more than
    a small network's layer; the owner of `flat` outlives the kernel.
    """
    if not (isinstance(flat, types.Array) and flat.ndim == 1 and flat.layout == "C" and flat.aligned):
        return None
    matrix = types.Array(flat.dtype, 2, "C", readonly=not flat.mutable)

    def generate(context, builder, signature, args):
        array = context.make_array(flat)(context, builder, args[0])
        if checks_bounds(context):
            (size,) = cgutils.unpack_tuple(builder, array.shape, 1)
            end = builder.add(args[1], builder.mul(args[2], args[3]))
            for index, limit in ((args[1], size), (end, size)):
                cgutils.do_boundscheck(context, builder, index, builder.add(limit, limit.type(1)))
        itemsize = context.get_constant(types.intp, flat.dtype.bitwidth // 8)
        return array_without_count(
            context,
            builder,
            matrix,
            data=builder.gep(array.data, [args[1]], inbounds=True),
            shape=args[2:],
            strides=[builder.mul(args[3], itemsize), itemsize],
            itemsize=itemsize,
        )

    return matrix(flat, types.intp, types.intp, types.intp), generate


@intrinsic
def rows(typing_context, matrix, begin, end):
    """The rows of a matrix from `begin` to `end`, likewise without a reference count."""
    if not is_plain(matrix, 2):
        return None

    def generate(context, builder, signature, args):
        array = context.make_array(matrix)(context, builder, args[0])
        n_rows, n_columns = cgutils.unpack_tuple(builder, array.shape, 2)
        if checks_bounds(context):
            for index in args[1:]:
                cgutils.do_boundscheck(context, builder, index, builder.add(n_rows, n_rows.type(1)))
        return array_without_count(
            context,
            builder,
            matrix,
            data=builder.gep(array.data, [builder.mul(args[1], n_columns)], inbounds=True),
            shape=[builder.sub(args[2], args[1]), n_columns],
            strides=cgutils.unpack_tuple(builder, array.strides, 2),
            itemsize=array.itemsize,
        )

    return matrix(matrix, types.intp, types.intp), generate


@intrinsic
def flat(typing_context, matrix):
    """All values of a matrix in one row, likewise."""
    if not is_plain(matrix, 2):
        return None

    def generate(context, builder, signature, args):
        array = context.make_array(matrix)(context, builder, args[0])
        size = builder.mul(*cgutils.unpack_tuple(builder, array.shape, 2))
        return array_without_count(
            context,
            builder,
            matrix,
            data=array.data,
            shape=[size.type(1), size],
            strides=[builder.mul(size, array.itemsize), array.itemsize],
            itemsize=array.itemsize,
        )

    return matrix(matrix), generate


@intrinsic
def borrow(typing_context, array):
    """The array itself, without its reference count: every use of one that has it costs atomic counting."""
    if not (isinstance(array, types.Array) and array.layout == "C"):
        return None

    def generate(context, builder, signature, args):
        source = context.make_array(array)(context, builder, args[0])
        return array_without_count(
            context,
            builder,
            array,
            data=source.data,
            shape=cgutils.unpack_tuple(builder, source.shape, array.ndim),
            strides=cgutils.unpack_tuple(builder, source.strides, array.ndim),
            itemsize=source.itemsize,
        )

    return array(array), generate


@intrinsic
def row(typing_context, matrix, r):
    """The row ``matrix[r]``, which carries no reference count either."""
    if not (isinstance(matrix, types.Array) and matrix.ndim == 2 and matrix.layout == "C"):
        return None
    flat = types.Array(matrix.dtype, 1, "C", readonly=not matrix.mutable)

    def generate(context, builder, signature, args):
        array = context.make_array(matrix)(context, builder, args[0])
        rows, columns = cgutils.unpack_tuple(builder, array.shape, 2)
        if checks_bounds(context):
            cgutils.do_boundscheck(context, builder, args[1], rows)
        itemsize = context.get_constant(types.intp, matrix.dtype.bitwidth // 8)
        return array_without_count(
            context,
            builder,
            flat,
            data=builder.gep(array.data, [builder.mul(args[1], columns)], inbounds=True),
            shape=[columns],
            strides=[itemsize],
            itemsize=itemsize,
        )

    return flat(matrix, types.intp), generate


@intrinsic
def reduce_add_weighted(typing_context, vector, weights):
    """The sum of ``weight * lane``, in float64, in a fixed order; a weight of 0 makes any lane 0."""
    if not (isinstance(vector, Vector) and vector == weights):
        return None

    def generate(context, builder, signature, args):
        value, weight = (Value(context, builder, vector, arg) for arg in args)
        used = weight > 0.0
        if vector.dtype != types.float64:
            value, weight = value.to(types.float64), weight.to(types.float64)
        return (value * weight).where(used, 0.0).sum()

    return types.float64(vector, weights), generate


@intrinsic
def reduce_add_squares(typing_context, vector):
    """The sum of the squares of the lanes, in float64, in a fixed order."""
    if not isinstance(vector, Vector):
        return None

    def generate(context, builder, signature, args):
        value = Value(context, builder, vector, args[0])
        value = value if vector.dtype == types.float64 else value.to(types.float64)
        return (value * value).sum()

    return types.float64(vector), generate


@intrinsic
def is_zero(typing_context, vector):
    """Whether every lane is 0; a NaN is not."""

    def generate(context, builder, signature, args):
        value = Value(context, builder, vector, args[0])
        return builder.fcmp_ordered("==", value.magnitude().sum(), LLVM_TYPES[vector.dtype](0.0))

    return types.boolean(vector), generate


# --- the processor's mode ------------------------------------------------------------------------

# Of the control register of x86: results that are subnormal become 0, and so do arguments.
FLUSH_TO_ZERO = 0x8040
IS_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i686", "i386"))
# Whether `Value.fma` rounds once. Only old processors of x86 lack the instruction.
HAS_FMA = _has("fma") or not IS_X86


@intrinsic
def flush_subnormals(typing_context):
    """Let this thread take subnormal numbers for 0, and return what `restore_mode` takes.

    A running mean of gradients that stay away decays through them, and there every operation takes a
    hundred cycles: a training by Adam twice as long as without. Elsewhere than on x86 nothing happens.
    """

    def generate(context, builder, signature, args):
        if not IS_X86:
            return ir.IntType(32)(0)
        mode = _control_register(builder, "stmxcsr")
        _control_register(builder, "ldmxcsr", builder.or_(mode, mode.type(FLUSH_TO_ZERO)))
        return mode

    return types.uint32(), generate


@intrinsic
def restore_mode(typing_context, mode):
    """Undo `flush_subnormals`."""

    def generate(context, builder, signature, args):
        if IS_X86:
            _control_register(builder, "ldmxcsr", args[0])
        return context.get_dummy_value()

    return types.void(types.uint32), generate


def _control_register(builder: Any, action: str, value: Any = None) -> Any:
    """Store the register in memory or load it from there, which is all its instructions can do."""
    cell = cgutils.alloca_once(builder, ir.IntType(32))
    if value is not None:
        builder.store(value, cell)
    pointer = builder.bitcast(cell, ir.IntType(8).as_pointer())
    signature = ir.FunctionType(ir.VoidType(), [pointer.type])
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.sse.{action}")
    builder.call(function, [pointer])
    return builder.load(cell)


# --- formulas that emit their instructions -------------------------------------------------------


class Value:
    """A vector at compile time; arithmetic on it emits instructions.

    Scalars mix in on either side and are spread over all lanes.
    """

    def __init__(self, context: Any, builder: Any, type: Vector, ir_value: Any) -> None:
        self.context, self.builder, self.type, self.ir = context, builder, type, ir_value

    @classmethod
    def wrap(cls, context: Any, builder: Any, vector: Vector, value: Any, type: types.Type) -> Value:
        """`value` of numba type `type` as `vector`, a scalar spread over all lanes."""
        if isinstance(type, Vector):
            return cls(context, builder, type, value)
        scalar = context.cast(builder, value, type, vector.dtype)
        first = builder.insert_element(ir.Constant(vector.llvm, ir.Undefined), scalar, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None)
        return cls(context, builder, vector, builder.shuffle_vector(first, first, mask))

    @property
    def dtype(self) -> Any:
        return self.type.dtype

    @property
    def is_float(self) -> bool:
        return self.dtype in INT_OF_FLOAT

    def like(self, ir_value: Any, dtype: Any = None) -> Value:
        return Value(self.context, self.builder, self.type.of(dtype or self.dtype), ir_value)

    def constant(self, number: float) -> Value:
        """`number` in every lane."""
        return self.like(ir.Constant(self.type.llvm, [number] * self.type.lanes))

    def lane_numbers(self) -> Value:
        """0, 1, 2, ... from lane to lane."""
        number = float if self.is_float else int
        return self.like(ir.Constant(self.type.llvm, [number(k) for k in range(self.type.lanes)]))

    def _lift(self, other: Value | float) -> Value:
        return other if isinstance(other, Value) else self.constant(other)

    def _arithmetic(self, name: str, left: Value, right: Value) -> Value:
        if self.is_float:
            return self.like(getattr(self.builder, "f" + name)(left.ir, right.ir, flags=("contract",)))
        return self.like(getattr(self.builder, name)(left.ir, right.ir))

    def __add__(self, other: Value | float) -> Value:
        return self._arithmetic("add", self, self._lift(other))

    def __sub__(self, other: Value | float) -> Value:
        return self._arithmetic("sub", self, self._lift(other))

    def __mul__(self, other: Value | float) -> Value:
        return self._arithmetic("mul", self, self._lift(other))

    def __truediv__(self, other: Value | float) -> Value:
        return self._arithmetic("div", self, self._lift(other))

    def __radd__(self, other: float) -> Value:
        return self._lift(other) + self

    def __rsub__(self, other: float) -> Value:
        return self._lift(other) - self

    def __rmul__(self, other: float) -> Value:
        return self._lift(other) * self

    def __rtruediv__(self, other: float) -> Value:
        return self._lift(other) / self

    def __neg__(self) -> Value:
        return self.like(self.builder.fneg(self.ir))

    def __lshift__(self, bits: int) -> Value:
        return self.like(self.builder.shl(self.ir, self.constant(bits).ir))

    def __rshift__(self, bits: int) -> Value:
        """Arithmetic shift: the sign stays."""
        return self.like(self.builder.ashr(self.ir, self.constant(bits).ir))

    def __xor__(self, other: Value) -> Value:
        return self.like(self.builder.xor(self.ir, other.ir))

    def shifted_down(self, bits: int) -> Value:
        """Shifted right, zeros coming in."""
        return self.like(self.builder.lshr(self.ir, self.constant(bits).ir))

    def _compare(self, symbol: str, other: Value | float) -> Value:
        other = self._lift(other)
        compare = self.builder.fcmp_ordered if self.is_float else self.builder.icmp_signed
        return self.like(compare(symbol, self.ir, other.ir), types.boolean)

    def __lt__(self, other: Value | float) -> Value:
        return self._compare("<", other)

    def __gt__(self, other: Value | float) -> Value:
        return self._compare(">", other)

    def equals(self, other: Value | float) -> Value:
        return self._compare("==", other)

    def where(self, mask: Value, other: Value | float) -> Value:
        """Itself where `mask` holds, else `other`."""
        return self.like(self.builder.select(mask.ir, self.ir, self._lift(other).ir))

    def at_most(self, other: Value | float) -> Value:
        """The smaller of the two; a NaN of its own stays."""
        return self._lift(other).where(self > other, self)

    def at_least(self, other: Value | float) -> Value:
        """The larger of the two; a NaN of its own stays."""
        return self._lift(other).where(self < other, self)

    def _intrinsic(self, name: str, *others: Value | float) -> Value:
        args = [self.ir, *(self._lift(other).ir for other in others)]
        signature = ir.FunctionType(self.type.llvm, [self.type.llvm] * len(args))
        full_name = f"llvm.{name}.v{self.type.lanes}f{self.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, full_name)
        return self.like(self.builder.call(function, args))

    def fma(self, factor: Value | float, addend: Value | float) -> Value:
        """``self * factor + addend``, rounded once where the processor can."""
        return self._intrinsic("fmuladd", factor, addend)

    def sqrt(self) -> Value:
        return self._intrinsic("sqrt")

    def estimate(self, name: str) -> Value:
        """``rcp14`` or ``rsqrt14``, 1 / x or 1 / sqrt(x) to 14 bits: instructions of AVX-512 alone."""
        kind = {types.float32: "ps", types.float64: "pd"}[self.dtype]
        mask = ir.IntType(max(8, self.type.lanes))
        signature = ir.FunctionType(self.type.llvm, [self.type.llvm, self.type.llvm, mask])
        function = cgutils.get_or_insert_function(
            self.builder.module, signature, f"llvm.x86.avx512.{name}.{kind}.512"
        )
        every_lane = mask(2**mask.width - 1)
        return self.like(self.builder.call(function, [self.ir, self.constant(0.0).ir, every_lane]))

    def magnitude(self) -> Value:
        return self._intrinsic("fabs")

    def copy_sign(self, sign: Value) -> Value:
        return self._intrinsic("copysign", sign)

    def bits(self) -> Value:
        integer = self.type.of(INT_OF_FLOAT[self.dtype])
        return self.like(self.builder.bitcast(self.ir, integer.llvm), integer.dtype)

    def from_bits(self) -> Value:
        float_dtype = types.float32 if self.dtype == types.int32 else types.float64
        return self.like(self.builder.bitcast(self.ir, self.type.of(float_dtype).llvm), float_dtype)

    def to(self, dtype: Any) -> Value:
        """Converted, value by value."""
        target = self.type.of(dtype).llvm
        if self.is_float and dtype in INT_OF_FLOAT:
            wider = dtype.bitwidth > self.dtype.bitwidth
            return self.like((self.builder.fpext if wider else self.builder.fptrunc)(self.ir, target), dtype)
        convert = self.builder.sitofp if dtype in INT_OF_FLOAT else self.builder.fptosi
        return self.like(convert(self.ir, target), dtype)

    @staticmethod
    def side_by_side(parts: list[Value]) -> Value:
        """One vector of the lanes of all parts; their number is a power of two."""
        while len(parts) > 1:
            lanes = 2 * parts[0].type.lanes
            mask = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(lanes)))
            parts = [
                Value(
                    left.context, left.builder, Vector(left.dtype, lanes),
                    left.builder.shuffle_vector(left.ir, right.ir, mask),
                )
                for left, right in zip(parts[::2], parts[1::2], strict=True)
            ]  # fmt: skip
        return parts[0]

    def interleaved(self, other: Value) -> tuple[Value, Value]:
        """Lanes of both in turns, of the lower halves of their pieces, and of the upper halves."""
        lanes, piece = self.type.lanes, PIECE_BYTES * 8 // self.dtype.bitwidth
        index = ir.VectorType(ir.IntType(32), lanes)
        low, high = (
            self.builder.shuffle_vector(self.ir, other.ir, ir.Constant(index, [
                first + half + k // 2 + lanes * (k % 2)
                for first in range(0, lanes, piece) for k in range(piece)
            ]))
            for half in (0, piece // 2)
        )  # fmt: skip
        return self.like(low), self.like(high)

    def masked_load(self, pointer: Any, mask: Value) -> Value:
        """What `pointer` points to in the lanes where `mask` holds, its own lanes elsewhere."""
        align = ir.Constant(ir.IntType(32), self.dtype.bitwidth // 8)
        arguments = [pointer, align, mask.ir, self.ir]
        return self.like(self._masked("load", self.type.llvm, arguments))

    def masked_store(self, pointer: Any, mask: Value) -> None:
        """Write the lanes where `mask` holds."""
        align = ir.Constant(ir.IntType(32), self.dtype.bitwidth // 8)
        self._masked("store", ir.VoidType(), [self.ir, pointer, align, mask.ir])

    def _masked(self, action: str, result: Any, arguments: list[Any]) -> Any:
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        name = f"llvm.masked.{action}.v{self.type.lanes}f{self.dtype.bitwidth}.p0"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, arguments)

    def sum(self) -> Any:
        """IR value of the sum of the lanes."""
        scalar = LLVM_TYPES[self.dtype]
        signature = ir.FunctionType(scalar, [scalar, self.type.llvm])
        name = f"llvm.vector.reduce.fadd.v{self.type.lanes}f{self.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        # reassoc lets it halve the vector again and again: a fixed order, only not lane by lane.
        return self.builder.call(function, [scalar(-0.0), self.ir], fastmath=("reassoc",))


def shared_function(module: Any, name: str, kinds: list[Any], emit: Callable[..., None]) -> Any:
    """The function `name` in `module` of arguments of these IR types, whose body is what `emit` emits.

    It is called, where a kernel is built in; any module may bring it along, and one of them is kept.
    """
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    function.linkage = "linkonce_odr"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    emit(builder, *function.args)
    builder.ret_void()
    return function


def sums_of_lanes(vectors: list[Value]) -> list[Any]:
    """IR values of the sum of the lanes of every vector; there are a power of two of them.

    Two vectors become one, in which the sums of either have half of the lanes, until there is one alone.
    """
    first = vectors[0]
    if len(vectors) > first.type.lanes:
        half = len(vectors) // 2
        return sums_of_lanes(vectors[:half]) + sums_of_lanes(vectors[half:])
    builder, lanes, width = first.builder, first.type.lanes, first.type.lanes

    def added(left: Value, right: Value, low: list[int], step: int) -> Value:
        halves = (
            builder.shuffle_vector(
                left.ir,
                right.ir,
                ir.Constant(ir.VectorType(ir.IntType(32), lanes), [k + offset for k in low]),
            )
            for offset in (0, step)
        )
        return first.like(next(halves)) + first.like(next(halves))

    while len(vectors) > 1:
        half = width // 2
        low = [side + k for side in (0, lanes) for k in range(lanes) if k % width < half]
        vectors = [added(x, y, low, half) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
        width = half
    (total,) = vectors
    places = list(range(0, lanes, width))
    while width > 1:
        width //= 2
        # Of the lanes that are left over, whatever they hold.
        total = added(total, total, [k if k % (2 * width) < width else 0 for k in range(lanes)], width)
    return [builder.extract_element(total.ir, ir.IntType(32)(k)) for k in places]


def emitter(formula: Callable[..., Value]) -> Any:
    """Make a formula on `Value` callable from kernels, on vectors and scalars of any float dtype.

    Parameters
    ----------
    formula : callable
        Takes one to four `Value`, the first of which is a vector in the kernel too, and returns
        one. It is run when a kernel that calls it is compiled. Other formulas find it as the attribute
        `formula` of what they are given here.
    """

    def resolve(*arguments):
        vector = arguments[0]
        if not isinstance(vector, Vector):
            return None
        arguments = tuple(types.unliteral(argument) for argument in arguments)

        def generate(context, builder, signature, args):
            values = (
                Value.wrap(context, builder, vector, value, type)
                for value, type in zip(args, signature.args, strict=True)
            )
            return formula(*values).ir

        return vector(*arguments), generate

    # numba reads the number of arguments from the signature, so each count has its own face.
    faces = {
        1: lambda typing_context, x: resolve(x),
        2: lambda typing_context, x, y: resolve(x, y),
        3: lambda typing_context, x, y, z: resolve(x, y, z),
        4: lambda typing_context, x, y, z, w: resolve(x, y, z, w),
    }
    face = faces[len(inspect.signature(formula).parameters)]
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(face, name, getattr(formula, name))
    result = intrinsic(face)
    result.formula = formula
    return result


def _register_operators() -> None:
    """Teach numba the operators that kernels use on vectors, as `Value` has them."""
    for symbol in (operator.add, operator.sub, operator.mul):

        def typer(left: types.Type, right: types.Type) -> Vector | None:
            vector = left if isinstance(left, Vector) else right
            return vector if isinstance(vector, Vector) and left == right else None

        def generate(context, builder, signature, args, formula=symbol):
            left, right = (Value(context, builder, signature.return_type, value) for value in args)
            return formula(left, right).ir

        type_callable(symbol)(lambda context, typer=typer: typer)
        lower_builtin(symbol, Vector, Vector)(generate)

    def negation_typer(value: types.Type) -> Vector | None:
        return value if isinstance(value, Vector) else None

    def generate_negation(context, builder, signature, args):
        return (-Value(context, builder, signature.return_type, args[0])).ir

    type_callable(operator.neg)(lambda context: negation_typer)
    lower_builtin(operator.neg, Vector)(generate_negation)


_register_operators()
