"""Properties of the processor, such as the width of its vectors, and the mode that flushes subnormals.

All other modules work with any width of vectors: arrays are laid out in whole cache lines of 64 bytes, which
are a whole number of vectors on every processor.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.numba_internals import cgutils, cpu_features

__all__ = [
    "HAS_AVX512",
    "HAS_FMA",
    "IS_X86",
    "LINE_BYTES",
    "PIECE_BYTES",
    "VECTOR_BYTES",
    "flush_subnormals",
    "restore_mode",
]


IS_X86 = llvmlite.binding.get_process_triple().startswith(("x86_64", "i686", "i386"))


def _has(feature: str) -> bool:
    """Return True if numba compiles for a processor feature: NUMBA_CPU_FEATURES, else this processor's."""
    features = cpu_features()
    if features is not None:
        return f"+{feature}" in features.split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get(feature))


HAS_AVX512 = _has("avx512f")
# True if `Value.fma` rounds once. Only old x86 processors lack the instruction.
HAS_FMA = _has("fma") or not IS_X86
LINE_BYTES = 64
# LLVM's loop vectoriser prefers vectors of 32 bytes even with AVX-512; kernels use the full width.
VECTOR_BYTES = LINE_BYTES if HAS_AVX512 else 32

# Size of a piece of a vector: instructions that permute lanes within pieces of this size are cheaper than
# those that move lanes between pieces.
PIECE_BYTES = 16

# Bits of the x86 control register MXCSR: flush subnormal results to 0 (bit 15), and treat subnormal arguments
# as 0 (bit 6).
FLUSH_TO_ZERO = 0x8040


@intrinsic
def flush_subnormals(typing_context):
    """Make this thread treat subnormal numbers as 0, and return the previous mode, for `restore_mode`.

    If gradients become 0, their running mean decays through the subnormal numbers, where every operation
    takes a hundred cycles: a training with Adam would take twice as long. On processors other than x86 this
    function does nothing.
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
    """Set the mode that `flush_subnormals` returned."""

    def generate(context, builder, signature, args):
        if IS_X86:
            _control_register(builder, "ldmxcsr", args[0])
        return context.get_dummy_value()

    return types.void(types.uint32), generate


def _control_register(builder: Any, action: str, value: Any = None) -> Any:
    """Emit ``stmxcsr``, which returns the control register, or ``ldmxcsr``, which sets it to `value`.

    Both instructions take an address: the register passes through a variable on the stack.
    """
    cell = cgutils.alloca_once(builder, ir.IntType(32))
    if value is not None:
        builder.store(value, cell)
    pointer = builder.bitcast(cell, ir.IntType(8).as_pointer())
    signature = ir.FunctionType(ir.VoidType(), [pointer.type])
    function = cgutils.get_or_insert_function(builder.module, signature, f"llvm.x86.sse.{action}")
    builder.call(function, [pointer])
    return builder.load(cell)
