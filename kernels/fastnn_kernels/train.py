"""The training loop: many steps in one call, on one thread or on several in parallel.

A *step* updates the parameters once. Its *batch* is all samples or some of them. Several threads share a
step in one of two ways. Either the batch is divided into *shards*, each with its own gradient; or, where the
batch is small for the network, there is one shard, and the units of every layer are divided into two *parts*
(``team.py``). A shard is computed a *tile* at a time, as many samples as the caches hold. Shards and parts
depend on the problem alone, and the gradients of the shards are added in a fixed order, so results have the
same bits for any number of threads. A loop over the parameters goes *block* by block (`BLOCK`), so that sums
have the same bits, too. An *epoch* is a step on every batch, and a *call* of the loop runs any number of
steps.

Shape letters: L layers, I inputs, Y targets of a sample, N samples, T samples of a tile (a whole number of
vectors), G shards, P parameters (a whole number of cache lines), C coefficients of the optimizer.
"""

from __future__ import annotations

import functools

import numpy as np

from .calls.formulas import Change
from .calls.prediction import INPUTS
from .calls.training import N_PARTS, Buffers, PassContext, Tile
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .network import input_rate, sparse_backward, sparse_forward, sparse_width
from .random import STEPS, draw, shuffle
from .small_batch import round_up
from .sparse import SparseTile
from .step import (
    Step,
    all_are_finite,
    compute_batch_scale,
    find_parameter_share,
    find_share,
    gather_weights,
    record_loss,
    update_plateau,
    update_share,
)
from .team import gather_part, team_gradient, team_update
from .vectors.barrier import wait
from .vectors.processor import flush_subnormals, restore_mode
from .vectors.tile import gather_tile
from .vectors.vector import lanes, row, view


@functools.cache
def loss_and_gradient(sparse: bool) -> Kernel:
    """Return the kernel that computes loss and gradient of data stored in tiles, or of a sparse table.

    The kernel adds the gradient of the samples from ``shard[0]`` to before ``shard[1]``, whole tiles, to the
    gradient of the `Buffers`, and returns the sum of their losses. inputs, flat, is a workspace for the sums
    of sparse samples. `TrainingSettings.seed` is the key of the random numbers for dropout.
    """

    @kernel
    def loss_and_gradient(gradients_of, plan, parameters, statistics, data, settings, shard, inputs, buffers):
        T, key = settings.tile_width, settings.seed
        n_inputs, n_targets = plan[0, INPUTS], settings.n_targets
        loss = 0.0
        for first in range(shard[0], shard[1], T):
            if sparse:
                last = min(first + T, settings.n_samples) - 1
                X = view(inputs, 0, T, sparse_width(plan, parameters))
                samples, rate = SparseTile(data.X, first, last, X), input_rate(settings.dropout)
                sparse_forward(plan, parameters, samples, key, first, rate, 0, T)
            else:
                X = view(data.X, first * n_inputs, n_inputs, T)
            y = view(data.y, first * n_targets, n_targets, T)
            weights = view(data.weights, first, 1, T)
            context = PassContext(weights, statistics, settings.dropout, key, first, settings.loss_parameter)
            functions = gradients_of.functions
            arguments = functions, plan, parameters, Tile(X, y), context, True, buffers, True
            loss += call(gradients_of.of, arguments)
            if sparse:
                sparse_backward(plan, samples, key, first, rate, 0, n_inputs, buffers.gradient)
        return loss

    return loss_and_gradient


@functools.cache
def gather_batch(by_units: bool, sparse: bool) -> Kernel:
    """Return the kernel that gathers n samples of a batch, from `first` on, in the workspace `tiles`.

    The other arguments are as in `train_steps`, except the `Options`. Threads that share units gather the
    features of their parts; of a sparse table, only targets and weights are gathered. The kernel returns the
    tile and its weights.
    """

    @kernel
    def gather_batch(team, options, plan, parameters, data, settings, step, first, n, tiles):
        T, n_rows, n_targets = settings.tile_width, plan[0, INPUTS], settings.n_targets
        if sparse:
            n_rows = sparse_width(plan, parameters)
        # A short batch, or the last shard of a batch, does not fill its tile.
        begin, width = step.first + first, round_up(n, lanes(tiles))
        y = view(tiles, n_rows * T, n_targets, width)
        weights = view(tiles, (n_rows + n_targets) * T, 1, width)
        if sparse:
            X = view(tiles, 0, width, n_rows)
        elif by_units:
            X = view(tiles, 0, n_rows, width)
            for part in range(team.thread, N_PARTS, team.n_threads):
                gather_part(data.X, data.indices, begin, n, part, X)
        elif settings.by_rows:
            X = view(tiles, 0, n, n_rows)
            call(options.gather_by_rows, (data.X, data.y, data.indices, begin, n, X, y))
        else:
            X = view(tiles, 0, n_rows, width)
            gather_tile(data.X, data.indices, begin, n, X)
        if team.thread == 0 or not (by_units or sparse):
            if not settings.by_rows:
                gather_tile(data.y, data.indices, begin, n, y)
            common, scale = settings.common_weight, step.scale
            gather_weights(data.weights, data.indices, begin, n, common, scale, weights)
        return Tile(X, y), weights

    return gather_batch


