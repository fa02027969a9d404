"""A barrier at which the threads that run a kernel in parallel wait for one another.

A barrier has two counters in shared memory: the threads that have arrived, and the rounds that are finished.
The last thread to arrive increments the number of rounds. The others spin until that number changes, which
takes a few hundred nanoseconds if every thread has a core, and yield their cores after `SPINS` reads.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..compiler.numba_internals import ArrayFields, cgutils
from .processor import IS_X86
from .vector import shared_function

__all__ = ["wait"]

# Reads of the number of rounds before a thread yields its core: some 20 us.
SPINS = 1000
# Name of the C function that yields the core, of POSIX or Windows, both without arguments; None if neither
# exists.
YIELD = next(
    (name for name in ("sched_yield", "SwitchToThread") if llvmlite.binding.address_of_symbol(name)), None
)


@intrinsic
def wait(typing_context, barrier, n_threads):
    """Wait until `n_threads` threads have called this function; barrier (16,) of int64, initially zeros.

    What a thread wrote before the call is visible to all threads after it. A single thread does not wait.
    """
    if not (isinstance(barrier, types.Array) and barrier.dtype == types.int64 and barrier.ndim == 1):
        return None

    def generate(context, builder, signature, args):
        data = ArrayFields(context, builder, barrier, args[0]).data
        with builder.if_then(builder.icmp_signed(">", args[1], args[1].type(1))):
            kinds = [data.type, args[1].type]
            function = shared_function(builder.module, "fastnn_wait", kinds, _emit_wait)
            builder.call(function, [data, args[1]])
        return context.get_dummy_value()

    return types.void(barrier, types.int64), generate


def _emit_wait(builder: Any, arrived: Any, n_threads: Any) -> None:
    """Emit the body of the shared function that waits."""
    one = n_threads.type(1)
    # Spinning on one counter must not slow down updates of the other: they lie a cache line apart.
    finished = builder.gep(arrived, [one.type(8)], inbounds=True)
    now = builder.load_atomic(finished, "acquire", 8)
    before = builder.atomic_rmw("add", arrived, one, "acq_rel")
    is_last = builder.icmp_signed("==", builder.add(before, one), n_threads)
    with builder.if_else(is_last) as (last, others):
        with last:
            builder.store_atomic(one.type(0), arrived, "monotonic", 8)
            builder.atomic_rmw("add", finished, one, "release")
        with others:
            spins = cgutils.alloca_once_value(builder, one.type(0))
            head, body, end = (builder.append_basic_block(f"wait.{name}") for name in ("head", "body", "end"))
            builder.branch(head)
            builder.position_at_end(head)
            same = builder.icmp_signed("==", builder.load_atomic(finished, "acquire", 8), now)
            builder.cbranch(same, body, end)
            builder.position_at_end(body)
            count = builder.add(builder.load(spins), one)
            builder.store(count, spins)
            if IS_X86:
                pause = cgutils.get_or_insert_function(
                    builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
                )
                builder.call(pause, [])
            if YIELD:
                with builder.if_then(builder.icmp_signed(">", count, one.type(SPINS))):
                    yield_core = cgutils.get_or_insert_function(
                        builder.module, ir.FunctionType(ir.IntType(32), []), YIELD
                    )
                    builder.call(yield_core, [])
            builder.branch(head)
            builder.position_at_end(end)
