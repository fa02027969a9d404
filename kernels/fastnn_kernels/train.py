"""The training loop: many steps in one call, on one thread or on several side by side.

A *step* changes the parameters once. Its *batch*, all samples or some, is cut into *shards*, each with a
gradient of its own, and a shard into *tiles*. How many shards there are depends on the problem alone, and
their gradients are added in a fixed order: the result has the same bits for any number of threads. A *round*
is one tile of every shard. A call may stop between rounds, in the middle of a step, and the next call goes on
from there: a call stays short however large a batch is.

Shape letters: L layers, I inputs, Y targets of a sample, N samples, T samples of a tile (a whole
number of vectors), G shards, P parameters (a whole number of vectors), C coefficients of the optimizer.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import typeof, types

from .compiler.jit import kernel
from .compiler.pointer import FunctionPointer, PointerTable, array_types, call
from .layer import backward_table, forward_table
from .loss import backward_pointer
from .network import DUNITS, INPUTS, OUTPUTS, Batch, backward_pass, forward_pass, last_outputs, turned_width
from .random import draw, shuffle
from .sparse import SparseTile, Table, tile_type
from .step import (
    BLOCK,
    add_blocks_to_average,
    all_are_finite,
    batch_scale,
    block_squares,
    block_update,
    copy_blocks,
    gather_weights,
    gradient_norm,
    limit_all_norms,
    note_loss,
    note_plateau,
    note_ratios,
    shrink_factor,
)
from .team import N_PARTS, Change, gather_part, part_squares, team_gradient, team_update
from .update import update_pointer
from .vectors.barrier import wait
from .vectors.processor import flush_subnormals, restore_mode
from .vectors.tile import gather_tile
from .vectors.vector import borrow, row, view

__all__ = [
    "BLOCK",
    "Data",
    "GradientPointers",
    "Settings",
    "State",
    "Workspace",
    "gradient_pointers",
    "loss_and_gradient",
    "train_steps",
    "update_pointer",
]

# The stream of the seed whose numbers are the keys of the steps.
STEPS = 1


class Data(NamedTuple):
    """The samples.

    Where batches are gathered: X (N, I), y (N, Y), weights (N,), and the order of the samples, indices (N,)
    int64. Else X, y and weights are flat, tile after tile as (I, T), (Y, T) and (1, T); weights are 0 in the
    padding and scaled as the loss needs them; there are no indices.

    X may be a `sparse.Table` in either case; where batches are gathered, its rows are the indices.
    """

    X: Any
    y: Any
    weights: Any
    indices: Any


class State(NamedTuple):
    """The arrays that a training changes.

    parameters (P,); optimizer (S, P), the optimizer's state; average (P,) or (0,) of the parameters;
    statistics, flat, of the normalised layers; generator (625,) uint32 of the orders of the samples; plateau
    (2,) float64, the best objective of a pass and the passes since an objective was clearly below it;
    gradients (G, P); losses (G,) float64 of the shards; squares (P / BLOCK,) float64, sums of squares of the
    weights at the beginning of a step, or (L * N_PARTS,) for every part where threads share units; progress
    (n, 2) int64: steps done, and rounds done of the next step, of every thread.
    """

    parameters: Any
    optimizer: Any
    average: Any
    statistics: Any
    generator: Any
    plateau: Any
    gradients: Any
    losses: Any
    squares: Any
    progress: Any


class Workspace(NamedTuple):
    """Workspaces: a row for each thread of tiles, units, dunits and scratch; the others are shared.

    tiles (n, (I + Y + 1) * T); before (P,), parameters of before a step; partial (P / BLOCK,) float64, sums
    of squares of gradients; sums (2, ..), and zeros in the second row, of `team.team_gradient`; finite (n,)
    int64; barrier (16,) int64.
    """

    tiles: Any
    units: Any
    dunits: Any
    scratch: Any
    before: Any
    partial: Any
    sums: Any
    finite: Any
    barrier: Any


class Settings(NamedTuple):
    """Settings of one training, and numbers that follow from the network; all stay the same during it."""

    n_samples: int
    n_targets: int
    batch_size: int
    n_batches: int
    n_rounds: int
    tile_width: int
    shuffled: bool
    averaged: bool  # a batch's loss is divided by the sum of its weights
    common_weight: float  # the weight of every sample; 0 where they differ
    weight_scale: float  # factor of the weights, where a batch is all samples
    of_objective: bool  # the L2 penalty is averaged with the losses, and recorded with them
    loss_share: float  # factor of the losses in that objective
    tol: float  # an objective lower by less is no improvement
    patience: int  # passes without improvement after which a call ends; 0: any number
    seed: Any  # uint64
    steps_before: int  # steps done in other trainings
    loss_parameter: float
    dropout: Any  # (L,) float64
    n_weights: int  # length of the regularised prefix of the parameters, whole vectors
    reg_lambda: float
    weight_decay: float
    l1: float
    max_norm: float  # 0: none
    clip_norm: float  # 0: none
    average_share: float  # 0: no average of the parameters is kept
    first_step: int  # the step of the first row of coefficients
    record_every: int  # passes
    last_pass: int  # is recorded, too


@functools.cache
def tile_gradient(batch_norm: bool, dropped: bool, sparse: bool) -> Any:
    """Return the kernel that computes a tile's gradient.

    Its arguments are activate, differentiate and slope (see `train_steps`), plan, parameters, X, y, weights,
    batch, parameter, wanted, units, dunits, scratch, gradient, adds. The tile is X (I, T) or a `SparseTile`,
    y (Y, T) and weights (1, T); `parameter` is the loss's; the others are as in `backward_pass`. The kernel
    overwrites gradient (P,), or adds to it, and returns the loss if it is `wanted`.
    """
    forward = forward_pass(batch_norm, dropped, sparse)
    backward = backward_pass(batch_norm, dropped, sparse)

    @kernel
    def tile_gradient(
        activate, differentiate, slope, plan, parameters, X, y, weights, batch, parameter, wanted, units,
        dunits, scratch, gradient, adds,
    ):  # fmt: skip
        T = weights.shape[1]
        forward(activate, plan, parameters, X, units, batch)
        last = plan.shape[0] - 1
        dS = view(dunits, plan[last, DUNITS] * T, plan[last, OUTPUTS], T)
        loss = call(slope, (last_outputs(plan, T, units), y, weights, parameter, wanted, dS))
        backward(differentiate, plan, parameters, X, units, dunits, scratch, gradient, adds, batch)
        return loss

    return tile_gradient


class GradientPointers(NamedTuple):
    """Pointers to the kernels that compute a gradient, each compiled when it is first needed."""

    gradient_of: FunctionPointer | None  # a tile: `tile_gradient`
    activate: PointerTable
    differentiate: PointerTable
    slope: FunctionPointer  # of the loss


@functools.cache
def gradient_pointers(
    activations: tuple[str, ...], loss: str, batch_norm: bool, dropped: bool, sparse: bool, team: bool,
    dtype: np.dtype,
) -> GradientPointers:  # fmt: skip
    """Return the pointers for a network with these activations and this loss.

    sparse: True for tiles of a sparse table; team: True where threads share units (`team.team_gradient`):
    nothing is normalised or dropped then, and there is no pointer to `tile_gradient`.
    """
    activate, differentiate = forward_table(activations, dtype), backward_table(activations, dtype)
    slope = backward_pointer(loss, dtype)
    if team:
        return GradientPointers(None, activate, differentiate, slope)
    of, plan = array_types(dtype), types.Array(types.int64, 2, "C")
    rates = types.Array(types.float64, 1, "C")
    batch = types.NamedTuple((of.matrix, of.flat, rates, types.uint64, types.intp), Batch)
    arguments = (
        typeof(activate), typeof(differentiate), typeof(slope), plan, of.flat,
        tile_type(dtype) if sparse else of.matrix, of.inputs, of.inputs, batch, types.float64, types.boolean,
        of.flat, of.flat, of.flat, of.flat, types.boolean,
    )  # fmt: skip
    gradient_of = FunctionPointer(tile_gradient(batch_norm, dropped, sparse), arguments)
    return GradientPointers(gradient_of, activate, differentiate, slope)


@functools.cache
def loss_and_gradient(sparse: bool) -> Any:
    """Return the kernel that computes loss and gradient of data that are not gathered, or of a sparse table.

    Its arguments are gradient_of, activate, differentiate and slope, the `GradientPointers`; plan,
    parameters, statistics, data, settings; the key of dropout's random numbers; tiles, work, gradient. The
    kernel adds the gradient of the tiles from ``tiles[0]`` to ``tiles[1]`` to gradient (P,), and returns
    their loss.
    """

    @kernel
    def loss_and_gradient(
        gradient_of, activate, differentiate, slope, plan, parameters, statistics, data, settings, key, tiles,
        work, gradient,
    ):  # fmt: skip
        T = settings.tile_width
        n_inputs, n_targets = plan[0, INPUTS], settings.n_targets
        loss = 0.0
        for tile in range(tiles[0], tiles[1]):
            if sparse:
                last = min((tile + 1) * T, settings.n_samples) - 1
                turned = view(row(work.tiles, 0), 0, T, turned_width(plan, parameters))
                X = SparseTile(data.X, tile * T, last, turned)
            else:
                X = view(data.X, tile * n_inputs * T, n_inputs, T)
            y = view(data.y, tile * n_targets * T, n_targets, T)
            weights = view(data.weights, tile * T, 1, T)
            batch = Batch(weights, statistics, settings.dropout, key, tile * T)
            loss += call(gradient_of, (
                activate, differentiate, slope, plan, parameters, X, y, weights, batch,
                settings.loss_parameter, True, row(work.units, 0), row(work.dunits, 0), row(work.scratch, 0),
                gradient, True,
            ))  # fmt: skip
        return loss

    return loss_and_gradient


@functools.cache
def train_steps(gathered: bool, team: bool, sparse: bool) -> Any:
    """Return the kernel that trains.

    gathered: batches are some of the samples, gathered from the table; team: threads share units instead of
    samples, and there is one shard; sparse: the table is sparse, all its batches are gathered, and there is
    no team.

    Its arguments are thread, n_threads; gradient_of, activate, differentiate and slope, the
    `GradientPointers`; update, an `update_pointer`; plan (L, ..); a `State`, `Data`, `Settings`, records and
    a `Workspace`; coefficients of the optimizer (steps, C), a row for each step from `Settings.first_step`
    on; last_step and n_rounds: the kernel returns after this many steps in all, or this many rounds in this
    call.

    The records of every `Settings.record_every`-th pass and the last are a named tuple of float64 arrays:
    losses (R,), sums over the samples; norms (R,) of gradients; ratios (R, L) of updates. If the objective is
    recorded (`Settings.of_objective`), losses hold it, and the others stay as they are.

    The kernel returns True if all parameters are still finite. A call ends where they no longer are, and
    after a pass that used up the patience.
    """
    update_parameters = team_update if team else block_update

    @kernel
    def train_steps(
        thread, n_threads, gradient_of, activate, differentiate, slope, update, plan, state, data, settings,
        records, work, coefficients, last_step, n_rounds,
    ):  # fmt: skip
        T = settings.tile_width
        n_inputs, n_targets = plan[0, INPUTS], settings.n_targets
        plan = borrow(plan)
        parameters, gradients = borrow(state.parameters), borrow(state.gradients)
        optimizer_state, average = borrow(state.optimizer), borrow(state.average)
        statistics, losses = borrow(state.statistics), borrow(state.losses)
        all_y, all_weights = borrow(data.y), borrow(data.weights)
        if sparse:
            samples = data.X
            table = Table(
                borrow(samples.values), borrow(samples.columns), borrow(samples.starts), borrow(samples.rows)
            )
            n_rows = turned_width(plan, parameters)
        else:
            all_X = borrow(data.X)
            n_rows = n_inputs
        indices, dropout = borrow(data.indices), borrow(settings.dropout)
        generator, plateau = borrow(state.generator), borrow(state.plateau)
        before, partial, barrier = borrow(work.before), borrow(work.partial), borrow(work.barrier)
        squares, finite_flags = borrow(state.squares), borrow(work.finite)
        coefficients = borrow(coefficients)
        n_shards = gradients.shape[0]
        dtype = parameters.dtype.type
        progress = row(state.progress, thread)
        place = 0 if team else thread  # of the buffers that a team shares
        tiles, units, dunits = row(work.tiles, place), row(work.units, place), row(work.dunits, place)
        scratch = row(work.scratch, thread)
        scale = settings.weight_scale
        weighed = -1  # the step for whose weights `scale` was computed
        finite = True
        mode = flush_subnormals()
        while finite and n_rounds > 0 and progress[0] < last_step:
            step, round = progress[0], progress[1]
            n_pass, batch = step // settings.n_batches, step % settings.n_batches
            first_sample = batch * settings.batch_size
            n_batch = min(settings.n_samples - first_sample, settings.batch_size)
            is_recorded = n_pass % settings.record_every == 0 or n_pass == settings.last_pass
            record = -(-n_pass // settings.record_every)
            if gathered and settings.shuffled and batch == 0 and round == 0:
                if thread == 0:
                    shuffle(generator, indices)
                wait(barrier, n_threads)
            if gathered and settings.averaged and step != weighed:
                weighed = step
                scale = batch_scale(
                    all_weights, indices, first_sample, first_sample + n_batch, settings.common_weight
                )
            key = draw(draw(settings.seed, STEPS), settings.steps_before + step)

            is_last = batch == settings.n_batches - 1
            # Norms and ratios are recorded at the last step of a recorded pass.
            is_observed = is_recorded and is_last and not settings.of_objective
            penalty = settings.reg_lambda * (scale if settings.of_objective else 1.0)
            numbers = row(coefficients, step - settings.first_step)
            l2, l2_others = dtype(penalty + settings.weight_decay), dtype(settings.weight_decay)
            change = Change(optimizer_state, numbers, l2, dtype(settings.l1))
            # Weights may change strip by strip where no norm of all weights, or of their gradient, is needed
            # before.
            at_once = team and settings.n_rounds == 1 and settings.clip_norm == 0.0 and not is_observed

            if settings.of_objective and is_recorded and settings.reg_lambda > 0.0 and round == 0:
                if team:
                    part_squares(plan, parameters, thread, n_threads, squares)
                else:
                    block_squares(parameters, settings.n_weights, thread, n_threads, squares)
            if team and round > 0:  # the other thread may still read the last tile
                wait(barrier, n_threads)
            for shard in range(place, n_shards, 1 if team else n_threads):
                gradient = row(gradients, shard)
                if round == 0 and shard % n_threads == thread:
                    losses[shard] = 0.0
                tile = shard * settings.n_rounds + round
                first = tile * T
                n = min(n_batch - first, T)
                if n > 0:
                    if gathered:
                        y = view(tiles, n_rows * T, n_targets, T)
                        weights = view(tiles, (n_rows + n_targets) * T, 1, T)
                        begin = first_sample + first
                        if sparse:
                            X = SparseTile(table, begin, begin + n - 1, view(tiles, 0, T, n_rows))
                        elif team:
                            X = view(tiles, 0, n_inputs, T)
                            for part in range(thread, N_PARTS, n_threads):
                                gather_part(all_X, indices, begin, n, part, X)
                        else:
                            X = view(tiles, 0, n_inputs, T)
                            gather_tile(all_X, indices, begin, n, X)
                        if thread == 0 or not team:
                            gather_tile(all_y, indices, begin, n, y)
                            gather_weights(
                                all_weights, indices, begin, n, settings.common_weight, scale, weights
                            )
                    else:
                        X = view(all_X, tile * n_inputs * T, n_inputs, T)
                        y = view(all_y, tile * n_targets * T, n_targets, T)
                        weights = view(all_weights, tile * T, 1, T)
                    if team:
                        loss, finite = team_gradient(
                            activate, differentiate, slope, update, plan, parameters, X, y, weights,
                            settings.loss_parameter, is_recorded, units, dunits, row(work.sums, 0),
                            row(work.sums, 1), scratch, gradient, round > 0, thread, n_threads, barrier,
                            at_once, change,
                        )  # fmt: skip
                        if thread == 0:
                            losses[shard] += loss
                    else:
                        losses[shard] += call(gradient_of, (
                            activate, differentiate, slope, plan, parameters, X, y, weights,
                            Batch(weights, statistics, dropout, key, first), settings.loss_parameter,
                            is_recorded, units, dunits, scratch, gradient, round > 0,
                        ))  # fmt: skip
                elif round == 0:  # a short batch leaves no samples to the last shards
                    for k in range(gradient.shape[0]):
                        gradient[k] = 0
            n_rounds -= 1
            progress[1] += 1
            if progress[1] < settings.n_rounds:
                continue

            wait(barrier, n_threads)
            if is_recorded and thread == 0 and scale > 0.0:
                note_loss(losses, squares, scale, penalty, settings, n_batch, record, records)
            if settings.patience > 0 and is_recorded and is_last and thread == 0:
                note_plateau(records.losses[record] / settings.n_samples, settings.tol, plateau)
            shrink = 1.0
            if is_observed or settings.clip_norm > 0.0:
                norm = gradient_norm(gradients, thread, n_threads, barrier, partial)
                shrink = shrink_factor(norm, settings.clip_norm)
                if is_observed and thread == 0:
                    records.norms[record] = norm
            if is_observed:
                copy_blocks(parameters, thread, n_threads, before)
                if team:  # one thread copies a parameter, another may change it
                    wait(barrier, n_threads)
            finite &= update_parameters(
                update, plan, gradients, parameters, change, l2_others, dtype(shrink), settings.n_weights,
                thread, n_threads, T if at_once else 0,
            )  # fmt: skip
            finite = all_are_finite(finite, thread, n_threads, barrier, finite_flags)
            if settings.max_norm > 0.0:
                if thread == 0:
                    limit_all_norms(plan, parameters, settings.max_norm)
                wait(barrier, n_threads)
            if settings.average_share > 0.0:
                add_blocks_to_average(parameters, settings.average_share, thread, n_threads, average)
            if is_observed and thread == 0:
                note_ratios(plan, parameters, before, record, records.ratios)
            progress[0], progress[1] = step + 1, 0
            # All threads see the same plateau: thread 0 wrote it before the last wait, at the end of a pass.
            if is_last and 0 < settings.patience < plateau[1]:
                break
        restore_mode(mode)
        return finite

    return train_steps
