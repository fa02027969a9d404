"""Optional parts of a training step, which are compiled only for trainings that use them.

The training loop calls an option through a pointer. If the options were inlined in the loop, each loop would
take a third longer to compile, for the few trainings that use them all. The pointer of an option that is not
used has no code.

Several threads may share a step. A kernel with the argument `thread`, the number of a thread, is called by
every thread; if it has an argument `barrier`, it waits for the other threads. Samples are gathered by the
thread that computes their gradient; the other options are called by the first thread alone.

Shape letters: L layers, I inputs, Y targets of a sample, T samples of a tile, G shards, P parameters (a whole
number of cache lines), R records.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from .compiler.jit import kernel
from .compiler.pointer import FunctionPointer, UnusedPointer, array_types
from .network import INPUTS, OUTPUTS, WEIGHTS
from .small_batch import gather_columns, gather_samples
from .step import BLOCK, thread_share
from .team import part_squares
from .update import add_to_average, gradient_square_sum, limit_norms, parameter_square_sum
from .vectors.barrier import wait
from .vectors.vector import view

__all__ = ["Options", "compile_options", "option_pointers", "record_ratios"]


@kernel
def gather_by_rows(X, y, indices, first, n, rows, tile):
    """Gather the n samples ``indices[first : first + n]`` of X to rows (n, I), and of y to a tile (Y, T)."""
    gather_samples(X, indices, first, rows)
    gather_columns(y, indices, first, n, tile)


@kernel
def block_squares(plan, parameters, n_weights, thread, n_threads, squares):
    """Fill squares (P / BLOCK,) with the sum of squares of the weights in each block.

    The weights are the first `n_weights` parameters. plan is not used: the signature is that of
    `team.part_squares`.
    """
    for block in range(thread, squares.shape[0], n_threads):
        begin, end = min(block * BLOCK, n_weights), min((block + 1) * BLOCK, n_weights)
        squares[block] = parameter_square_sum(parameters, begin, end)


@kernel
def gradient_norm(gradients, size, thread, n_threads, barrier, partial):
    """Return the Euclidean norm of the sum of the gradients.

    gradients (G, P or more); size: P; partial (P / BLOCK,) is a workspace.
    """
    for block in range(thread, partial.shape[0], n_threads):
        partial[block] = gradient_square_sum(gradients, block * BLOCK, min((block + 1) * BLOCK, size))
    wait(barrier, thread, n_threads)
    total = 0.0
    for block in range(partial.shape[0]):
        total += partial[block]
    return np.sqrt(total)


@kernel
def limit_all_norms(plan, parameters, limit):
    """Apply `update.limit_norms` to the weights of every layer."""
    for layer in range(plan.shape[0]):
        W = view(parameters, plan[layer, WEIGHTS], plan[layer, INPUTS], plan[layer, OUTPUTS])
        limit_norms(W, limit)


@kernel
def average_share(parameters, weight, thread, n_threads, average):
    """Apply `update.add_to_average` to this thread's share of parameters and average, both (P,)."""
    begin, end = thread_share(parameters, thread, n_threads)
    add_to_average(parameters, parameters.dtype.type(weight), begin, end, average)


@kernel
def record_ratios(plan, parameters, before, record, ratios):
    """Write ``|W - W_before| / |W_before|`` for the weights W of every layer to ``ratios[record]``.

    parameters (P,) and before (P,) have the weights after and before the step; ratios (R, L).
    """
    for layer in range(plan.shape[0]):
        begin = plan[layer, WEIGHTS]
        change, size = 0.0, 0.0
        for k in range(begin, begin + plan[layer, INPUTS] * plan[layer, OUTPUTS]):
            difference = np.float64(parameters[k]) - before[k]
            change += difference * difference
            size += np.float64(before[k]) * before[k]
        ratios[record, layer] = np.sqrt(change / size) if size > 0.0 else 0.0


class Options(NamedTuple):
    """Pointers to the optional parts of a step; see `used_options` for the trainings that use each."""

    gather_by_rows: Any
    weight_squares: Any  # `block_squares`, or `team.part_squares` if threads share units
    gradient_norm: Any
    limit_all_norms: Any
    average_share: Any
    record_ratios: Any


def used_options(settings: Any, gathered: bool) -> tuple[str, ...]:
    """Return the names of the options that a training with these `train.Settings` uses.

    gathered: True if the samples of each batch are gathered from the table.
    """
    is_used = {
        "gather_by_rows": gathered and settings.by_rows,
        "weight_squares": settings.of_objective and settings.reg_lambda > 0,
        "gradient_norm": not settings.of_objective or settings.clip_norm > 0,
        "limit_all_norms": settings.max_norm > 0,
        "average_share": settings.average_share > 0,
        "record_ratios": not settings.of_objective,
    }
    return tuple(name for name, used in is_used.items() if used)


@functools.cache
def option_pointers(used: tuple[str, ...], team: bool, dtype: np.dtype) -> Options:
    """Return the pointers of all options: to the kernels of those that are `used`, fields by name.

    team: True if threads share units.
    """
    of, real = array_types(dtype), array_types(np.dtype(np.float64))
    plan, integers = types.Array(types.int64, 2, "C"), types.Array(types.int64, 1, "C")
    integer, number, thread = types.int64, types.float64, (types.int64, types.int64)
    squares = part_squares if team else block_squares
    pointers = {
        "gather_by_rows": FunctionPointer(
            gather_by_rows,
            (of.inputs, of.inputs, integers, integer, integer, of.matrix, of.matrix),
            types.none,
        ),
        "weight_squares": FunctionPointer(squares, (plan, of.flat, integer, *thread, real.flat), types.none),
        "gradient_norm": FunctionPointer(
            gradient_norm, (of.matrix, integer, *thread, integers, real.flat), number
        ),
        "limit_all_norms": FunctionPointer(limit_all_norms, (plan, of.flat, number), types.none),
        "average_share": FunctionPointer(average_share, (of.flat, number, *thread, of.flat), types.none),
        "record_ratios": FunctionPointer(
            record_ratios, (plan, of.flat, of.flat, integer, real.matrix), types.none
        ),
    }
    return Options(
        **{name: pointer if name in used else UnusedPointer(pointer) for name, pointer in pointers.items()}
    )


def compile_options(used: Sequence[str], team: bool, dtype: str) -> None:
    """Compile, or load, the kernels of the options that are `used`.

    The companion process calls this function: all arguments are names and booleans.
    """
    for pointer in option_pointers(tuple(used), team, np.dtype(dtype)):
        pointer.compile()
