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
import importlib
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence

from llvmlite import ir
from numba import TypingError, types
from numba.extending import (
    NativeValue,
    intrinsic,
    lower_builtin,
    models,
    register_model,
    type_callable,
    typeof_impl,
    unbox,
)

from .entry import FunctionPointer, PointerTable, UnusedPointer
from .jit import Kernel, compile_code, kernel
from .kinds import Array, Kind, Pointer, Pointers, Struct
from .numba_internals import (
    ArrayFields,
    CompileResult,
    Signature,
    TargetContext,
    call_address,
    cgutils,
    checks_bounds,
    is_conversion_safe,
    is_disabled,
    make_array,
    return_error,
)


def _hash(value: object) -> str:
    return hashlib.sha256(str(value).encode()).hexdigest()[:16]


class FunctionPointerType(types.Type):
    """The numba type of a pointer to a kernel of this signature."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        super().__init__(name=f"FunctionPointer({_hash(signature)})")


class PointerTableType(types.Type):
    """The numba type of a table whose pointers have the type `item`."""

    def __init__(self, item: FunctionPointerType) -> None:
        self.item = item
        super().__init__(name=f"PointerTable({item})")


class ArgumentsType(types.Type):
    """The numba type of the address of a struct of arguments of these types."""

    def __init__(self, arguments: Sequence[types.Type]) -> None:
        self.arguments = types.Tuple(arguments)
        super().__init__(name=f"Arguments({_hash(self.arguments)})")


POINTER, WORD = ir.IntType(8).as_pointer(), ir.IntType(64)


@register_model(FunctionPointerType)
@register_model(PointerTableType)
@register_model(ArgumentsType)
class PointerModel(models.PrimitiveModel):
    """The data model of pointers, tables and addresses: an LLVM pointer."""

    def __init__(self, manager, kind):
        super().__init__(manager, kind, POINTER)


@functools.cache
def get_numba_type(kind: Kind) -> types.Type:
    match kind:
        case Array():
            return types.Array(get_numba_type(kind.item), kind.ndim, "C", readonly=kind.readonly)
        case Struct():
            fields = [get_numba_type(field) for field in kind.fields.values()]
            return types.BaseTuple.from_types(fields, None if kind.of is tuple else kind.of)
        case Pointer():
            arguments = [get_numba_type(argument) for argument in kind.arguments]
            return FunctionPointerType(get_numba_type(kind.result)(*arguments))
        case Pointers():
            return PointerTableType(get_numba_type(kind.item))
    return getattr(types, kind.key)


def make_entry_kernel(pointer: FunctionPointer) -> tuple[Kernel, tuple[ArgumentsType]]:
    """Return the kernel that takes the address of the arguments of a pointer's kernel, and its types.

    Where NUMBA_DISABLE_JIT is set, this is a RuntimeError.
    """
    if is_disabled():
        raise RuntimeError(
            "NUMBA_DISABLE_JIT is set, and fastnn's kernels only run compiled: unset it, or use "
            'backend="numpy"'
        )
    function = pointer.function
    if isinstance(function, str):
        module, name = function.rsplit(".", 1)
        function = getattr(importlib.import_module(f"..{module}", __package__), name)
    if pointer.factory_arguments is not None:
        function = function(*pointer.factory_arguments)
    return make_unpacking(function), (
        ArgumentsType([get_numba_type(kind) for kind in pointer.kinds.values()]),
    )


def compile_pointer(pointer: FunctionPointer) -> int:
    """Compile the kernel of a pointer, or load it from the cache, and return the address of its code."""
    kernel, arguments = make_entry_kernel(pointer)
    compiled = compile_code(kernel, arguments)
    check_result(pointer, compiled)
    return compiled.entry_point.address


def check_result(pointer: FunctionPointer, compiled: CompileResult) -> None:
    """Raise TypeError if a compiled kernel has another result than its pointer declares."""
    if compiled.signature.return_type != get_numba_type(pointer.result):
        raise TypeError(
            f"{pointer} returns {compiled.signature.return_type}, not {pointer.result} as declared"
        )


@typeof_impl.register(FunctionPointer)
@typeof_impl.register(UnusedPointer)
@typeof_impl.register(PointerTable)
def get_pointer_type(pointer, context):
    return get_numba_type(pointer.kind)


@unbox(FunctionPointerType)
@unbox(PointerTableType)
def unbox_pointer(kind, pointer, context):
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
def make_unpacking(function: Callable) -> Kernel:
    """Return the kernel that takes the address of a struct of arguments and calls `function` with them.

    The kernel stays in this cache forever, so that pointers to its code stay valid.
    """

    @kernel
    def unpack_and_call(address):
        return function(*unpack(address))

    return unpack_and_call


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
        with builder.if_then(cgutils.is_null(builder, args[0]), likely=False):
            return_error(context, builder, ValueError, "a kernel called an unused pointer, which has no code")
        address_type = ArgumentsType(signature.args)
        values = [
            context.cast(builder, value, given, wanted)
            for value, given, wanted in zip(
                cgutils.unpack_tuple(builder, args[1]), call_signature.args[1], signature.args, strict=True
            )
        ]
        words = list(_list_words(context, builder, signature.args, values))
        struct = cgutils.alloca_once(builder, _make_struct(context, address_type))
        for k, word in enumerate(words):
            builder.store(word, cgutils.gep_inbounds(builder, struct, 0, k))
        address = builder.bitcast(struct, POINTER)
        return call_address(context, builder, args[0], signature.return_type, (address_type,), [address])

    return signature.return_type(pointer, arguments), generate


@intrinsic
def unpack(typing_context, address):
    """Return the tuple of the arguments in the struct at an address; arrays have no reference count."""

    def generate(context, builder, signature, args):
        layout = _make_struct(context, address)
        struct = builder.bitcast(args[0], layout.as_pointer())
        words = (
            builder.load(cgutils.gep_inbounds(builder, struct, 0, k)) for k in range(len(layout.elements))
        )
        return _build_value(context, builder, address.arguments, words)

    return address.arguments(address), generate


def _make_struct(context: TargetContext, address: ArgumentsType) -> ir.LiteralStructType:
    """Return the LLVM type of a struct of arguments, with an element for each word."""

    def list_elements(kind: types.Type) -> Iterator[ir.Type]:
        if isinstance(kind, types.BaseTuple):
            for item in kind:
                yield from list_elements(item)
        elif isinstance(kind, types.Array):
            yield from (POINTER, *[WORD] * kind.ndim)
        else:
            yield context.get_value_type(kind)

    return ir.LiteralStructType(list(list_elements(address.arguments)))


def _list_words(
    context: TargetContext, builder: ir.IRBuilder, kinds: Iterable[types.Type], values: Iterable[ir.Value]
) -> Iterator[ir.Value]:
    """Yield the words of values: an array's address and shape, the items of a tuple, any other value."""
    for kind, value in zip(kinds, values, strict=True):
        if isinstance(kind, types.BaseTuple):
            yield from _list_words(context, builder, kind, cgutils.unpack_tuple(builder, value))
        elif isinstance(kind, types.Array):
            array = ArrayFields(context, builder, kind, value)
            yield builder.bitcast(array.data, POINTER)
            yield from cgutils.unpack_tuple(builder, array.shape, kind.ndim)
        else:
            yield value


def _build_value(
    context: TargetContext, builder: ir.IRBuilder, kind: types.Type, words: Iterator[ir.Value]
) -> ir.Value:
    """Return the value of type `kind` made of the next words: the inverse of `_list_words`."""
    if isinstance(kind, types.BaseTuple):
        return context.make_tuple(
            builder, kind, [_build_value(context, builder, item, words) for item in kind]
        )
    if not isinstance(kind, types.Array):
        return next(words)
    data = builder.bitcast(next(words), context.get_data_type(kind.dtype).as_pointer())
    shape = [next(words) for _ in range(kind.ndim)]
    return make_array(context, builder, kind, data, shape)
