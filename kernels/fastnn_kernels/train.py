"""The training loop: many steps in one call, on one thread or on several in parallel.

A *step* updates the parameters once. Its *batch*, all samples or some of them, is divided into *shards*, each
with its own gradient, and a shard into *tiles*. The number of shards depends on the problem alone, and their
gradients are added in a fixed order: results have the same bits for any number of threads. A *round* is one
tile of every shard. A call may return between two rounds, in the middle of a step, and the next call
continues there, so that a call is short however large a batch is.

Shape letters: L layers, I inputs, Y targets of a sample, N samples, T samples of a tile (a whole number of
vectors), G shards, P parameters (a whole number of cache lines), C coefficients of the optimizer.
"""

from __future__ import annotations

import functools

from .calls.prediction import INPUTS
from .calls.training import N_PARTS, Batch, Buffers, Tile
from .compiler.jit import Kernel, kernel
from .compiler.pointer import call
from .network import input_rate, sparse_backward, sparse_forward, sparse_width
from .random import STEPS, draw, shuffle
from .small_batch import round_up
from .sparse import SparseTile
from .step import (
    all_are_finite,
    compute_batch_scale,
    compute_shrink_factor,
    copy_share,
    find_share,
    gather_weights,
    record_loss,
    update_plateau,
    update_share,
)
from .team import Change, Team, gather_part, team_gradient, team_update
from .vectors.barrier import wait
from .vectors.processor import flush_subnormals, restore_mode
from .vectors.tile import gather_tile
from .vectors.vector import lanes, row, view

__all__ = ["loss_and_gradient", "train_steps"]


@functools.cache
def loss_and_gradient(sparse: bool) -> Kernel:
    """Return the kernel that computes loss and gradient of data stored in tiles, or of a sparse table.

    Its arguments are ``(gradients_of, plan, parameters, statistics, data, settings, key, tiles, work, thread,
    gradient, loss)``. gradients_of are the `GradientPointers`; key, uint64, is the key of the random numbers
    for dropout; data, settings and work are a `Data`, `Settings` and a `Workspace`, of which the kernel uses
    the rows of the thread. The kernel adds the gradient of the
    tiles from ``tiles[0]`` to before ``tiles[1]`` to gradient (P or more,), and returns `loss` plus their
    losses, which are added one by one: sums have the same bits however many calls compute them.
    """

    @kernel
    def loss_and_gradient(
        gradients_of,
        plan,
        parameters,
        statistics,
        data,
        settings,
        key,
        tiles,
        work,
        thread,
        gradient,
        loss,
    ):
        T = settings.tile_width
        n_inputs, n_targets = plan[0, INPUTS], settings.n_targets
        for tile in range(tiles[0], tiles[1]):
            if sparse:
                last = min((tile + 1) * T, settings.n_samples) - 1
                X = view(row(work.tiles, thread), 0, T, sparse_width(plan, parameters))
                samples, rate = SparseTile(data.X, tile * T, last, X), input_rate(settings.dropout)
                sparse_forward(plan, parameters, samples, key, tile * T, rate, 0, T)
            else:
                X = view(data.X, tile * n_inputs * T, n_inputs, T)
            y = view(data.y, tile * n_targets * T, n_targets, T)
            weights = view(data.weights, tile * T, 1, T)
            batch = Batch(weights, statistics, settings.dropout, key, tile * T)
            units, dunits, scratch = (
                row(work.units, thread),
                row(work.dunits, thread),
                row(work.scratch, thread),
            )
            buffers = Buffers(units, dunits, scratch, gradient)
            loss += call(
                gradients_of.of,
                (
                    gradients_of.functions,
                    plan,
                    parameters,
                    Tile(X, y),
                    batch,
                    settings.loss_parameter,
                    True,
                    buffers,
                    True,
                ),
            )
            if sparse:
                sparse_backward(plan, samples, key, tile * T, rate, 0, n_inputs, gradient)
        return loss

    return loss_and_gradient


