"""Targets: the processors and systems for which kernels are compiled ahead of time.

The kernels ask the target, and not the machine on which they are compiled, for the width of vectors, for
fused multiply-add, and for functions of the system. This module does not import numba.
"""

from __future__ import annotations

import os
from typing import NamedTuple

# Widths of vectors in bytes that the user may choose.
VECTOR_WIDTHS = (16, 32, 64)


class Target(NamedTuple):
    """A processor and its system."""

    triple: str  # LLVM's name of architecture and system
    # LLVM's names of the processor, and of the features that the architecture does not imply.
    cpu: str
    features: str
    # Size and number of the vector registers.
    register_bytes: int
    n_registers: int
    has_fma: bool  # True if a fused multiply-add rounds once

    @property
    def vector_bytes(self) -> int:
        """Width of the kernels' vectors.

        Vectors of 32 bytes in two registers of 16 are as fast as vectors of 16, and give the bits of AVX2.
        """
        return max(32, self.register_bytes)

    @property
    def constants(self) -> tuple:
        """Properties that LLVM IR depends on, equal for many targets."""
        return self.is_x86, self.is_aarch64, self.is_wasm, *self[3:], self.yield_function

    @property
    def yield_function(self) -> str:
        """Name of the C function, without arguments, by which a thread yields its core."""
        return "SwitchToThread" if "windows" in self.triple else "sched_yield"

    @property
    def is_wasm(self) -> bool:
        """True for WebAssembly, whose addresses have 32 bits."""
        return self.triple.startswith("wasm32")

    @property
    def is_x86(self) -> bool:
        return self.triple.startswith(("x86_64", "i686", "i386"))

    @property
    def is_aarch64(self) -> bool:
        return self.triple.startswith(("aarch64", "arm64"))


# The levels of the x86-64 ABI (System V ABI, AMD64 supplement, section 3.1.1), of which the third has AVX2
# and FMA, and the fourth AVX-512. Each contains the one before. Every feature has its bit of CPUID in
# `library.FEATURE_BITS`.
V2 = "+cx16,+popcnt,+sahf,+sse3,+sse4.1,+sse4.2,+ssse3"
V3 = f"{V2},+avx,+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+xsave"
V4 = f"{V3},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"
# What every browser with SIMD has. Relaxed SIMD would be faster by a fifth, but its rounding depends on the
# processor.
WASM = "+simd128,+bulk-memory,+bulk-memory-opt,+sign-ext,+nontrapping-fptoint,+mutable-globals"


def _make_x86_targets(system: str, triple: str) -> dict[str, Target]:
    """Return the targets of a system on x86-64, the fastest first."""
    return {
        f"{system}-x86-64-v4": Target(triple, "x86-64-v4", V4, 64, 32, True),
        f"{system}-x86-64-v3": Target(triple, "x86-64-v3", V3, 32, 16, True),
        f"{system}-x86-64-v2": Target(triple, "x86-64-v2", V2, 16, 16, False),
    }


# Targets by name; of a system, the fastest first.
TARGETS: dict[str, Target] = {
    **_make_x86_targets("linux", "x86_64-unknown-linux-gnu"),
    "linux-aarch64": Target("aarch64-unknown-linux-gnu", "generic", "+neon", 16, 32, True),
    # macOS enables AVX-512 for a thread when it first uses it: a library could not ask beforehand.
    **{
        name: target
        for name, target in _make_x86_targets("macos", "x86_64-apple-macosx11.0.0").items()
        if target.register_bytes < 64
    },
    "macos-arm64": Target("arm64-apple-macosx11.0.0", "apple-m1", "", 16, 32, True),
    **_make_x86_targets("windows", "x86_64-pc-windows-gnu"),
    "windows-arm64": Target("aarch64-pc-windows-gnu", "generic", "+neon", 16, 32, True),
    "emscripten-wasm32": Target("wasm32-unknown-emscripten", "generic", WASM, 16, 16, False),
}


def read_vector_bytes() -> int:
    """Return the width of the kernels' vectors that the user chose by FASTNN_VECTOR_BYTES; 0 if none.

    A width that is not one of `VECTOR_WIDTHS` is a ValueError.
    """
    setting = os.environ.get("FASTNN_VECTOR_BYTES", "").strip()
    if setting and setting not in map(str, VECTOR_WIDTHS):
        raise ValueError(
            f"the environment variable FASTNN_VECTOR_BYTES must be 16, 32 or 64, got {setting!r}: correct "
            "it, or unset it for the width of this processor"
        )
    return int(setting or 0)
