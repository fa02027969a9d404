"""Arithmetic of vectors: formulas on `Value`, operators in kernels, sums over lanes.

A `Value` stands for a vector at compile time. A formula is a Python function of `Value` arguments: numba runs
it while compiling a kernel, and every operation on a `Value` emits instructions. Formulas serve where numba
itself would take long to compile (``vmath.py``) or could not express the code (``product.py``). `emitter`
makes a formula callable from kernels. Kernels can also apply ``+``, ``-``, ``*`` and ``/`` to vectors.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, lower_builtin, type_callable

from ..compiler.numba_internals import TargetContext, cgutils
from .processor import HAS_FMA, PIECE_BYTES, VECTOR_BYTES
from .vector import INT_OF_FLOAT, LLVM_TYPES, Vector, get_vector


class Value:
    """A vector at compile time, whose arithmetic emits instructions.

    Either operand may be a Python number, which is broadcast to all lanes.
    """

    def __init__(
        self, context: TargetContext, builder: ir.IRBuilder, type: Vector, ir_value: ir.Value
    ) -> None:
        self.context, self.builder, self.type, self.ir = context, builder, type, ir_value

    @classmethod
    def wrap(
        cls, context: TargetContext, builder: ir.IRBuilder, vector: Vector, value: ir.Value, type: types.Type
    ) -> Value:
        """Return `value` of numba type `type` as a vector; a scalar is broadcast to all lanes."""
        if isinstance(type, Vector):
            return cls(context, builder, type, value)
        scalar = context.cast(builder, value, type, vector.dtype)
        first = builder.insert_element(ir.Constant(vector.llvm, ir.Undefined), scalar, ir.IntType(32)(0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), None)
        return cls(context, builder, vector, builder.shuffle_vector(first, first, mask))

    @property
    def dtype(self) -> types.Number:
        return self.type.dtype

    @property
    def is_float(self) -> bool:
        return self.dtype in INT_OF_FLOAT

    def like(self, ir_value: ir.Value, dtype: types.Number | None = None) -> Value:
        """Return an IR vector as a `Value` with this one's number of lanes, by default of its dtype."""
        return Value(self.context, self.builder, self.type.of(dtype or self.dtype), ir_value)

    def constant(self, number: float) -> Value:
        return self.like(ir.Constant(self.type.llvm, [number] * self.type.lanes))

    def lane_numbers(self) -> Value:
        """Return the vector 0, 1, 2, ..."""
        number = float if self.is_float else int
        return self.like(ir.Constant(self.type.llvm, [number(k) for k in range(self.type.lanes)]))

    def _lift(self, other: Value | float) -> Value:
        return other if isinstance(other, Value) else self.constant(other)

    def _arithmetic(self, name: str, left: Value, right: Value) -> Value:
        if self.is_float:
            return self.like(getattr(self.builder, "f" + name)(left.ir, right.ir))
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
        """Return the bits shifted right arithmetically: the sign is kept."""
        return self.like(self.builder.ashr(self.ir, self.constant(bits).ir))

    def __or__(self, other: Value) -> Value:
        return self.like(self.builder.or_(self.ir, other.ir))

    def __xor__(self, other: Value) -> Value:
        return self.like(self.builder.xor(self.ir, other.ir))

    def shifted_down(self, bits: int) -> Value:
        """Return the bits shifted right logically: zeros are shifted in."""
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

    def outranks(self, other: Value) -> Value:
        """Return the mask of the lanes that are greater than `other`, or NaN where `other` is not."""
        # The unordered comparison is also true for NaN in either vector, the ordered one false for NaN.
        is_above = self.builder.fcmp_unordered(">", self.ir, other.ir)
        is_number = self.builder.fcmp_ordered("==", other.ir, other.ir)
        return self.like(self.builder.and_(is_above, is_number), types.boolean)

    def where(self, mask: Value, other: Value | float) -> Value:
        return self.like(self.builder.select(mask.ir, self.ir, self._lift(other).ir))

    def at_most(self, other: Value | float) -> Value:
        """Return the smaller of the two; NaN in this vector stays NaN."""
        return self._lift(other).where(self > other, self)

    def at_least(self, other: Value | float) -> Value:
        """Return the larger of the two; NaN in this vector stays NaN."""
        return self._lift(other).where(self < other, self)

    def _intrinsic(self, name: str, *others: Value | float) -> Value:
        args = [self.ir, *(self._lift(other).ir for other in others)]
        signature = ir.FunctionType(self.type.llvm, [self.type.llvm] * len(args))
        full_name = f"llvm.{name}.v{self.type.lanes}f{self.dtype.bitwidth}"
        function = cgutils.get_or_insert_function(self.builder.module, signature, full_name)
        return self.like(self.builder.call(function, args))

    def fma(self, factor: Value | float, addend: Value | float) -> Value:
        """Return ``self * factor + addend``, rounded once if the processor has FMA, else twice."""
        if not HAS_FMA:
            return self * factor + addend
        return self._intrinsic("fma", factor, addend)

    def sqrt(self) -> Value:
        return self._intrinsic("sqrt")

    def magnitude(self) -> Value:
        return self._intrinsic("fabs")

    def copy_sign(self, sign: Value) -> Value:
        return self._intrinsic("copysign", sign)

    def bits(self) -> Value:
        """Return the bits of floating-point lanes as integers."""
        integer = self.type.of(INT_OF_FLOAT[self.dtype])
        return self.like(self.builder.bitcast(self.ir, integer.llvm), integer.dtype)

    def from_bits(self) -> Value:
        """Return the floating-point lanes that have these integers as their bits."""
        float_dtype = types.float32 if self.dtype == types.int32 else types.float64
        return self.like(self.builder.bitcast(self.ir, self.type.of(float_dtype).llvm), float_dtype)

    def to(self, dtype: types.Number) -> Value:
        """Return the lanes converted to another type."""
        target = self.type.of(dtype).llvm
        if self.is_float and dtype in INT_OF_FLOAT:
            wider = dtype.bitwidth > self.dtype.bitwidth
            return self.like((self.builder.fpext if wider else self.builder.fptrunc)(self.ir, target), dtype)
        convert = self.builder.sitofp if dtype in INT_OF_FLOAT else self.builder.fptosi
        return self.like(convert(self.ir, target), dtype)

    def shuffle(self, other: Value, lanes: Sequence[int]) -> Value:
        """Return a vector with these lanes, which count the lanes of this one and then of `other`."""
        mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
        shuffled = self.builder.shuffle_vector(self.ir, other.ir, mask)
        return Value(self.context, self.builder, Vector(self.dtype, len(lanes)), shuffled)

    def parts(self, lanes: int) -> list[Value]:
        """Return the parts, of `lanes` lanes each, of which this vector consists, in order."""
        firsts = range(0, self.type.lanes, lanes)
        return [self.shuffle(self, range(first, first + lanes)) for first in firsts]

    @staticmethod
    def side_by_side(parts: list[Value]) -> Value:
        """Return one vector with the lanes of all parts in order; the number of parts is a power of two."""
        while len(parts) > 1:
            lanes = range(2 * parts[0].type.lanes)
            parts = [left.shuffle(right, lanes) for left, right in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def interleave(self, other: Value) -> tuple[Value, Value]:
        """Return two vectors that alternate the lanes of this one and `other`.

        The first has the lower half of every piece of 16 bytes, the second the upper half.
        """
        lanes, piece = self.type.lanes, PIECE_BYTES * 8 // self.dtype.bitwidth
        low = [first + k // 2 + lanes * (k % 2) for first in range(0, lanes, piece) for k in range(piece)]
        return self.shuffle(other, low), self.shuffle(other, [k + piece // 2 for k in low])

    def masked_load(self, pointer: ir.Value, mask: Value) -> Value:
        """Return the vector at `pointer` where `mask` holds, else this one; only those lanes are read."""
        align = ir.Constant(ir.IntType(32), self.dtype.bitwidth // 8)
        arguments = [pointer, align, mask.ir, self.ir]
        return self.like(self._masked("load", self.type.llvm, arguments))

    def masked_store(self, pointer: ir.Value, mask: Value) -> None:
        """Write the lanes where `mask` holds."""
        align = ir.Constant(ir.IntType(32), self.dtype.bitwidth // 8)
        self._masked("store", ir.VoidType(), [self.ir, pointer, align, mask.ir])

    def _masked(self, action: str, result: types.Array, arguments: list[ir.Value]) -> ir.Value:
        signature = ir.FunctionType(result, [argument.type for argument in arguments])
        name = f"llvm.masked.{action}.v{self.type.lanes}f{self.dtype.bitwidth}.p0"
        function = cgutils.get_or_insert_function(self.builder.module, signature, name)
        return self.builder.call(function, arguments)

    def sum(self) -> ir.Value:
        """Return the IR value of the sum of the lanes: the halves of the vector are added again and again.

        LLVM's own reduction would add them in an order that depends on the processor.
        """
        total = self
        while total.type.lanes > 1:
            low, high = total.parts(total.type.lanes // 2)
            total = low + high
        return self.builder.extract_element(total.ir, ir.IntType(32)(0))


def sum_lanes(vectors: list[Value]) -> list[ir.Value]:
    """Return the sum of the lanes of each vector, as IR values; the number of vectors is a power of two."""
    first = vectors[0]
    if len(vectors) > first.type.lanes:
        half = len(vectors) // 2
        return sum_lanes(vectors[:half]) + sum_lanes(vectors[half:])
    total = reduce_lanes(vectors)
    places = range(0, first.type.lanes, first.type.lanes // len(vectors))
    return [first.builder.extract_element(total.ir, ir.IntType(32)(k)) for k in places]


def reduce_lanes(vectors: list[Value]) -> Value:
    """Return a vector that contains the sum of the lanes of each vector, in equally spaced lanes.

    The number of vectors is a power of two, at most the number of lanes; the lanes between the sums have any
    values. A step reduces two vectors to one, whose halves are partial sums of one vector each. Steps are
    repeated until one vector is left, and then for the lanes of that vector.
    """
    lanes = width = vectors[0].type.lanes

    def add_halves(left: Value, right: Value, low: list[int], step: int) -> Value:
        return left.shuffle(right, low) + left.shuffle(right, [k + step for k in low])

    while len(vectors) > 1:
        half = width // 2
        low = [side + k for side in (0, lanes) for k in range(lanes) if k % width < half]
        vectors = [add_halves(x, y, low, half) for x, y in zip(vectors[::2], vectors[1::2], strict=True)]
        width = half
    (total,) = vectors
    while width > 1:
        width //= 2
        # Only the lanes of the sums are used: the others may have any value.
        total = add_halves(total, total, [k if k % (2 * width) < width else 0 for k in range(lanes)], width)
    return total


def emitter(formula: Callable[..., Value]) -> Any:
    """Make a formula on `Value` callable from kernels, on vectors and scalars of any float dtype.

    Parameters
    ----------
    formula : callable
        Function of one to four `Value` arguments that returns a `Value`. In kernels the first argument is a
        vector and the others are vectors or scalars.

    Returns
    -------
    intrinsic
        Its attribute `formula` is the formula itself, for calls from other formulas.
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

    # Numba reads the number of arguments from a function's signature: each number needs its own function.
    wrappers = {
        1: lambda typing_context, x: resolve(x),
        2: lambda typing_context, x, y: resolve(x, y),
        3: lambda typing_context, x, y, z: resolve(x, y, z),
        4: lambda typing_context, x, y, z, w: resolve(x, y, z, w),
    }
    wrapper = wrappers[len(inspect.signature(formula).parameters)]
    for name in ("__module__", "__name__", "__qualname__", "__doc__"):
        setattr(wrapper, name, getattr(formula, name))
    result = intrinsic(wrapper)
    result.formula = formula
    return result


# --- in kernels ----------------------------------------------------------------------------------


@intrinsic
def add_product(typing_context, a, factor, b):
    """Return ``a + factor b``, rounded once if the processor has FMA.

    All arguments are scalars, or all are vectors, where `factor` may still be a scalar. The compiler fuses no
    other product with a sum, because its choice would depend on the processor and on the surrounding kernel.
    """
    factor = types.unliteral(factor)
    vector = a if isinstance(a, Vector) else Vector(a, 1)
    if a != b or vector.dtype not in INT_OF_FLOAT:
        return None

    def generate(context, builder, signature, args):
        start, scale, value = (
            Value.wrap(context, builder, vector, arg, kind)
            for arg, kind in zip(args, signature.args, strict=True)
        )
        total = value.fma(scale, start).ir
        return total if a == vector else builder.extract_element(total, ir.IntType(32)(0))

    return a(a, factor, b), generate


@intrinsic
def fill(typing_context, array, scalar):
    """Return a vector of the dtype of `array` with `scalar` in every lane."""
    vector = get_vector(array)
    scalar = types.unliteral(scalar)

    def generate(context, builder, signature, args):
        return Value.wrap(context, builder, vector, args[1], signature.args[1]).ir

    return vector(array, scalar), generate


@intrinsic
def reduce_add_weighted(typing_context, vector, weights):
    """Return the sum of ``weight * lane`` in float64, in a fixed order.

    Lanes of weight 0 count as 0, even if they are infinite or NaN.
    """
    if not (isinstance(vector, Vector) and vector == weights):
        return None

    def generate(context, builder, signature, args):
        return weighted_sum(*(Value(context, builder, vector, arg) for arg in args))

    return types.float64(vector, weights), generate


@intrinsic
def add_weighted(typing_context, total, vector, weights):
    """Return total, a float64, plus the sums that `reduce_add_weighted` returns for each of several vectors.

    vector and weights hold any number of vectors side by side (`vector.load_several`). Their sums are added
    one after another, so the result has the same bits as if they were loaded one by one.
    """
    if total != types.float64 or not (isinstance(vector, Vector) and vector == weights):
        return None

    def generate(context, builder, signature, args):
        value, weight = (Value(context, builder, vector, arg) for arg in args[1:])
        lanes = VECTOR_BYTES * 8 // vector.dtype.bitwidth
        result = args[0]
        for part, its_weight in zip(value.parts(lanes), weight.parts(lanes), strict=True):
            result = builder.fadd(result, weighted_sum(part, its_weight))
        return result

    return types.float64(total, vector, weights), generate


def weighted_sum(value: Value, weight: Value) -> ir.Value:
    """Return the IR value of the sum that `reduce_add_weighted` describes."""
    used = weight > 0.0
    if value.dtype != types.float64:
        value, weight = value.to(types.float64), weight.to(types.float64)
    return (value * weight).where(used, 0.0).sum()


@intrinsic
def reduce_add_squares(typing_context, vector):
    """Return the sum of the squares of the lanes, in float64, in a fixed order."""
    if not isinstance(vector, Vector):
        return None

    def generate(context, builder, signature, args):
        value = Value(context, builder, vector, args[0])
        value = value if vector.dtype == types.float64 else value.to(types.float64)
        return (value * value).sum()

    return types.float64(vector), generate


@intrinsic
def is_zero(typing_context, vector):
    """Return True if every lane is 0; NaN is not 0."""

    def generate(context, builder, signature, args):
        value = Value(context, builder, vector, args[0])
        return builder.fcmp_ordered("==", value.magnitude().sum(), LLVM_TYPES[vector.dtype](0.0))

    return types.boolean(vector), generate


def _register_operators() -> None:
    """Register the operators of vectors with numba, by the formulas of `Value`."""
    for symbol in (operator.add, operator.sub, operator.mul, operator.truediv):

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
