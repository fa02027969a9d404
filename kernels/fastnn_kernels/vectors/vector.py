"""Vectors in kernels: SIMD registers as a numba type, and their loads and stores.

LLVM's loop vectoriser would be the alternative. It prefers half-width vectors here. It leaves a scalar
remainder after every short loop, in which a tanh costs ten times as much as in a vector. And before every
loop it checks at run time whether arrays overlap, which costs more than the loop in a network three units
wide. A vector type avoids all three, and compiles faster.

- `Vector` is the numba type: as many values of one dtype as fit in a register, or several times as many, for
  formulas whose instructions alternate between several registers (`N_INTERLEAVED`).
- `load` and `store` move vectors between registers and arrays. Arrays are C-contiguous, and their rows are a
  whole number of vectors long. With NUMBA_BOUNDSCHECK=1 every access is checked.
- `view`, `rows`, `row` and `flat` return windows of arrays.

The arithmetic of vectors is in ``value.py``. Shape letters: R rows, T columns.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, models, register_model

from ..compiler.numba_internals import ArrayFields, TargetContext, cgutils, checks_bounds, make_array
from .processor import REGISTER_BYTES, VECTOR_BYTES

LLVM_TYPES: dict[types.Type, ir.Type] = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
    types.uint8: ir.IntType(8),
    types.boolean: ir.IntType(1),
}
INT_OF_FLOAT: dict[types.Float, types.Integer] = {types.float32: types.int32, types.float64: types.int64}


class Vector(types.Type):
    """The numba type of `lanes` values of `dtype`."""

    def __init__(self, dtype: types.Number, lanes: int) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype} x {lanes})")

    @property
    def llvm(self) -> ir.VectorType:
        return ir.VectorType(LLVM_TYPES[self.dtype], self.lanes)

    def of(self, dtype: types.Number) -> Vector:
        """Return the vector type with this number of lanes and another dtype."""
        return Vector(dtype, self.lanes)


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """The data model: a vector is an LLVM value."""

    def __init__(self, manager, vector):
        super().__init__(manager, vector, vector.llvm)


def get_vector(array: types.Array) -> Vector:
    """Return the vector type for loads from and stores to `array`."""
    return Vector(array.dtype, VECTOR_BYTES * 8 // array.dtype.bitwidth)


def is_plain(array: types.Array, ndim: int, *, written: bool = False) -> bool:
    """Return True for the type of a C-contiguous, aligned array of floats; mutable, if `written`."""
    return (
        isinstance(array, types.Array)
        and array.ndim == ndim
        and array.layout == "C"
        and array.aligned
        and array.dtype in INT_OF_FLOAT
        and (array.mutable or not written)
    )


def is_integer_matrix(matrix: types.Array) -> bool:
    """Return True for the type of a C-contiguous, aligned, mutable matrix of integers."""
    return (
        isinstance(matrix, types.Array)
        and (matrix.ndim, matrix.layout, matrix.mutable, matrix.aligned) == (2, "C", True, True)
        and isinstance(matrix.dtype, types.Integer)
    )


# --- between arrays and vectors ------------------------------------------------------------------

# Number of vectors whose instructions alternate in loops over long formulas. In a formula such as tanh most
# instructions wait for the one before, for some 90 cycles in all, and the processor looks ahead by a few
# vectors only. Four registers in turns leave enough others, and take a fifth less time on a Zen 5 core.
N_INTERLEAVED = max(1, 4 * REGISTER_BYTES // max(REGISTER_BYTES, VECTOR_BYTES))


class ArrayOperand:
    """An array argument of an intrinsic; methods emit instructions, and indices are IR integers."""

    def __init__(
        self, context: TargetContext, builder: ir.IRBuilder, type: types.Array, value: ir.Value
    ) -> None:
        self.context, self.builder, self.type = context, builder, type
        self.array = ArrayFields(context, builder, type, value)
        self.shape, self.vector = cgutils.unpack_tuple(builder, self.array.shape, type.ndim), get_vector(type)

    def pointer(self, row: ir.Value, column: ir.Value, n_elements: int = 1) -> ir.Value:
        """Return a pointer to [row, column] of a matrix; bounds checks cover `n_elements` from there on."""
        if checks_bounds(self.context):
            rows, columns = self.shape
            last = self.builder.add(column, column.type(n_elements - 1))
            for index, size in ((row, rows), (column, columns), (last, columns)):
                cgutils.do_boundscheck(self.context, self.builder, index, size)
        return self.unchecked_pointer(row, column)

    def unchecked_pointer(self, row: ir.Value, column: ir.Value) -> ir.Value:
        builder = self.builder
        offset = builder.add(builder.mul(row, self.shape[1], flags=("nsw",)), column, flags=("nsw",))
        return builder.gep(self.array.data, [offset], inbounds=True)

    def vector_pointer(self, row: ir.Value, column: ir.Value, vector: Vector | None = None) -> ir.Value:
        """Return a pointer to the vector that begins at [row, column], by default a single one."""
        vector = vector or self.vector
        return self.builder.bitcast(self.pointer(row, column, vector.lanes), vector.llvm.as_pointer())


@intrinsic
def load(typing_context, matrix, row, column):
    """Return the vector ``matrix[row, column : column + lanes(matrix)]``."""
    if not is_plain(matrix, 2):
        return None
    vector = get_vector(matrix)

    def generate(context, builder, signature, args):
        pointer = ArrayOperand(context, builder, matrix, args[0]).vector_pointer(*args[1:])
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(matrix, types.intp, types.intp), generate


@intrinsic
def load_several(typing_context, matrix, row, column, n_vectors):
    """Return `n_vectors` consecutive vectors of `matrix`, from [row, column] on, as one vector.

    `n_vectors` is a constant. Formulas on the result compile to the instructions of `n_vectors` vectors in
    turn (`N_INTERLEAVED`).
    """
    if not (is_plain(matrix, 2) and isinstance(n_vectors, types.IntegerLiteral)):
        return None
    vector = Vector(matrix.dtype, n_vectors.literal_value * get_vector(matrix).lanes)

    def generate(context, builder, signature, args):
        pointer = ArrayOperand(context, builder, matrix, args[0]).vector_pointer(args[1], args[2], vector)
        return builder.load(pointer, align=vector.dtype.bitwidth // 8)

    return vector(matrix, types.intp, types.intp, n_vectors), generate


@intrinsic
def store(typing_context, matrix, row, column, value):
    """Write the vector or vectors `value` to `matrix`, from [row, column] on."""
    if not (is_plain(matrix, 2, written=True) and isinstance(value, Vector) and value.dtype == matrix.dtype):
        return None

    def generate(context, builder, signature, args):
        pointer = ArrayOperand(context, builder, matrix, args[0]).vector_pointer(args[1], args[2], value)
        builder.store(args[3], pointer, align=value.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, value), generate


@intrinsic
def store_integers(typing_context, matrix, row, column, value):
    """Write the lanes of `value`, integers, to an integer matrix from [row, column] on."""
    if not (is_integer_matrix(matrix) and isinstance(value, Vector)):
        return None

    def generate(context, builder, signature, args):
        target = ir.VectorType(ir.IntType(matrix.dtype.bitwidth), value.lanes)
        pointer = ArrayOperand(context, builder, matrix, args[0]).pointer(args[1], args[2], value.lanes)
        convert = builder.fptosi if matrix.dtype.signed else builder.fptoui
        builder.store(
            convert(args[3], target),
            builder.bitcast(pointer, target.as_pointer()),
            align=matrix.dtype.bitwidth // 8,
        )
        return context.get_dummy_value()

    return types.void(matrix, types.intp, types.intp, value), generate


# Rows of at least this many bytes are written with nontemporal stores, past the caches: twice as fast, if the
# rows are not read soon.
STREAMED_BYTES = 256


@intrinsic
def fill_row(typing_context, matrix, row, begin, end, value):
    """Set ``matrix[row, begin:end] = value`` in a matrix of integers, with begin < end.

    Whole cache lines are stored at once. A plain loop would first read every line from memory that it is
    about to overwrite, which takes several times as long.
    """
    if not is_integer_matrix(matrix):
        return None
    value = types.unliteral(value)
    bits: int = getattr(matrix.dtype, "bitwidth")  # noqa: B009  (numba's annotations do not know it)
    element, itemsize = ir.IntType(bits), bits // 8
    intp, line = ir.IntType(64), ir.VectorType(element, 64 // itemsize)

    def generate(context, builder, signature, args):
        at, begin, end = args[1:4]
        n = builder.sub(end, begin)
        last = builder.sub(end, intp(1))
        operand = ArrayOperand(context, builder, matrix, args[0])
        operand.pointer(at, last)  # bounds check
        start = operand.pointer(at, begin)
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
    """Return the number of lanes of the vectors of `array`."""
    n_lanes = get_vector(array).lanes
    return types.intp(array), lambda context, builder, signature, args: context.get_constant(
        types.intp, n_lanes
    )


@intrinsic
def view(typing_context, flat, offset, rows, columns):
    """Return the window (rows, columns) of the one-dimensional array `flat` that begins at `offset`.

    The caller of the kernel keeps the memory of `flat` alive.
    """
    if not (isinstance(flat, types.Array) and flat.ndim == 1 and flat.layout == "C" and flat.aligned):
        return None
    matrix = types.Array(flat.dtype, 2, "C", readonly=not flat.mutable)

    def generate(context, builder, signature, args):
        operand = ArrayOperand(context, builder, flat, args[0])
        if checks_bounds(context):
            (size,) = operand.shape
            end = builder.add(args[1], builder.mul(args[2], args[3]))
            for index, limit in ((args[1], size), (end, size)):
                cgutils.do_boundscheck(context, builder, index, builder.add(limit, limit.type(1)))
        begin = builder.gep(operand.array.data, [args[1]], inbounds=True)
        return make_array(context, builder, matrix, begin, args[2:])

    return matrix(flat, types.intp, types.intp, types.intp), generate


@intrinsic
def rows(typing_context, matrix, begin, end):
    """Return the window ``matrix[begin:end]``."""
    if not is_plain(matrix, 2):
        return None

    def generate(context, builder, signature, args):
        operand = ArrayOperand(context, builder, matrix, args[0])
        n_rows, n_columns = operand.shape
        if checks_bounds(context):
            for index in args[1:]:
                cgutils.do_boundscheck(context, builder, index, builder.add(n_rows, n_rows.type(1)))
        first = builder.gep(operand.array.data, [builder.mul(args[1], n_columns)], inbounds=True)
        return make_array(context, builder, matrix, first, [builder.sub(args[2], args[1]), n_columns])

    return matrix(matrix, types.intp, types.intp), generate


@intrinsic
def flat(typing_context, matrix):
    """Return a matrix (R, T) as the window (1, R * T)."""
    if not is_plain(matrix, 2):
        return None

    def generate(context, builder, signature, args):
        operand = ArrayOperand(context, builder, matrix, args[0])
        size = builder.mul(*operand.shape)
        return make_array(context, builder, matrix, operand.array.data, [size.type(1), size])

    return matrix(matrix), generate


@intrinsic
def row(typing_context, matrix, r):
    """Return the window ``matrix[r]``, one-dimensional."""
    if not (isinstance(matrix, types.Array) and matrix.ndim == 2 and matrix.layout == "C"):
        return None
    flat = types.Array(matrix.dtype, 1, "C", readonly=not matrix.mutable)

    def generate(context, builder, signature, args):
        operand = ArrayOperand(context, builder, matrix, args[0])
        rows, columns = operand.shape
        if checks_bounds(context):
            cgutils.do_boundscheck(context, builder, args[1], rows)
        first = builder.gep(operand.array.data, [builder.mul(args[1], columns)], inbounds=True)
        return make_array(context, builder, flat, first, [columns])

    return flat(matrix, types.intp), generate


def shared_function(
    module: ir.Module, name: str, kinds: list[ir.Value], emit: Callable[..., None]
) -> ir.Value:
    """Return the function `name` of an LLVM module, whose arguments have the IR types `kinds`.

    If the module has no such function yet, ``emit(builder, *arguments)`` emits its body. Unlike kernels, the
    function is not inlined in its callers, so it is compiled once. Every module that calls it has a copy, of
    which the linker keeps one.
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
