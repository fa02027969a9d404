"""A barrier at which the threads that run a kernel in parallel wait for one another.

Every thread has a counter of its arrivals, on cache lines of its own in shared memory. A thread that arrives
increments its counter, and spins until no counter is behind. The waiting ends as soon as one cache line has
moved from core to core, a few hundred nanoseconds after the last arrival if every thread has a core. After
`SPINS` reads, a waiting thread yields its core.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from ..calls.training import COUNTER_DISTANCE
from ..compiler.numba_internals import ArrayFields, cgutils
from .processor import IS_X86, TARGET
from .vector import shared_function

# Reads of a counter before a thread yields its core: some 20 us.
SPINS = 1000


@intrinsic
def wait(typing_context, barrier, thread, n_threads):
    """Wait until each of the `n_threads` threads has called this function as often as the present thread.

    barrier (n_threads * `COUNTER_DISTANCE` or more,) of int64: the counters, equal for all threads before
    their first call. What a thread wrote before the call is visible to all threads after it. A single thread
    does not wait.
    """
    if not (isinstance(barrier, types.Array) and barrier.dtype == types.int64 and barrier.ndim == 1):
        return None

    def generate(context, builder, signature, args):
        data = ArrayFields(context, builder, barrier, args[0]).data
        n_threads = args[2]
        with builder.if_then(builder.icmp_signed(">", n_threads, n_threads.type(1))):
            kinds = [data.type, n_threads.type, n_threads.type]
            function = shared_function(builder.module, "fastnn_wait", kinds, _emit_wait)
            builder.call(function, [data, args[1], n_threads])
        return context.get_dummy_value()

    return types.void(barrier, types.int64, types.int64), generate


def _emit_wait(builder: ir.IRBuilder, counters: ir.Value, thread: ir.Value, n_threads: ir.Value) -> None:
    """Emit the body of the shared function that waits."""
    zero, one, distance = (n_threads.type(number) for number in (0, 1, COUNTER_DISTANCE))
    mine = builder.gep(counters, [builder.mul(thread, distance)], inbounds=True)
    arrivals = builder.add(builder.load(mine), one)
    builder.store_atomic(arrivals, mine, "release", 8)
    spins = cgutils.alloca_once(builder, zero.type)
    with cgutils.for_range_slice(builder, zero, n_threads, one, inc=True) as (other, _):
        theirs = builder.gep(counters, [builder.mul(other, distance)], inbounds=True)
        builder.store(zero, spins)
        head, body, end = (builder.append_basic_block(f"wait.{name}") for name in ("head", "body", "end"))
        builder.branch(head)
        builder.position_at_end(head)
        # A thread may have arrived at the next barrier already: its counter is then ahead.
        is_behind = builder.icmp_signed("<", builder.load_atomic(theirs, "acquire", 8), arrivals)
        builder.cbranch(is_behind, body, end)
        builder.position_at_end(body)
        count = builder.add(builder.load(spins), one)
        builder.store(count, spins)
        if IS_X86:
            pause = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"
            )
            builder.call(pause, [])
        with builder.if_then(builder.icmp_signed(">", count, one.type(SPINS))):
            yield_core = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(ir.IntType(32), []), TARGET.yield_function
            )
            builder.call(yield_core, [])
        builder.branch(head)
        builder.position_at_end(end)
