"""Calls of kernels through pointers, so that one compiled caller serves many callees.

A training combines one of many activations, losses and optimizers. If their formulas were inlined in the
training loop, every combination would need a loop of its own, which takes seconds to compile. Instead every
formula is compiled to separate machine code, and the training loop gets pointers to the formulas that it
calls.

The type of a pointer includes the types of the arguments and of the result, so that a call is type-checked
when it is compiled. The caller writes the arguments to its stack, an array as its address and its shape, and
passes the address of the first. Numba's calling convention passes seven to nine numbers for an array and
checks its reference count, which costs a small network a third of its time; the cost of a call in this module
is too small to measure.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import operator
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import TypingError, from_dtype, typeof, types
from numba.extending import (
    NativeValue,
    intrinsic,
    lower_builtin,
    models,
    register_model,
    type_callable,
    unbox,
)

from .forks import cached_property
from .jit import arrays_among, is_code_saved, kernel, machine_code
from .numba_internals import (
    ArrayFields,
    Signature,
    array_without_count,
    call_address,
    cgutils,
    checks_bounds,
    dispatcher_function,
    is_conversion_safe,
    return_error,
    set_numba_type,
)

__all__ = ["FunctionPointer", "PointerTable", "UnusedPointer", "array_types", "call"]


class ArrayTypes(NamedTuple):
    """Numba types of the arguments of kernels, all of one dtype."""

    scalar: Any
    flat: Any  # one-dimensional array
    matrix: Any  # two-dimensional array
    inputs: Any  # read-only two-dimensional array


def array_types(dtype: np.dtype) -> ArrayTypes:
    """Return the numba types of scalars and C-contiguous arrays of `dtype`."""
    scalar = from_dtype(dtype)
    return ArrayTypes(
        scalar,
        types.Array(scalar, 1, "C"),
        types.Array(scalar, 2, "C"),
        types.Array(scalar, 2, "C", readonly=True),
    )


def _digest(value: object) -> str:
    """Return a short digest of the value's text."""
    return hashlib.sha256(str(value).encode()).hexdigest()[:16]