@functools.cache
def train_steps(gathered: bool, team: bool, sparse: bool, batch_norm: bool, dropped: bool) -> Kernel:
    """Return the kernel of the training loop, which every thread calls.

    gathered: True if the samples of each batch are gathered from the table, False if data are stored in
    tiles; team: True if threads share units instead of samples, with a single shard; sparse: True for a
    sparse table, which requires `gathered` and excludes `team`; batch_norm, dropped: True for batch
    normalisation and for dropout by a team. On a sparse table, threads share the single shard's tile: the
    sums of the first layer by samples, the gradient of its weights by features.

    The arguments of the kernel are ``(thread, n_threads, gradients_of, update, options, plan, state, data,
    settings, records, work, coefficients, last_step, n_rounds)``. gradients_of are the `GradientPointers`;
    update is an `update_pointer`; options are `Options`; plan (L, ..); state, data, settings and work are a
    `State`, `Data`, `Settings` and a `Workspace`. coefficients (steps, C) of the optimizer have a row for
    each step from `Settings.first_step` on. The kernel returns after `last_step` steps since the beginning of
    the training, or after `n_rounds` rounds in this call.

    records is a named tuple of float64 arrays, with a record of every `Settings.record_every`-th epoch and of
    the last: losses (R,), sums over the samples; norms (R,) of gradients; ratios (R, L), norms of updates
    relative to those of weights. If `Settings.of_objective`, losses are objectives, and the other two arrays
    are not written.

    The kernel returns True if all parameters are still finite. It returns early when a parameter is no longer
    finite, and after an epoch that exceeds the patience.
    """
    # Threads compute parts of the same tile, in the buffers of row 0, or tiles of their own.
    shares_tile = team or sparse
    update_parameters = team_update if team else update_share(sparse)
    gradient_of_team = team_gradient(batch_norm, dropped)

    @kernel
    def train_steps(
        thread,
        n_threads,
        gradients_of,
        update,
        options,
        plan,
        state,
        data,
        settings,
        records,
        work,
        coefficients,
        last_step,
        n_rounds,
    ):
        T = settings.tile_width
        n_inputs, n_targets = plan[0, INPUTS], settings.n_targets
        parameters, gradients = state.parameters, state.gradients
        optimizer_state, average = state.optimizer, state.average
        statistics, losses = state.statistics, state.losses
        all_y, all_weights = data.y, data.weights
        if sparse:
            table = data.X
            n_rows = sparse_width(plan, parameters)
        else:
            all_X = data.X
            n_rows = n_inputs
        indices, dropout = data.indices, settings.dropout
        generator, plateau = state.generator, state.plateau
        before, partial, barrier = work.before, work.partial, work.barrier
        squares, finite_flags = state.squares, work.finite
        n_shards = gradients.shape[0]
        dtype = parameters.dtype.type
        progress = row(state.progress, thread)
        step, round = progress[0], progress[1]
        buffer = 0 if shares_tile else thread
        tiles, units, dunits = row(work.tiles, buffer), row(work.units, buffer), row(work.dunits, buffer)
        scratch = row(work.scratch, thread)
        scale = settings.weight_scale
        scaled_step = -1  # the step whose weights `scale` was computed from
        finite, finite_flags[thread] = True, 1
        mode = flush_subnormals()
        while finite and n_rounds > 0 and step < last_step:
            n_pass, batch = step // settings.n_batches, step % settings.n_batches
            first_sample = batch * settings.batch_size
            n_batch = min(settings.n_samples - first_sample, settings.batch_size)
            is_recorded = n_pass % settings.record_every == 0 or n_pass == settings.last_pass
            record = -(-n_pass // settings.record_every)
            if gathered and settings.shuffled and batch == 0 and round == 0:
                if thread == 0:
                    shuffle(generator, indices)
                wait(barrier, thread, n_threads)
            if gathered and settings.averaged and step != scaled_step:
                scaled_step = step
                scale = compute_batch_scale(
                    all_weights, indices, first_sample, first_sample + n_batch, settings.common_weight
                )
            key = draw(draw(settings.seed, STEPS), settings.steps_before + step)

            is_last = batch == settings.n_batches - 1
            # Norms and ratios are recorded at the last step of a recorded epoch.
            is_observed = is_recorded and is_last and not settings.of_objective
            penalty = settings.reg_lambda * (scale if settings.of_objective else 1.0)
            numbers = row(coefficients, step - settings.first_step)
            l2, l2_others = dtype(penalty + settings.weight_decay), dtype(settings.weight_decay)
            change = Change(optimizer_state, numbers, l2, dtype(settings.l1))
            # A norm of all weights or of the whole gradient must be known before the first update: without
            # such a norm, a team updates weights strip by strip.
            in_strips = team and settings.n_rounds == 1 and settings.clip_norm == 0.0 and not is_observed
            # A condition among the arguments of a call would copy all arguments to variables: compute its
            # value before the call.
            adds = sparse or round > 0

            if settings.of_objective and is_recorded and settings.reg_lambda > 0.0 and round == 0:
                call(
                    options.weight_squares, (plan, parameters, settings.n_weights, thread, n_threads, squares)
                )
            if shares_tile and round > 0:  # other threads may still read the previous tile
                wait(barrier, thread, n_threads)
            width = T
            for shard in range(buffer, n_shards, 1 if shares_tile else n_threads):
                gradient = row(gradients, shard)
                shard_loss = 0.0 if round == 0 else losses[shard]
                tile = shard * settings.n_rounds + round
                first = tile * T
                n = min(n_batch - first, T)
                if n > 0:
                    if gathered:
                        # A short batch, or the last shard of a batch, does not fill its tile.
                        width = round_up(n, lanes(gradients))
                        y = view(tiles, n_rows * T, n_targets, width)
                        weights = view(tiles, (n_rows + n_targets) * T, 1, width)
                        begin = first_sample + first
                        if sparse:
                            X = view(tiles, 0, width, n_rows)
                            samples = SparseTile(table, begin, begin + n - 1, X)
                        elif team:
                            X = view(tiles, 0, n_inputs, width)
                            for part in range(thread, N_PARTS, n_threads):
                                gather_part(all_X, indices, begin, n, part, X)
                        elif settings.by_rows:
                            X = view(tiles, 0, n, n_inputs)
                            call(options.gather_by_rows, (all_X, all_y, indices, begin, n, X, y))
                        else:
                            X = view(tiles, 0, n_inputs, width)
                            gather_tile(all_X, indices, begin, n, X)
                        if thread == 0 or not shares_tile:
                            if not settings.by_rows:
                                gather_tile(all_y, indices, begin, n, y)
                            gather_weights(
                                all_weights, indices, begin, n, settings.common_weight, scale, weights
                            )
                    else:
                        by_rows = settings.by_rows
                        rows, columns = (n, n_inputs) if by_rows else (n_inputs, T)
                        X = view(all_X, tile * n_inputs * T, rows, columns)
                        y = view(all_y, tile * n_targets * T, n_targets, T)
                        weights = view(all_weights, tile * T, 1, T)
                    sample_tile, sample_batch = Tile(X, y), Batch(weights, statistics, dropout, key, first)
                    buffers = Buffers(units, dunits, scratch, gradient)
                    if team:
                        loss, finite = gradient_of_team(
                            gradients_of.functions,
                            update,
                            plan,
                            parameters,
                            sample_tile,
                            sample_batch,
                            settings.loss_parameter,
                            is_recorded,
                            buffers,
                            work.sums,
                            round > 0,
                            Team(thread, n_threads, barrier),
                            in_strips,
                            change,
                        )
                        shard_loss += loss
                    else:
                        if sparse:
                            rate = input_rate(dropout)
                            start, end = find_share(width, thread, n_threads)
                            sparse_forward(plan, parameters, samples, key, first, rate, start, end)
                            wait(barrier, thread, n_threads)
                        if thread == 0 or not shares_tile:
                            parameter = settings.loss_parameter
                            shard_loss += call(
                                gradients_of.of,
                                (
                                    gradients_of.functions,
                                    plan,
                                    parameters,
                                    sample_tile,
                                    sample_batch,
                                    parameter,
                                    is_recorded,
                                    buffers,
                                    adds,
                                ),
                            )
                        if sparse:
                            wait(barrier, thread, n_threads)
                            start, end = find_share(n_inputs, thread, n_threads)
                            sparse_backward(plan, samples, key, first, rate, start, end, gradient)
                elif round == 0:  # the last shards of a short batch have no samples
                    for k in range(parameters.shape[0]):
                        gradient[k] = 0
                if thread == 0 or not shares_tile:
                    losses[shard] = shard_loss
            n_rounds -= 1
            round += 1
            if round < settings.n_rounds:
                continue

            wait(barrier, thread, n_threads)
            if is_recorded and thread == 0 and scale > 0.0:
                record_loss(losses, squares, scale, penalty, settings, n_batch, record, records)
            if settings.patience > 0 and is_recorded and is_last and thread == 0:
                update_plateau(records.losses[record] / settings.n_samples, settings.tol, plateau)
            shrink = 1.0
            if is_observed or settings.clip_norm > 0.0:
                norm = call(
                    options.gradient_norm,
                    (gradients, parameters.shape[0], thread, n_threads, barrier, partial),
                )
                shrink = compute_shrink_factor(norm, settings.clip_norm)
                if is_observed and thread == 0:
                    records.norms[record] = norm
            if is_observed:
                copy_share(parameters, thread, n_threads, before)
                if team:  # the thread that updates a parameter may not be the one that copies it
                    wait(barrier, thread, n_threads)
            strip_width = width if in_strips else 0
            finite &= update_parameters(
                update,
                plan,
                gradients,
                parameters,
                change,
                l2_others,
                dtype(shrink),
                settings.n_weights,
                thread,
                n_threads,
                strip_width,
            )
            finite = all_are_finite(finite, thread, n_threads, barrier, finite_flags)
            if settings.max_norm > 0.0:
                if thread == 0:
                    call(options.limit_all_norms, (plan, parameters, settings.max_norm))
                wait(barrier, thread, n_threads)
            if settings.average_weight > 0.0:
                weight = settings.average_weight
                call(options.update_average, (parameters, weight, thread, n_threads, average))
            if is_observed and thread == 0:
                call(options.record_ratios, (plan, parameters, before, record, records.ratios))
            step, round = step + 1, 0
            # All threads read the same plateau: thread 0 wrote it before the last wait.
            if is_last and 0 < settings.patience < plateau[1]:
                break
        progress[0], progress[1] = step, round
        restore_mode(mode)
        return finite

    return train_steps