@functools.cache
def step_gradients(gathered: bool, by_units: bool, sparse: bool) -> Kernel:
    """Return the kernel that computes this thread's gradients and losses of a step, a shard at a time.

    Threads that share units, or a sparse table, work on the same tile.
    """
    gather = gather_batch(by_units, sparse)
    shares_tile = by_units or sparse

    @kernel
    def step_gradients(team, pointers, plan, state, data, settings, work, step):
        thread, n_threads, barrier = team
        gradients_of, parameters, dropout = pointers.gradients_of, state.parameters, settings.dropout
        T, n_inputs = settings.tile_width, plan[0, INPUTS]
        buffer = 0 if shares_tile else thread
        tiles, units, dunits = row(work.tiles, buffer), row(work.units, buffer), row(work.dunits, buffer)
        scratch = row(work.scratch, thread)
        for shard in range(buffer, state.gradients.shape[0], 1 if shares_tile else n_threads):
            buffers = Buffers(units, dunits, scratch, row(state.gradients, shard))
            begin = shard * settings.shard_size
            end = min(begin + settings.shard_size, step.n_samples)
            loss = 0.0
            for first in range(begin, end, T):
                # A condition among the arguments of a call would copy all arguments to variables.
                adds, n = sparse or first > begin, min(end - first, T)
                if shares_tile and first > begin:  # other threads may still read the previous tile
                    wait(barrier, thread, n_threads)
                if gathered:
                    tile, weights = gather(
                        team, pointers.options, plan, parameters, data, settings, step, first, n, tiles
                    )
                else:
                    n_rows, n_columns = (n, n_inputs) if settings.by_rows else (n_inputs, T)
                    X = view(data.X, first * n_inputs, n_rows, n_columns)
                    tile = Tile(X, view(data.y, first * settings.n_targets, settings.n_targets, T))
                    weights = view(data.weights, first, 1, T)
                functions, parameter = gradients_of.functions, settings.loss_parameter
                context = PassContext(weights, state.statistics, dropout, step.key, first, parameter)
                wanted = step.is_recorded
                arguments = functions, plan, parameters, tile, context, wanted, buffers, adds
                if by_units:
                    loss += team_gradient(team, *arguments, work.sums)
                else:
                    if sparse:
                        samples = SparseTile(data.X, step.first + first, step.first + first + n - 1, tile.X)
                        rate = input_rate(dropout)
                        low, high = find_share(weights.shape[1], thread, n_threads)
                        sparse_forward(plan, parameters, samples, step.key, first, rate, low, high)
                        wait(barrier, thread, n_threads)
                    if thread == 0 or not shares_tile:
                        loss += call(gradients_of.of, arguments)
                    if sparse:
                        wait(barrier, thread, n_threads)
                        low, high = find_share(n_inputs, thread, n_threads)
                        sparse_backward(plan, samples, step.key, first, rate, low, high, buffers.gradient)
            if begin >= end:  # the last shards of a short batch have no samples
                for k in range(parameters.shape[0]):
                    buffers.gradient[k] = 0
            if thread == 0 or not shares_tile:
                state.losses[shard] = loss

    return step_gradients