class FunctionPointerType(types.Type):
    """The numba type of a pointer to a kernel of this signature."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        super().__init__(name=f"FunctionPointer({_digest(signature)})")


class PointerTableType(types.Type):
    """The numba type of a table whose pointers have the type `item`."""

    def __init__(self, item: FunctionPointerType) -> None:
        self.item = item
        super().__init__(name=f"PointerTable({item})")


class ArgumentsType(types.Type):
    """The numba type of the address of a struct of arguments of these types."""

    def __init__(self, arguments: Sequence[Any]) -> None:
        self.arguments = types.Tuple(arguments)
        super().__init__(name=f"Arguments({_digest(self.arguments)})")


POINTER, WORD = ir.IntType(8).as_pointer(), ir.IntType(64)


@register_model(FunctionPointerType)
@register_model(PointerTableType)
@register_model(ArgumentsType)
class PointerModel(models.PrimitiveModel):
    """The data model of pointers, tables and addresses: an LLVM pointer."""

    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, POINTER)


class FunctionPointer:
    """A pointer to a kernel, which other kernels call with `call`.

    The kernel is compiled when its address is needed. To compile a caller, the type of the pointer suffices.

    Parameters
    ----------
    function : kernel
    arguments : sequence of numba types
        Types of the arguments of a call. Arrays are C-contiguous and aligned.
    result : numba type
        Type of the result; not an array, whose memory nothing would free.

    Attributes
    ----------
    result : numba type

    Raises
    ------
    TypeError
        For arrays that are not C-contiguous and aligned, since calls pass no strides, and for results that
        are arrays. When the kernel is compiled: if its result has another type.
    """

    def __init__(self, function: Any, arguments: Sequence[Any], result: Any) -> None:
        for array in arrays_among(arguments):
            if array.layout != "C" or not array.aligned:
                raise TypeError(
                    f"a kernel called through a pointer takes C-contiguous, aligned arrays, not {array}"
                )
        if list(arrays_among([result])):
            raise TypeError(f"{function} returns {result}: let it fill an argument")
        self._function, self._types = unpacking(function), (ArgumentsType(arguments),)
        set_numba_type(self, FunctionPointerType(result(*arguments)))
        self._called, self._kinds, self.result = function, tuple(arguments), result

    @cached_property
    def kinds(self) -> dict[str, Any]:
        """Types of the arguments, by name."""
        names = inspect.signature(dispatcher_function(self._called) or self._called).parameters
        return dict(zip(names, self._kinds, strict=True))

    @cached_property
    def address(self) -> int:
        """Address of the machine code. The first access compiles the kernel, or loads it from the cache."""
        compiled = machine_code(self._function, self._types)
        if compiled.signature.return_type != self.result:
            raise TypeError(
                f"{self._function} returns {compiled.signature.return_type}, not {self.result} as declared"
            )
        return compiled.entry_point.address

    def compile(self) -> None:
        """Compile the kernel, or load it from the cache."""
        _ = self.address

    @property
    def is_saved(self) -> bool:
        """True if the kernel has been compiled in this process, or is in the cache."""
        return "address" in vars(self) or is_code_saved(self._function, self._types)


class UnusedPointer:
    """A pointer of the type of `pointer` without a kernel, for a caller that does not call it.

    Nothing is compiled. If kernels check bounds, a call raises ValueError.

    Parameters
    ----------
    pointer : FunctionPointer
    """

    address = 0

    def __init__(self, pointer: FunctionPointer) -> None:
        set_numba_type(self, typeof(pointer))

    def compile(self) -> None:
        """Do nothing: there is no kernel."""


class PointerTable:
    """A table of pointers of one type, from which a kernel chooses one by number: ``table[k]``.

    Parameters
    ----------
    pointers : sequence of FunctionPointer
        At least one.
    """

    def __init__(self, pointers: Sequence[FunctionPointer]) -> None:
        self._pointers = tuple(pointers)
        (item,) = {typeof(pointer) for pointer in pointers}
        set_numba_type(self, PointerTableType(item))

    @cached_property
    def _entries(self) -> np.ndarray:
        """Addresses of the kernels, after their number, which bounds checks read."""
        addresses = (pointer.address for pointer in self._pointers)
        return np.array([len(self._pointers), *addresses], np.uintp)

    @cached_property
    def address(self) -> int:
        """Address of the table. The first access compiles or loads the kernels."""
        return self._entries.ctypes.data

    def compile(self) -> None:
        """Compile the kernels, or load them from the cache."""
        _ = self.address


@unbox(FunctionPointerType)
@unbox(PointerTableType)
def unbox_pointer(kind: Any, pointer: Any, context: Any) -> NativeValue:
    """Return the address of a pointer or table, the value it has in compiled code."""
    builder, api = context.builder, context.pyapi
    address = cgutils.alloca_once_value(builder, ir.Constant(POINTER, None))
    number = api.object_getattr_string(pointer, "address")
    failed = cgutils.is_null(builder, number)
    with cgutils.if_likely(builder, builder.not_(failed)):
        builder.store(api.long_as_voidptr(number), address)
        api.decref(number)
    return NativeValue(builder.load(address), is_error=failed)


@functools.cache
def unpacking(function: Any) -> Any:
    """Return the kernel that takes the address of a struct of arguments and calls `function` with them.

    The kernel stays in this cache for ever, so that pointers to its code stay valid.
    """

    @kernel
    def unpacking(address):
        return function(*unpacked(address))

    return unpacking


# --- in compiled code ----------------------------------------------------------------------------


@type_callable(operator.getitem)
def type_entry(typing_context):
    """Return the typer of ``table[k]``."""

    def typer(table, k):
        if isinstance(table, PointerTableType) and isinstance(k, types.Integer):
            return table.item
        return None

    return typer


@lower_builtin(operator.getitem, PointerTableType, types.Integer)
def emit_entry(context, builder, signature, args):
    """Emit ``table[k]``."""
    k = context.cast(builder, args[1], signature.args[1], types.intp)
    if checks_bounds(context):
        count = builder.load(builder.bitcast(args[0], WORD.as_pointer()))
        cgutils.do_boundscheck(context, builder, k, count)
    entries = builder.bitcast(args[0], POINTER.as_pointer())
    return builder.load(builder.gep(entries, [builder.add(k, WORD(1))]))


@intrinsic
def call(typing_context, pointer, arguments):
    """Call the kernel at `pointer` with a tuple of arguments, and return its result."""
    if not (isinstance(pointer, FunctionPointerType) and isinstance(arguments, types.BaseTuple)):
        return None
    signature = pointer.signature
    if len(arguments) != len(signature.args):
        raise TypingError(f"{len(arguments)} arguments for a pointer to {signature}")
    for k, (given, wanted) in enumerate(zip(arguments, signature.args, strict=True)):
        if not is_conversion_safe(typing_context, given, wanted):
            raise TypingError(f"argument {k} is {given}, for a pointer to {signature}")

    def generate(context, builder, call_signature, args):
        if checks_bounds(context):
            with builder.if_then(cgutils.is_null(builder, args[0]), likely=False):
                return_error(
                    context, builder, ValueError, "a kernel called an unused pointer, which has no code"
                )
        address_type = ArgumentsType(signature.args)
        values = [
            context.cast(builder, value, given, wanted)
            for value, given, wanted in zip(
                cgutils.unpack_tuple(builder, args[1]), call_signature.args[1], signature.args, strict=True
            )
        ]
        words = list(_words(context, builder, signature.args, values))
        struct = cgutils.alloca_once(builder, _layout(context, address_type))
        for k, word in enumerate(words):
            builder.store(word, cgutils.gep_inbounds(builder, struct, 0, k))
        address = builder.bitcast(struct, POINTER)
        return call_address(context, builder, args[0], signature.return_type, (address_type,), [address])

    return signature.return_type(pointer, arguments), generate


@intrinsic
def unpacked(typing_context, address):
    """Return the tuple of the arguments in the struct at an address; arrays have no reference count."""

    def generate(context, builder, signature, args):
        layout = _layout(context, address)
        struct = builder.bitcast(args[0], layout.as_pointer())
        words = (
            builder.load(cgutils.gep_inbounds(builder, struct, 0, k)) for k in range(len(layout.elements))
        )
        return _value(context, builder, address.arguments, words)

    return address.arguments(address), generate


def _layout(context: Any, address: ArgumentsType) -> ir.LiteralStructType:
    """Return the LLVM type of a struct of arguments, with an element for each word."""

    def elements(kind: Any) -> Iterator[Any]:
        if isinstance(kind, types.BaseTuple):
            for item in kind:
                yield from elements(item)
        elif isinstance(kind, types.Array):
            yield from (POINTER, *[WORD] * kind.ndim)
        else:
            yield context.get_value_type(kind)

    return ir.LiteralStructType(list(elements(address.arguments)))


def _words(context: Any, builder: Any, kinds: Any, values: Any) -> Iterator[Any]:
    """Yield the words of values: an array's address and shape, the items of a tuple, any other value."""
    for kind, value in zip(kinds, values, strict=True):
        if isinstance(kind, types.BaseTuple):
            yield from _words(context, builder, kind, cgutils.unpack_tuple(builder, value))
        elif isinstance(kind, types.Array):
            array = ArrayFields(context, builder, kind, value)
            yield builder.bitcast(array.data, POINTER)
            yield from cgutils.unpack_tuple(builder, array.shape, kind.ndim)
        else:
            yield value


def _value(context: Any, builder: Any, kind: Any, words: Iterator[Any]) -> Any:
    """Return the value of type `kind` made of the next words: the inverse of `_words`."""
    if isinstance(kind, types.BaseTuple):
        return context.make_tuple(builder, kind, [_value(context, builder, item, words) for item in kind])
    if not isinstance(kind, types.Array):
        return next(words)
    data = builder.bitcast(next(words), context.get_data_type(kind.dtype).as_pointer())
    shape = [next(words) for _ in range(kind.ndim)]
    itemsize = context.get_constant(types.intp, kind.dtype.bitwidth // 8)
    strides = [itemsize]
    for size in shape[:0:-1]:
        strides.insert(0, builder.mul(size, strides[0]))
    return array_without_count(
        context, builder, kind, data=data, shape=shape, strides=strides, itemsize=itemsize
    )
