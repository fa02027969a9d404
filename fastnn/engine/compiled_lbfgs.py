"""Trainer that runs the compiled iterations of L-BFGS."""

from __future__ import annotations

import time

import numpy as np

from fastnn_kernels.calls import lbfgs
from fastnn_kernels.compiler.entry import PreparedCall
from fastnn_kernels.compiler.interrupts import defer_signals

from ..network.description import Array, Network, allocate_empty, allocate_zeros
from ..optimizers import LBFGS
from ..reference.lbfgs import find_status
from .arguments import (
    allocate_distant_rows,
    divide_step,
    get_job_pointers,
    make_kernel_settings,
    make_tile_data,
    make_training_workspace,
)
from .job import Job
from .minimisation import ENDINGS, Ending, MinimiserMemory, check_parameters, make_lbfgs_limits
from .own_losses import raise_loss_error
from .protocol import MinimisingTrainer
from .shared_calls import SharedCalls
from .tiles import choose_training_width

# Names of what is not finite, by the results of the kernel `lbfgs_iterations`.
NON_FINITE = ("", "a parameter", "a running statistic of batch normalisation", "the loss")


class NumbaLBFGSTrainer(MinimisingTrainer):
    """L-BFGS trainer on the compiled kernels."""

    def __init__(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: MinimiserMemory | None
    ) -> None:
        super().__init__(network, parameters, statistics, job)
        n_samples, size = job.n_samples, network.n_parameters
        n_parts, _ = divide_step(network, n_samples, job.is_sparse)
        # Threads share the samples: batch normalisation needs all of them at once.
        n_shards = 1 if network.batch_norm else n_parts
        shard = -(-n_samples // n_shards)
        width = choose_training_width(network, shard)
        self._calls = SharedCalls(
            (network, n_samples, "L-BFGS"), job.n_threads, n_shards, network.training_operations * n_samples
        )
        self._limits = lbfgs.Limits(*make_lbfgs_limits(job))
        n_before = 0 if memory is None else self._check_pairs(memory)
        assert isinstance(job.optimizer, LBFGS)
        maxcor = max(1, min(job.optimizer.maxcor, job.num_passes - 1), n_before)  # an iteration adds a pair
        # Zeros and not garbage: a file of the memory depends on the training alone.
        self._minimiser = lbfgs.new_minimiser(size, maxcor, allocate_zeros)
        self._minimiser.vectors[lbfgs.X] = parameters
        self._minimiser.counts[lbfgs.NEWEST] = maxcor - 1  # the ring begins at its first row
        self._state = lbfgs.MinimiserState(
            parameters=parameters,
            statistics=statistics,
            minimiser=self._minimiser,
            point=allocate_empty(size, network.dtype),
            gradients=allocate_distant_rows(n_shards, size, network.dtype),
            shard_losses=np.zeros(n_shards),
            statistics_at_point=statistics.copy(),
            losses=np.zeros(3),
            progress=np.zeros(1, np.int64),
            evaluates=np.zeros(1, np.int64),
        )
        if memory is not None:
            self._restore_memory(memory, n_before)
        pointers = get_job_pointers(network, job, by_units=False)
        self._loss = pointers.functions.loss_backward
        self._call = PreparedCall(
            lbfgs.lbfgs_iterations(job.is_sparse, network.dtype),
            team=self._calls.team,
            pointers=lbfgs.LBFGSPointers(pointers, lbfgs.advance_pointer()),
            plan=network.training_layout.plan,
            state=self._state,
            limits=self._limits,
            data=make_tile_data(network, job, width),
            settings=make_kernel_settings(network, job, width, -(-shard // width) * width),
            records=self.records,
            work=make_training_workspace(network, job, width, self._calls.max_threads),
            iterations=lbfgs.Iterations(0, 1),
        )

    # --- resumed training runs ---------------------------------------------------------------------------

    @property
    def memory(self) -> MinimiserMemory | None:
        if self.non_finite:
            return None
        state, (vectors, numbers, counts) = self._state, self._minimiser
        progress = np.array([self.n_passes], np.int64)
        return MinimiserMemory(vectors, numbers, counts, state.statistics_at_point, state.losses, progress)

    def _check_pairs(self, memory: MinimiserMemory) -> int:
        """Return the number M of pairs for which a memory has room.

        The kernels use the counts as indices without a check: a count that is out of range, and an array of
        another size than M and the network say, are a ValueError.
        """
        network = self._network
        M = (len(memory.vectors) - lbfgs.PAIRS) // 2
        fits = (
            M >= 1
            and len(memory.vectors) == lbfgs.PAIRS + 2 * M
            and {len(row) for row in memory.vectors} == {network.n_parameters}
            and memory.numbers.shape == (lbfgs.RHO + 2 * M,)
            and memory.counts.shape == (lbfgs.N_COUNTS,)
            and memory.statistics.shape == (network.n_statistics,)
            and memory.losses.shape == (3,)
            and memory.progress.shape == (1,)
        )
        if fits:
            counts = memory.counts
            fits = (
                counts.min() >= 0
                and counts.max() < 2**62
                and counts[lbfgs.PHASE] <= lbfgs.ENDED
                and (counts[lbfgs.PHASE] < lbfgs.ENDED or counts[lbfgs.STATUS] > lbfgs.RUNNING)
                and counts[lbfgs.N_TRIALS] <= self._limits.maxls
                and counts[lbfgs.STATUS] <= lbfgs.SEARCH_FAILED
                and counts[lbfgs.N_PAIRS] <= M
                and counts[lbfgs.NEWEST] < M
                and memory.progress[0] == counts[lbfgs.N_ITERATIONS]
            )
        if not fits:
            raise ValueError("the state of L-BFGS contradicts itself or the network: train again")
        return M

    def _restore_memory(self, memory: MinimiserMemory, n_before: int) -> None:
        """Copy a memory with room for `n_before` pairs; decide anew whether the minimisation has ended."""
        state, (vectors, numbers, counts) = self._state, self._minimiser
        M, first = (len(vectors) - lbfgs.PAIRS) // 2, lbfgs.PAIRS
        # A smaller ring belongs to a shorter training, which has overwritten no pair: its rows are in order.
        vectors[: first + n_before] = memory.vectors[: first + n_before]
        vectors[first + M :][:n_before] = memory.vectors[first + n_before :]
        first = lbfgs.RHO
        numbers[: first + n_before] = memory.numbers[: first + n_before]
        numbers[first + M :][:n_before] = memory.numbers[first + n_before :]
        counts[...] = memory.counts
        if not memory.numbers[first + counts[lbfgs.NEWEST]]:  # no pair has been written yet
            counts[lbfgs.NEWEST] = M - 1
        in_search = counts[lbfgs.PHASE] == lbfgs.SEARCH
        check_parameters(vectors[lbfgs.X_BEFORE if in_search else lbfgs.X], state.parameters)
        state.statistics_at_point[...] = memory.statistics
        state.losses[...], state.progress[0] = memory.losses, memory.progress[0]
        if counts[lbfgs.PHASE] == lbfgs.ITERATED:
            counts[lbfgs.STATUS] = find_status(
                counts[lbfgs.N_ITERATIONS],
                counts[lbfgs.N_EVALUATIONS],
                numbers[lbfgs.VALUE_BEFORE],
                numbers[lbfgs.VALUE],
                vectors[lbfgs.GRADIENT],
                self._limits,
            )

    # --- progress ------------------------------------------------------------------------------------

    @property
    def n_steps(self) -> int:
        return int(self._state.progress[0])

    @property
    def ending(self) -> Ending | None:
        return ENDINGS.get(int(self._minimiser.counts[lbfgs.STATUS]))

    @property
    def _n_evaluations(self) -> int:
        counts = self._minimiser.counts
        # `advance` counts an evaluation of a line search when it asks for the evaluation.
        return int(counts[lbfgs.N_EVALUATIONS]) - int(counts[lbfgs.PHASE] == lbfgs.SEARCH)

    def close(self) -> None:
        self._calls.close()

    def run(self, last_pass: int, last_step: int | None = None) -> bool:
        before, started = self._n_evaluations, time.perf_counter()
        last_pass = self._job.last_step(last_pass, last_step)  # an iteration is a step and an epoch
        self._call.set(iterations=lbfgs.Iterations(last_pass, self._calls.n_steps))
        state = self._state
        with defer_signals():  # Ctrl-C leaves no result of a call behind
            self.non_finite = NON_FINITE[self._calls.run(self._call)]
            self.objective = float(state.losses[2] if self.n_steps else state.minimiser.numbers[lbfgs.VALUE])
        self._calls.note(self._n_evaluations - before, time.perf_counter() - started)
        try:
            raise_loss_error(self._loss)
        except BaseException:  # the minimiser has taken NaN for a value
            self.non_finite = "the loss"
            raise
        return not self.non_finite
