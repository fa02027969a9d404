"""Trainer that runs the compiled training loop."""

from __future__ import annotations

import math
import time

import numpy as np

from fastnn_kernels.calls.training import (
    BLOCK,
    N_PARTS,
    Data,
    State,
    StepPointers,
    Steps,
    find_used_options,
    option_pointers,
    training_loop,
)
from fastnn_kernels.compiler.entry import PreparedCall
from fastnn_kernels.compiler.interrupts import defer_signals

from ..network.description import Array, Network
from ..schedules import Constant
from . import limits
from .arguments import (
    allocate_distant_rows,
    count_useful_threads,
    describe_steps,
    divide_step,
    fill_tiles,
    get_job_pointers,
    get_job_update,
    is_by_rows,
    make_kernel_settings,
    make_tile_data,
    make_training_workspace,
)
from .arrays import align, make_csr_table
from .checks import find_non_finite
from .job import Job, Memory
from .own_losses import raise_loss_error
from .protocol import StepTrainer
from .shared_calls import SharedCalls
from .tiles import choose_training_width


class NumbaTrainer(StepTrainer):
    """Trainer on the compiled kernels."""

    def __init__(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> None:
        super().__init__(network, parameters, statistics, job, memory)
        n_parts, by_units = divide_step(network, job.batch_size, job.is_sparse)
        n_shards = 1 if by_units else n_parts
        shard = -(-job.batch_size // n_shards)
        width = choose_training_width(network, shard)
        shard_size = -(-shard // width) * width
        by_rows = is_by_rows(network, job.batch_size, job.is_sparse)
        self._calls = SharedCalls(
            describe_steps(network, job),
            job.n_threads,
            count_useful_threads(network, job),
            network.training_operations * job.batch_size,
        )
        self._settings = make_kernel_settings(network, job, width, shard_size, by_rows)
        self._pointers = StepPointers(
            get_job_pointers(network, job, by_units=by_units, by_rows=by_rows),
            get_job_update(network, job, n_shards),
            option_pointers(find_used_options(self._settings, job.is_gathered), by_units, network.dtype),
        )
        size, dtype = network.n_parameters, network.dtype
        if job.is_gathered:
            X = make_csr_table(job.X, memory.order) if job.is_sparse else align(job.X)
            self._data = Data(X, align(np.ascontiguousarray(job.y)), job.weights, memory.order)
        else:
            self._data = make_tile_data(network, job, width, by_rows)
        self._state = State(
            parameters=parameters,
            optimizer=memory.optimizer,
            average=memory.average,
            statistics=statistics,
            generator=memory.generator,
            plateau=memory.plateau,
            gradients=allocate_distant_rows(n_shards, size, dtype),
            losses=np.zeros(n_shards),
            squares=np.zeros(N_PARTS * len(network.shapes) if by_units else -(-size // BLOCK)),
            progress=np.array([job.steps_done], np.int64),
        )
        self._state.gradients[...] = 0
        self._coefficients: tuple[Array, int] = np.empty((0, 0), dtype), 0  # of some steps, and the first
        self._prepared_steps = range(0)  # these steps, if they need not be computed again
        self._prepared = PreparedCall(
            training_loop(job.is_gathered, by_units, job.is_sparse, dtype, self._pointers),
            team=self._calls.team,
            pointers=self._pointers,
            plan=network.training_layout.plan,
            state=self._state,
            data=self._data,
            settings=self._settings,
            records=self.records,
            work=make_training_workspace(network, job, width, self._calls.max_threads, by_units),
            steps=Steps(*self._coefficients, 0),
        )
        self._singles: dict[int, PreparedCall] = {}  # the calls of `single_step`, by the number of samples
        self._n_single = 0  # number of samples in the last of them
        self._width = width  # of the tiles that the workspace was made for
        # Calls end between steps, so the gradients need no copy.
        changing = self._state._replace(gradients=np.empty(0))
        self._changing = [*changing, *self.records, self._data.indices]
        self._saved: list[Array] = []
        self._saved_step = 0  # number of steps done when the copies were made
        self._next_copies = 0.0  # time from which the next chunk begins with new copies

    @property
    def n_steps(self) -> int:
        return int(self._state.progress[0])

    def close(self) -> None:
        self._calls.close()

    def run(self, last_pass: int, last_step: int | None = None) -> bool:
        if self.halted:
            return True
        last_step = self._job.last_step(last_pass, last_step)
        if time.perf_counter() >= self._next_copies:
            self._keep_copies()
        steps_before, started = self.n_steps, time.perf_counter()
        self.non_finite = "a parameter"
        try:
            is_finite = self._call(last_step)
            if is_finite:
                self.non_finite = self._find_non_finite(of_parameters=False)
            self._calls.note(self.n_steps - steps_before, time.perf_counter() - started)
        finally:
            # Ctrl-C may be raised while `_call` waits for cores: restore finite arrays in that case, too.
            if self.non_finite:
                with defer_signals():
                    if self._find_non_finite():
                        self._restore_last_finite()
        raise_loss_error(self._pointers.gradients_of.functions.loss_backward)
        return not self.non_finite

    def has_room(self, n: int) -> bool:
        """Return True if the buffers can hold the tiles of `n` samples, which may be wider than the job's."""
        if n in self._singles:
            return True
        width = choose_training_width(self._network, n)
        return width <= self._width and -(-n // width) * width <= self._data.weights.size

    def single_step(self, X: Array, y: Array, coefficients: Array) -> float:
        """Run a step on other samples, and return their loss; NaN if a parameter would not be finite.

        The job is a single step on all samples, of weight 1 and in one part, without dropout. X and y are
        like the job's samples and targets, of any number that the buffers have room for (`has_room`);
        `coefficients` (C,) are the optimizer's. Such a call takes microseconds: it skips interrupts and the
        budget of cores, and keeps no copies.
        """
        n, data = len(X), self._data
        call = self._singles.get(n) or self._prepare_single(n, coefficients)
        settings = call.arguments["settings"]
        if n != self._n_single:
            data.weights[:n] = 1 / n
            data.weights[n:] = 0
            self._n_single = n
        if settings.by_rows:
            data.X[: X.size] = X.ravel()
        else:
            fill_tiles(X, settings.tile_width, data.X)
        fill_tiles(y, settings.tile_width, data.y)
        call.arguments["steps"].coefficients[0] = coefficients
        self._state.progress[0] = 0
        losses = self.records.losses
        losses[0] = 0.0  # the kernel adds the loss of the step
        is_finite = call()
        raise_loss_error(call.arguments["pointers"].gradients_of.functions.loss_backward)
        return float(losses[0]) if is_finite else math.nan

    def _prepare_single(self, n: int, coefficients: Array) -> PreparedCall:
        """Return the call of a single step on `n` samples."""
        network, width = self._network, choose_training_width(self._network, n)
        settings = self._settings._replace(
            n_samples=n,
            batch_size=n,
            shard_size=-(-n // width) * width,
            tile_width=width,
            by_rows=is_by_rows(network, n),
            weight_scale=1 / n,
        )
        gradients_of = get_job_pointers(network, self._job, by_units=False, by_rows=settings.by_rows)
        call = self._singles[n] = self._prepared.copy()
        call.set(
            settings=settings,
            pointers=self._pointers._replace(gradients_of=gradients_of),
            steps=Steps(coefficients[np.newaxis].copy(), 0, 1),
        )
        return call

    def _keep_copies(self) -> None:
        """Copy all arrays that steps change, so that `_restore_last_finite` can repeat the steps from here.

        The copies of a large network take as long as some of its steps: the next ones are made only when they
        take a small part of the time (`limits.COPY_FRACTION`).
        """
        started = time.perf_counter()
        if self._saved:
            for array, saved in zip(self._changing, self._saved, strict=True):
                np.copyto(saved, array)
        else:
            self._saved = [array.copy() for array in self._changing]
        self._saved_step, ended = self.n_steps, time.perf_counter()
        self._next_copies = ended + (ended - started) / limits.COPY_FRACTION

    def _find_non_finite(self, of_parameters: bool = True) -> str:
        """Return what `find_non_finite` does; if `_call` returned True, it has tested the parameters."""
        parameters = self._state.parameters if of_parameters else self._state.parameters[:0]
        return find_non_finite(parameters, self._state.statistics, self.memory)

    def _restore_last_finite(self) -> None:
        """Restore all arrays to their values after the last step that left them finite.

        The kernel keeps no copies of its own: its steps are repeated, with the same bits, from the latest
        copies. An array that is not finite stays so in later steps: bisection finds the last finite step,
        which is most often the one before the last.
        """
        first, broken = self._saved_step, self.n_steps
        step = broken - 1
        while step > first:
            if self._repeat(step):
                first = step
            else:
                broken = step
            step = (first + broken) // 2
        self._repeat(first)

    def _repeat(self, last_step: int) -> bool:
        """Repeat the steps from the copies up to `last_step`; return True if all arrays are still finite."""
        for array, saved in zip(self._changing, self._saved, strict=True):
            np.copyto(array, saved)
        while self.n_steps < last_step:
            if not self._call(last_step):
                return False
        return not self._find_non_finite(of_parameters=False)

    def _call(self, last_step: int) -> bool:
        """Call the kernel once, up to `last_step`; return False if a parameter would not be finite."""
        step, steps = self.n_steps, self._prepared_steps
        n_steps = min(last_step - step, self._calls.n_steps, limits.CALL_STEPS)
        if step not in steps or step + n_steps > steps.stop:
            count, is_constant = n_steps, type(self._job.schedule) is Constant
            # Computing the coefficients of an epoch's few steps takes longer than the steps: compute more.
            # Other schedules may change meanwhile, and the first call is often the only one.
            if is_constant and len(self._coefficients[0]):
                last = self._job.last_step(self._job.num_passes, step + limits.STEPS_AHEAD)
                count = max(count, last - step)
            self._coefficients = self._job.coefficients(step, count, self._network.dtype), step
            self._prepared_steps = range(step, step + count) if is_constant else range(0)
        self._prepared.set(steps=Steps(*self._coefficients, step + n_steps))
        return self._calls.run(self._prepared)
