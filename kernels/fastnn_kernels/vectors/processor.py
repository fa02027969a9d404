"""The processor: the width of its vectors, and the mode in which a thread computes.

Everything above this file works for any width: arrays are laid out in whole cache lines of 64 bytes, which
hold whole vectors on every processor.
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
    """Return True if numba compiles for a feature: by NUMBA_CPU_FEATURES, else by this processor."""
    features = cpu_features()
    if features is not None:
        return f"+{feature}" in features.split(",")
    return bool(llvmlite.binding.get_host_cpu_features().get(feature))


HAS_AVX512 = _has("avx512f")
# True if `Value.fma` rounds once. Only old x86 processors lack the instruction.
HAS_FMA = _has("fma") or not IS_X86
LINE_BYTES = 64
# Numba's own loop vectoriser prefers vectors of 32 bytes; kernels use full width where the processor has it.
VECTOR_BYTES = LINE_BYTES if HAS_AVX512 else 32

# Vectors exchange values within pieces of so many bytes more easily than from one piece to another.
PIECE_BYTES = 16

# Bits of the control register of x86: subnormal results become 0 (bit 15), and so do arguments (bit 6).
FLUSH_TO_ZERO = 0x8040


@intrinsic
def flush_subnormals(typing_context):
    """Let this thread treat subnormal numbers as 0, and return the mode that `restore_mode` takes.

    A running mean of gradients that have become 0 decays through the subnormal numbers, where every operation
    takes a hundred cycles: a training by Adam would take twice as long. On processors other than x86 nothing
    happens.
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
