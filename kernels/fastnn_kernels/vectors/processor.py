"""The width of the vectors, the registers of the processor, and the mode that flushes subnormals.

All other modules work with vectors of any width, because arrays are laid out in whole cache lines of 64
bytes, which are a whole number of vectors. A vector has 64 bytes with AVX-512, else 32, unless the
environment variable `FASTNN_VECTOR_BYTES` says otherwise: LLVM computes with wider vectors in several
registers. The width decides the order in which sums are added, and nothing else does, so results of one width
have the same bits on every processor with fused multiply-add. Registers decide how fast they are.
"""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.numba_internals import cgutils, get_cpu_features
from ..compiler.prebuilt import get_kernel_target
from ..compiler.target import Target, read_vector_bytes


def _has(feature: str) -> bool:
    """Return True if numba compiles for a processor feature: NUMBA_CPU_FEATURES, else this processor's."""
    features = get_cpu_features()
    if features is not None:
        return f"+{feature}" in features.split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get(feature))


def describe_processor() -> Target:
    """Return the target of this process: registers of AVX-512, of AVX, or of SSE and NEON.

    LLVM's loop vectoriser prefers half of AVX-512's registers; kernels use all of them.
    """
    triple, has_avx512 = llvmlite.binding.get_process_triple(), _has("avx512f")
    target = Target(triple, "", "", LINE_BYTES if has_avx512 else 32 if _has("avx") else 16, 32, True)
    if not target.is_x86:
        return target
    # Only old x86 processors lack fused multiply-add.
    return target._replace(n_registers=32 if has_avx512 else 16, has_fma=_has("fma"))


LINE_BYTES = 64
TARGET = get_kernel_target() or describe_processor()
IS_X86, IS_AARCH64 = TARGET.is_x86, TARGET.is_aarch64
# True if `Value.fma` rounds once.
HAS_FMA = TARGET.has_fma
REGISTER_BYTES, N_REGISTERS = TARGET.register_bytes, TARGET.n_registers
VECTOR_BYTES = read_vector_bytes() or TARGET.vector_bytes

# Size of a piece of a vector: instructions that permute lanes within pieces of this size are cheaper than
# those that move lanes between pieces.
PIECE_BYTES = 16

# Bits that flush subnormal results to 0 and treat subnormal arguments as 0: bits 15 and 6 of the x86 control
# register MXCSR, bit 24 of FPCR on aarch64.
FLUSH_TO_ZERO = 0x8040 if IS_X86 else 1 << 24


@intrinsic
def flush_subnormals(typing_context):
    """Make this thread treat subnormal numbers as 0, and return the previous mode, for `restore_mode`.

    If gradients become 0, their running mean decays through the subnormal numbers, where every operation
    takes a hundred cycles: a training with Adam would take twice as long. Processors other than x86 and
    aarch64 compute with subnormal numbers.
    """

    def generate(context, builder, signature, args):
        if IS_X86:
            mode = _emit_mxcsr(builder, "stmxcsr")
            _emit_mxcsr(builder, "ldmxcsr", builder.or_(mode, mode.type(FLUSH_TO_ZERO)))
            return mode
        if IS_AARCH64:
            mode = _emit_fpcr(builder)
            _emit_fpcr(builder, builder.or_(mode, mode.type(FLUSH_TO_ZERO)))
            return builder.trunc(mode, ir.IntType(32))
        return ir.IntType(32)(0)

    return types.uint32(), generate


@intrinsic
def restore_mode(typing_context, mode):
    """Set the mode that `flush_subnormals` returned."""

    def generate(context, builder, signature, args):
        if IS_X86:
            _emit_mxcsr(builder, "ldmxcsr", args[0])
        elif IS_AARCH64:
            _emit_fpcr(builder, builder.zext(args[0], ir.IntType(64)))
        return context.get_dummy_value()

    return types.void(types.uint32), generate


def _emit_mxcsr(builder: ir.IRBuilder, action: str, value: ir.Value | None = None) -> ir.Value:
    """Emit ``stmxcsr``, which returns the control register, or ``ldmxcsr``, which sets it to `value`.

    Both instructions take an address, so the register passes through a variable on the stack.
    """
    cell = cgutils.alloca_once(builder, ir.IntType(32))
    if value is not None:
        builder.store(value, cell)
    pointer = builder.bitcast(cell, ir.IntType(8).as_pointer())
    signature = ir.FunctionType(ir.VoidType(), [pointer.type])
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.sse.{action}")
    builder.call(function, [pointer])
    return builder.load(cell)


def _emit_fpcr(builder: ir.IRBuilder, value: ir.Value | None = None) -> ir.Value:
    """Emit an instruction that returns the control register, or one that sets it to `value`."""
    register = ir.IntType(64)
    if value is None:
        signature, name = ir.FunctionType(register, []), "llvm.aarch64.get.fpcr"
    else:
        signature, name = ir.FunctionType(ir.VoidType(), [register]), "llvm.aarch64.set.fpcr"
    function = cgutils.get_or_insert_function(builder.module, signature, name)
    return builder.call(function, [] if value is None else [value])