@functools.cache
def finish_step(by_units: bool, sparse: bool) -> Kernel:
    """Return the kernel that records a step and updates the parameters, given the shards' gradients.

    numbers (C,) are the step's coefficients. The kernel returns True if all parameters are still finite.
    """
    update_parameters = team_update if by_units else update_share(sparse)

    @kernel
    def finish_step(team, pointers, plan, state, settings, records, work, numbers, step):
        thread, n_threads, barrier = team
        options, parameters, gradients = pointers.options, state.parameters, state.gradients
        dtype = parameters.dtype.type
        if step.is_recorded and thread == 0 and step.scale > 0.0:
            record_loss(state.losses, state.squares, settings, step, records)
        if settings.patience > 0 and step.is_recorded and step.is_last and thread == 0:
            update_plateau(records.losses[step.record] / settings.n_samples, settings.tol, state.plateau)
        shrink = 1.0
        if step.is_observed or settings.clip_norm > 0.0:
            size = parameters.shape[0]
            norm = call(options.gradient_norm, (gradients, size, thread, n_threads, barrier, work.partial))
            if norm > settings.clip_norm > 0.0:
                # No factor scales an infinite norm: NaN ends the training.
                shrink = settings.clip_norm / norm if norm < np.inf else np.nan
            if step.is_observed and thread == 0:
                records.norms[step.record] = norm
        if step.is_observed:
            begin, end = find_parameter_share(parameters, thread, n_threads)
            for k in range(begin, end):
                work.before[k] = parameters[k]
            if by_units:  # the thread that updates a parameter may not be the one that copies it
                wait(barrier, thread, n_threads)
        l2, l2_others = dtype(step.penalty + settings.weight_decay), dtype(settings.weight_decay)
        change = Change(state.optimizer, numbers, l2, l2_others, dtype(settings.l1), dtype(shrink))
        finite = update_parameters(
            team, pointers.update, plan, gradients, parameters, settings.n_weights, change
        )
        finite = all_are_finite(finite, thread, n_threads, barrier, work.finite)
        if settings.max_norm > 0.0:
            if thread == 0:
                call(options.limit_all_norms, (plan, parameters, settings.max_norm))
            wait(barrier, thread, n_threads)
        if settings.average_weight > 0.0:
            weight = settings.average_weight
            call(options.update_average, (parameters, weight, thread, n_threads, state.average))
        if step.is_observed and thread == 0:
            call(options.record_ratios, (plan, parameters, work.before, step.record, records.ratios))
        return finite

    return finish_step


@functools.cache
def train_steps(gathered: bool, by_units: bool, sparse: bool) -> Kernel:
    """Return the kernel of the training loop, which every thread of a `Team` calls.

    gathered: True if the samples of each batch are gathered from the table, False if data are stored in
    tiles; by_units: True if threads share units instead of samples, with a single shard; sparse: True for a
    sparse table, which requires `gathered` and excludes `by_units`. On a sparse table, threads share the
    single shard's tile: the sums of the first layer by samples, the gradient of its weights by features.

    The kernel returns after `Steps.last` steps since the beginning of the training, after an epoch that
    exceeds the patience, and when a parameter is no longer finite. It returns True if all are finite.
    """
    gradients = step_gradients(gathered, by_units, sparse)
    finish = finish_step(by_units, sparse)

    @kernel
    def train_steps(team, pointers, plan, state, data, settings, records, work, steps):
        thread, n_threads, barrier = team
        done, scale = state.progress[0], settings.weight_scale
        finite, halts = True, False
        work.finite[thread] = 1
        mode = flush_subnormals()
        while finite and not halts and done < steps.last:
            epoch, batch = done // settings.n_batches, done % settings.n_batches
            first = batch * settings.batch_size
            n = min(settings.n_samples - first, settings.batch_size)
            if gathered and settings.shuffled and batch == 0:
                if thread == 0:
                    shuffle(state.generator, data.indices)
                wait(barrier, thread, n_threads)
            if gathered and settings.averaged:
                common = settings.common_weight
                scale = compute_batch_scale(data.weights, data.indices, first, first + n, common)
            is_recorded = epoch % settings.record_every == 0 or epoch == settings.last_pass
            is_last = batch == settings.n_batches - 1
            step = Step(
                first=first,
                n_samples=n,
                key=draw(draw(settings.seed, STEPS), settings.steps_before + done),
                scale=scale,
                penalty=settings.reg_lambda * (scale if settings.of_objective else 1.0),
                is_last=is_last,
                is_recorded=is_recorded,
                is_observed=is_recorded and is_last and not settings.of_objective,
                record=-(-epoch // settings.record_every),
            )
            if settings.of_objective and is_recorded and settings.reg_lambda > 0.0:
                arguments = plan, state.parameters, settings.n_weights, thread, n_threads, state.squares
                call(pointers.options.weight_squares, arguments)
            gradients(team, pointers, plan, state, data, settings, work, step)
            wait(barrier, thread, n_threads)
            numbers = row(steps.coefficients, done - steps.first)
            finite = finish(team, pointers, plan, state, settings, records, work, numbers, step)
            done += 1
            # All threads read the same plateau: thread 0 wrote it before the last wait.
            halts = is_last and 0 < settings.patience < state.plateau[1]
        if thread == 0:
            state.progress[0] = done
        restore_mode(mode)
        return finite

    return train_steps
