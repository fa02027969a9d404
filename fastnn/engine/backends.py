"""The choice between the two sides: compiled kernels, or the numpy reference.

Both give the same operations on a `Network` and its flat parameter vector; nothing else in fastnn
knows which of them runs.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels.compiler.forks import loading
from fastnn_kernels.compiler.interrupts import deliver_interrupts, held_interrupts

from ..network.description import Network, aligned_empty
from ..optimizers import SGD, Optimizer
from ..schedules import Constant, Schedule
from ..system.messages import warn
from ..system.notices import announce_compilation
from ..system.threads import Flag, available_cores, in_turn, spare_cores, started_pool, taken_cores
from ..system.validation import all_finite

__all__ = ["BACKENDS", "Backend", "Job", "Memory", "Records", "Trainer", "get_backend"]

Array = NDArray[Any]
T = TypeVar("T")

# Python gets its turn (interrupts, what is printed) between calls into the kernels, which last
# about so long.
CALL_SECONDS = 0.05
# How long a call may take at the most when nothing is known of a machine yet: 100 MFLOP.
FIRST_CALL_OPERATIONS = 1e8
# Steps a call may take, for which coefficients are computed.
CALL_STEPS = 1 << 16
# Threads may share a step from so much work on (about 0.1 ms). Below so many samples of a batch they share
# the units, in two parts. From there on they share the samples, whose gradients are added then: the batch is
# cut into shards, so many at the most, of so many samples at the least, with so many bytes of gradients.
SHARED_OPERATIONS = 1.2e7
TEAM_SAMPLES, N_PARTS = 256, 2
MOST_SHARDS = 8
LEAST_SHARD = 64
SHARED_BYTES = 1 << 28


def _is_sparse(X: Any) -> bool:
    """Whether samples are a table of SciPy's, which need not be loaded to find out."""
    return not isinstance(X, np.ndarray)


class Records(NamedTuple):
    """What is kept of some passes (`Job.kept`): arrays (R,), (R,) and (R, layers) of float64."""

    losses: NDArray[np.float64]
    norms: NDArray[np.float64]
    ratios: NDArray[np.float64]


@dataclass(frozen=True)
class Job:
    """One training: checked data, and all that `Model.train` was told.

    Parameters
    ----------
    X : array or scipy.sparse CSR (n, inputs)
    y : array (n, targets)
        Of X's dtype; a column of labels where the loss is of labels.
    weights : array (n,) of float64
        Of the samples.
    num_passes : int
        Over the data.
    batch_size : int
        1 to n.
    averaged : bool
        Whether a batch's loss is divided by the sum of its weights.
    shuffled : bool
        Whether every pass takes the samples in a new order.
    seed : int
        0 to 2**64 - 1; of dropout.
    optimizer : Optimizer
    schedule : Schedule
    epsilon, reg_lambda, l1 : float
        As `Model.train` takes them.
    max_norm, clip_norm : float
        Likewise; 0 for none.
    average_share : float
        Of the parameters in their running average, 1 - ema_decay; 0 for no average.
    record_every : int
        Passes from one that is kept in the records to the next.
    n_threads : int
    of_objective : bool
        Whether the penalty ``reg_lambda / 2 |W|^2`` belongs to what is averaged, as scikit-learn has it: a
        step's is divided by the batch's sum of weights, and the records hold the objective, every batch
        times the number of its samples, in place of the losses, and neither norms nor ratios. Goes with
        `averaged`.
    loss_share : float
        What the losses are multiplied by in that objective. It is the recorded one; steps do not know of it.
    tol : float
    patience : int
        The training halts after a pass with which the objective, what is recorded of a pass by the number
        of samples, was not below its best by `tol` for more than so many passes (`Memory.plateau`). Only
        the passes that are kept in the records are looked at. 0: it does not.
    steps_before : int
        Steps that were done before this training, and that schedule, optimizer and dropout count on from.
    total_steps : int
        What the schedule takes for the last; 0 for the last of this training.
    """

    X: Array
    y: Array
    weights: NDArray[np.float64]
    num_passes: int
    batch_size: int
    averaged: bool = False
    shuffled: bool = False
    seed: int = 0
    optimizer: Optimizer = SGD()
    schedule: Schedule = Constant()
    epsilon: float = 0.01
    reg_lambda: float = 0.0
    l1: float = 0.0
    max_norm: float = 0.0
    clip_norm: float = 0.0
    average_share: float = 0.0
    record_every: int = 1
    n_threads: int = 1
    of_objective: bool = False
    loss_share: float = 1.0
    tol: float = 0.0
    patience: int = 0
    steps_before: int = 0
    total_steps: int = 0

    @property
    def n_batches(self) -> int:
        """Steps of a pass."""
        return -(-self.X.shape[0] // self.batch_size)

    @property
    def is_gathered(self) -> bool:
        """Whether the batches are gathered from the table, and not all samples as they lie."""
        return self.batch_size < self.X.shape[0] or self.is_sparse

    @property
    def is_sparse(self) -> bool:
        """Whether the table is."""
        return _is_sparse(self.X)

    @property
    def kept(self) -> NDArray[np.int64]:
        """The passes of which records are kept: every `record_every`-th, from the first on, and the last."""
        passes = np.arange(0, self.num_passes, self.record_every)
        return np.unique(np.append(passes, self.num_passes - 1)) if self.num_passes else passes

    def record(self, n_pass: int) -> int | None:
        """Which record a pass is kept in; None for a pass that is not kept."""
        if n_pass % self.record_every == 0 or n_pass == self.num_passes - 1:
            return -(-n_pass // self.record_every)
        return None

    def rates(self, steps: NDArray[np.int64]) -> NDArray[np.float64]:
        """Learning rates of `steps`, whose number the kernels rely on whoever wrote the schedule."""
        steps = steps + self.steps_before
        total = self.total_steps or max(1, self.steps_before + self.num_passes * self.n_batches)
        factors = np.asarray(self.schedule.factors(steps, total), np.float64)
        if factors.shape != steps.shape or not (np.isfinite(factors) & (factors >= 0)).all():
            raise ValueError(
                f"schedule must give a finite factor not below 0 for each of {steps.size} steps, got "
                f"{factors} of {self.schedule!r}"
            )
        return self.epsilon * factors

    def coefficients(self, first: int, count: int, dtype: np.dtype) -> Array:
        """The optimizer's numbers (count, C) for `count` steps from `first` on."""
        steps = np.arange(first, first + count)
        rates = self.rates(steps)
        numbers = self.optimizer.coefficients(rates, steps + self.steps_before)
        # The rules reckon with finite numbers, as large as they may be. Training flushes subnormal numbers:
        # what is smaller than the smallest normal one is 0 on either backend.
        limits = np.finfo(dtype)
        numbers = np.where(np.abs(numbers) < limits.tiny, 0.0, np.minimum(numbers, limits.max))
        return np.ascontiguousarray(numbers, dtype)

    def records(self, n_layers: int) -> Records:
        """Empty ones."""
        last = self.record(self.num_passes - 1) if self.num_passes else None
        n = 0 if last is None else last + 1
        return Records(np.zeros(n), np.zeros(n), np.zeros((n, n_layers)))


@dataclass
class Memory:
    """What a training keeps besides the parameters. Given to another, that one goes on where it ended.

    Parameters
    ----------
    optimizer : array (S, P)
        The optimizer's state.
    average : array (P,) or (0,)
        Of the parameters.
    order : array (n,) of int64
        Of the samples.
    generator : array (625,) of uint32
        Where new orders come from: a Mersenne Twister, as `fastnn_kernels.random.shuffle` has it.
    plateau : array (2,) of float64
        The best objective of a pass, and passes since one was below the best before it by `Job.tol`.
    """

    optimizer: Array
    average: Array
    order: NDArray[np.int64]
    generator: NDArray[np.uint32]
    plateau: NDArray[np.float64]

    @classmethod
    def fresh(
        cls, network: Network, parameters: Array, job: Job, generator: NDArray[np.uint32] | None = None
    ) -> Memory:
        """That of a training that begins with `parameters`; `generator` is asked if the job is shuffled."""
        values = job.optimizer.initial_state
        optimizer = aligned_empty(len(values) * network.n_parameters, network.dtype)
        optimizer = optimizer.reshape(len(values), network.n_parameters)
        optimizer[...] = np.array(values)[:, None] if values else 0
        return cls(
            optimizer,
            parameters.copy() if job.average_share else np.empty(0, network.dtype),
            np.arange(job.X.shape[0] if job.is_gathered else 0),
            np.zeros(625, np.uint32) if generator is None else generator,
            np.array([np.inf, 0.0]),
        )


class Trainer(Protocol):
    """One training, which changes the parameters, statistics and memory it was given in place."""

    records: Records
    memory: Memory

    @property
    def trouble(self) -> str:
        """What the next step would leave that is not finite, as `DivergenceError.what`; "" for nothing."""

    @property
    def n_passes(self) -> int:
        """Whole passes done."""

    @property
    def halted(self) -> bool:
        """Whether the objective fell too little for too long (`Job.patience`), the last pass included.

        A memory that comes from a halted training is no reason to: at least one pass is done.
        """

    def run(self, last_pass: int) -> bool:
        """Train on for some 50 ms, not beyond `last_pass` passes in all, nor where it has halted.

        Returns False where the next step would leave something that is not finite, which `trouble` names:
        a parameter, a running statistic, the optimizer's state or the average. All are then as the last step
        left them that did not.
        """


class Backend(Protocol):
    """What a side offers. All that is passed in is checked; parameters is the flat vector.

    X (n, inputs), a CSR matrix or array of SciPy's, too, where it is not to be bound; y (n, targets) of the
    network's dtype; weights (n,). n_threads: the most that compute, 0 for as many as pay. Predictions take
    the parameters of a network without batch normalisation (`Network.folded`), and warn of samples for which
    they are not finite, unless they are told not to.
    """

    def outputs(
        self, network: Network, parameters: Array, X: Any, name: str, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """The output `name` of the scores, (n, outputs)."""

    def predict(
        self, network: Network, parameters: Array, X: Any, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """Classes (n,)."""

    def bound(
        self, network: Network, parameters: Array, X: Array, name: str | None
    ) -> tuple[Callable[[], Any], Array]:
        """Return a function that predicts for what X holds when it is called, and the array that it fills.

        It computes the output `name`, or for None the classes, and returns whether all scores are finite.
        """

    def loss(
        self, network: Network, parameters: Array, X: Any, y: Array, weights: Array, n_threads: int = 0
    ) -> float:
        """The weighted loss."""

    def trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> Trainer:
        """A training."""

    def objective(
        self, network: Network, statistics: Array, X: Array, y: Array, weights: Array, key: int
    ) -> Callable[[Array], tuple[float, Array]]:
        """A function of the parameters: the weighted loss of a training pass, and its gradient.

        `key` is that of the random numbers of dropout; running statistics are moved.
        """


class NumbaBackend:
    """The compiled kernels. numba is imported when the first of these is made."""

    def __init__(self) -> None:
        # An interrupt might leave half of numba loaded for good.
        with loading, held_interrupts():
            from fastnn_kernels import layer, loss, output, predict, train
            from fastnn_kernels.compiler import jit, numba_internals

        if numba_internals.is_disabled():
            raise RuntimeError(
                "NUMBA_DISABLE_JIT is set, and fastnn's kernels only run compiled: unset it, or use "
                'backend="numpy"'
            )
        if announce_compilation not in jit.compilation_listeners:
            jit.compilation_listeners.append(announce_compilation)
        self._predict, self._train = predict, train
        self._activations, self._output, self._loss = (
            layer.forward_table, output.forward_pointer, loss.value_pointer
        )  # fmt: skip

    def outputs(
        self, network: Network, parameters: Array, X: Any, name: str, n_threads: int = 0, warns: bool = True
    ) -> Array:
        pointers, kernel = self._pointers(network, name), self._predict.outputs(_is_sparse(X))
        P = np.empty((X.shape[0], network.n_outputs), network.dtype)

        def run(part: slice, samples: Any, tile: Array, units: Array) -> bool:
            return kernel(*pointers, network.layout.plan, parameters, samples, tile, units, P[part])

        if not all(_run_parts(network, X, run, n_threads)) and warns:
            _warn_of_overflow(network, P)
        return P

    def predict(
        self, network: Network, parameters: Array, X: Any, n_threads: int = 0, warns: bool = True
    ) -> Array:
        pointers, kernel = self._pointers(network, None), self._predict.predict(_is_sparse(X))
        classes = np.empty(X.shape[0], np.int64)

        def run(part: slice, samples: Any, tile: Array, units: Array) -> bool:
            return kernel(*pointers, network.layout.plan, parameters, samples, tile, units, classes[part])

        if not all(_run_parts(network, X, run, n_threads)):
            scores = self.outputs(network, parameters, X, "identity", n_threads, warns)
            broken = np.isnan(scores).any(axis=1)
            classes[broken] = np.argmax(scores[broken], axis=1)
        return classes

    def bound(
        self, network: Network, parameters: Array, X: Array, name: str | None
    ) -> tuple[Callable[[], Any], Array]:
        kernel: Any
        if name is None:
            kernel = self._predict.predict(False)
            result: Array = np.empty(X.shape[0], np.int64)
        else:
            kernel = self._predict.outputs(False)
            result = np.empty((X.shape[0], network.n_outputs), network.dtype)
        tile, units = _prediction_workspace(network, X.shape[0])
        arguments = network.layout.plan, parameters, _read_only(X), tile, units, result
        return functools.partial(kernel, *self._pointers(network, name), *arguments), result

    def _pointers(self, network: Network, name: str | None) -> tuple[Any, ...]:
        """Those with which the kernel of an output, or of classes, begins."""
        activations = self._activations(network.kernel_activations, network.dtype)
        return (activations,) if name is None else (activations, self._output(name, network.dtype))

    def loss(
        self, network: Network, parameters: Array, X: Any, y: Array, weights: Array, n_threads: int = 0
    ) -> float:
        activations = self._activations(network.kernel_activations, network.dtype)
        value = self._loss(network.loss.name, network.dtype)
        kernel = self._predict.loss(_is_sparse(X))
        weights = weights.astype(network.dtype)

        def run(part: slice, samples: Any, tile: Array, units: Array) -> float:
            width = units.shape[0] // network.layout.n_units
            targets = aligned_empty(y.shape[1] * width, network.dtype)
            row = aligned_empty(width, network.dtype)
            return kernel(
                activations, value, network.layout.plan, parameters, samples, _read_only(y[part]),
                weights[part], network.loss.parameter, tile, targets, row, units,
            )  # fmt: skip

        return sum(_run_parts(network, X, run, n_threads), 0.0)

    def trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> Trainer:
        return _NumbaTrainer(self._train, network, parameters, statistics, job, memory)

    def objective(
        self, network: Network, statistics: Array, X: Any, y: Array, weights: Array, key: int
    ) -> Callable[[Array], tuple[float, Array]]:
        train = self._train
        n_samples = X.shape[0]
        width = _training_width(network, n_samples)
        job = Job(X, y, weights, 1, n_samples)
        pointers = _gradient_pointers(train, network, job, team=False)
        kernel = train.loss_and_gradient(job.is_sparse)
        data = train.Data(*_tiles(network, job, width))
        settings = _settings(train, network, job, width, n_rounds=-(-n_samples // width))
        work = _workspace(train, network, job, width, n_threads=1)
        step = max(1, int(FIRST_CALL_OPERATIONS / (3 * _operations(network, X) * width)))

        def evaluate(parameters: Array) -> tuple[float, Array]:
            gradient = aligned_empty(network.n_parameters, network.dtype)
            gradient[...] = 0
            loss = 0.0
            for first in range(0, settings.n_rounds, step):
                tiles = first, min(first + step, settings.n_rounds)
                with taken_cores(1):
                    loss += kernel(
                        *pointers, network.training_layout.plan, parameters, statistics, data, settings,
                        np.uint64(key), tiles, work, gradient,
                    )  # fmt: skip
            return loss, gradient

        return evaluate


def _warn_of_overflow(network: Network, P: Array) -> None:
    """Warn of samples for which a prediction, a row of P, is not finite."""
    (rows,) = np.nonzero(~np.isfinite(P).all(axis=1))
    if rows.size:
        warn(
            f"the network's scores are too large for {network.dtype} in {rows.size} of {len(P)} "
            f"samples, first in row {rows[0]}: predictions for these mean nothing. Scale X as in the "
            "training, or train again with standardised X and a lower learning rate",
            RuntimeWarning,
        )


def _read_only(X: Array) -> Array:
    """A view that is read-only, so that users' read-only arrays need no kernels of their own."""
    X = X.view()
    X.flags.writeable = False
    return X


def _table(X: Any, rows: NDArray[np.int64]) -> Any:
    """A sparse table as the kernels take it; rows: which samples, in which order."""
    from fastnn_kernels.sparse import Table

    # Weights for more features than an int32 counts would fit into no memory.
    columns, starts = X.indices.astype(np.int32, copy=False), X.indptr.astype(np.int64, copy=False)
    values, columns, starts = (_read_only(np.ascontiguousarray(array)) for array in (X.data, columns, starts))
    return Table(values, columns, starts, rows)


def _tile_rows(network: Network, is_sparse: bool) -> int:
    """Rows of a tile of samples, or, of a sparse table, columns of what its tiles need instead."""
    return network.whole_tile(network.shapes[0][1]) if is_sparse else network.n_inputs


def _prediction_workspace(network: Network, n_samples: int, is_sparse: bool = False) -> tuple[Array, Array]:
    """A tile of samples, and what its units take."""
    width, n_rows = network.tile_width(n_samples), _tile_rows(network, is_sparse)
    workspace = aligned_empty((n_rows + network.layout.n_units) * width, network.dtype)
    return workspace[: n_rows * width], workspace[n_rows * width :]


def _operations(network: Network, X: Any) -> int:
    """Of a sample on its way through the network."""
    n_inputs, n_outputs = network.shapes[0]
    used = X.nnz // max(1, X.shape[0]) if _is_sparse(X) else n_inputs
    return 2 * (network.n_parameters - (n_inputs - used) * n_outputs)


def _run_parts(network: Network, X: Any, run: Callable[..., T], n_threads: int) -> list[T]:
    """What ``run(part, samples, tile, units)`` gives for slices of the samples, in their order.

    Each is a call into the kernels, with workspaces. They go side by side where there are cores for it: so
    many at the most, 0 for any number.
    """
    is_sparse = _is_sparse(X)
    n_samples = X.shape[0]
    tile, units = _prediction_workspace(network, n_samples, is_sparse)
    width = units.shape[0] // network.layout.n_units
    step = width * max(1, int(FIRST_CALL_OPERATIONS / (_operations(network, X) * width)))
    if n_samples <= step:  # in microseconds
        samples = _table(X, np.arange(n_samples)) if is_sparse else _read_only(X)
        return [run(slice(0, n_samples), samples, tile, units)]
    order = np.arange(n_samples) if is_sparse else None

    def one(first: int) -> Any:
        if interrupted():
            return None
        part = slice(first, first + step)
        samples = _read_only(X[part]) if order is None else _table(X, order[part])
        space = spaces.get()
        try:
            return run(part, samples, *space)
        finally:
            spaces.put(space)

    parts = range(0, n_samples, step)
    results: dict[int, Any] = {}
    while missing := [first for first in parts if results.get(first) is None]:
        interrupted, spaces = Flag(), SimpleQueue[tuple[Array, Array]]()
        # Ctrl-C ends it at the next part; where its handler lets it go on, the rest is done after that.
        with (
            held_interrupts(interrupted.hoist),
            spare_cores(min(n_threads or len(parts), len(missing))) as count,
        ):
            spaces.put((tile, units))
            for _ in range(1, count):
                spaces.put(_prediction_workspace(network, n_samples, is_sparse))
            with closing(in_turn(one, missing, count, interrupted.hoist)) as done:
                for first, result in done:
                    results[first] = result
                    deliver_interrupts()
    return [results[first] for first in parts]


# --- a training, as the kernels take it ----------------------------------------------------------


def _training_width(network: Network, n_samples: int) -> int:
    """Samples of a tile of so many; with batch normalisation one tile holds them all."""
    return (
        network.whole_tile(n_samples) if network.batch_norm else network.tile_width(n_samples, training=True)
    )


def _gradient_pointers(train: Any, network: Network, job: Job, *, team: bool) -> Any:
    return train.gradient_pointers(
        network.kernel_activations, network.loss.name, network.batch_norm, bool(network.dropout),
        job.is_sparse, team, network.dtype,
    )  # fmt: skip


def _weight_scale(job: Job) -> float:
    """What the weights of a whole batch are multiplied by."""
    return float(1 / job.weights.sum()) if job.averaged else 1.0


def _common_weight(weights: Array) -> float:
    """What every sample weighs, or 0 where they differ."""
    return float(weights[0]) if (weights == weights[0]).all() else 0.0


def _tiles(network: Network, job: Job, width: int) -> tuple[Any, Array, Array, Array]:
    """The samples as the kernels read a whole batch: units x samples, one tile after the other.

    A sparse table stays as it is.
    """
    n_samples, n_inputs = job.X.shape
    n_targets = job.y.shape[1]
    n_tiles = -(-n_samples // width)
    scale = _weight_scale(job)
    X, y, weights = (
        aligned_empty(n_tiles * rows * width, network.dtype)
        for rows in (0 if job.is_sparse else n_inputs, n_targets, 1)
    )
    scaled = scale * job.weights[:, None]
    tables = [(job.y, y), (scaled, weights)]
    if not job.is_sparse:
        tables.append((job.X, X))
    for k in range(n_tiles):
        part = slice(k * width, (k + 1) * width)
        for source, flat in tables:
            rows = source.shape[1]
            tile = flat[k * rows * width :][: rows * width].reshape(rows, width)
            n_real = source[part].shape[0]
            tile[:, :n_real] = source[part].T
            # Padding has the weight 0. It repeats the last sample, so that no sum overflows in it alone.
            tile[:, n_real:] = 0 if source is scaled else tile[:, n_real - 1 : n_real]
    samples = _table(job.X, np.arange(n_samples)) if job.is_sparse else X
    return samples, y, weights, np.empty(0, np.int64)


def _settings(train: Any, network: Network, job: Job, width: int, n_rounds: int) -> Any:
    return train.Settings(
        n_samples=job.X.shape[0],
        n_targets=job.y.shape[1],
        batch_size=job.batch_size,
        n_batches=job.n_batches,
        n_rounds=n_rounds,
        tile_width=width,
        shuffled=job.shuffled,
        averaged=job.averaged,
        common_weight=_common_weight(job.weights),
        weight_scale=_weight_scale(job),
        of_objective=job.of_objective,
        loss_share=float(job.loss_share),
        tol=float(job.tol),
        patience=job.patience,
        seed=np.uint64(job.seed),
        steps_before=job.steps_before,
        loss_parameter=network.loss.parameter,
        dropout=np.array(network.dropout),
        n_weights=network.n_weights,
        reg_lambda=job.reg_lambda,
        weight_decay=job.optimizer.l2,
        l1=job.l1,
        max_norm=job.max_norm,
        clip_norm=job.clip_norm,
        average_share=job.average_share,
        first_step=0,
        record_every=job.record_every,
        last_pass=job.num_passes - 1,
    )


def _workspace(train: Any, network: Network, job: Job, width: int, n_threads: int, team: bool = False) -> Any:
    layout, dtype = network.training_layout, network.dtype
    widest = max(network.whole_tile(n_out) for _, n_out in network.shapes)
    gathered = _tile_rows(network, job.is_sparse) + job.y.shape[1] + 1 if job.is_gathered else 0

    def rows(size: int) -> Array:
        return aligned_empty(n_threads * size * width, dtype).reshape(n_threads, size * width)

    n_blocks = -(-network.n_parameters // train.BLOCK)
    size = 2 * widest * width if team else 0
    sums = aligned_empty(2 * size, dtype).reshape(2, size)
    sums[1] = 0
    return train.Workspace(
        tiles=rows(gathered),
        units=rows(layout.n_units),
        dunits=rows(layout.n_dunits),
        scratch=rows(widest),
        before=aligned_empty(network.n_parameters, dtype),
        partial=np.zeros(n_blocks),
        sums=sums,
        finite=np.ones(n_threads, np.int64),
        barrier=np.zeros(16, np.int64),
    )


def _shares(network: Network, batch_size: int, is_sparse: bool = False) -> tuple[int, bool]:
    """How many threads may share a step: a matter of the problem, not of the threads there are.

    And whether they share the units of its layers, or its batch, which is cut into so many shards.
    """
    operations = 6 * network.n_parameters * batch_size * network.dtype.itemsize / 4
    # On a sparse table the update takes most of the time, which is the memory's.
    if network.batch_norm or is_sparse or operations < SHARED_OPERATIONS:
        return 1, False
    if not network.dropout and batch_size < TEAM_SAMPLES:
        return N_PARTS, True
    most = min(MOST_SHARDS, SHARED_BYTES // (network.n_parameters * network.dtype.itemsize))
    return max(1, min(most, batch_size // LEAST_SHARD)), False


def _trouble(parameters: Array, statistics: Array, memory: Memory) -> str:
    """Return what of a training's state is not finite, in the words of `DivergenceError`; "" where all is."""
    for what, values in (
        ("a parameter", parameters),
        ("a running statistic of batch normalisation", statistics),
        ("the state of the optimizer", memory.optimizer),
        ("the average of the parameters", memory.average),
    ):
        if values.size and not all_finite(values):
            return what
    return ""


class _NumbaTrainer:
    def __init__(
        self, train: Any, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> None:
        self._train, self._network, self._job, self.memory = train, network, job, memory
        n_shares, team = _shares(network, job.batch_size, job.is_sparse)
        n_shards = 1 if team else n_shares
        shard = -(-job.batch_size // n_shards)
        width = _training_width(network, shard)
        # More threads than cores would wait for one another.
        n_threads = min(job.n_threads, n_shares, available_cores())
        self._n_threads = n_threads
        self._kernel = train.train_steps(job.is_gathered, team, job.is_sparse)
        self._pointers = (
            *_gradient_pointers(train, network, job, team=team),
            train.update_pointer(job.optimizer.rule, job.l1 > 0, network.dtype),
        )
        size, dtype = network.n_parameters, network.dtype
        if job.is_gathered:
            X = _table(job.X, memory.order) if job.is_sparse else _read_only(job.X)
            data = X, _read_only(np.ascontiguousarray(job.y)), job.weights, memory.order
        else:
            data = _tiles(network, job, width)
        self._data = train.Data(*data)
        self._state = train.State(
            parameters=parameters,
            optimizer=memory.optimizer,
            average=memory.average,
            statistics=statistics,
            generator=memory.generator,
            plateau=memory.plateau,
            gradients=aligned_empty(n_shards * size, dtype).reshape(n_shards, size),
            losses=np.zeros(n_shards),
            squares=np.zeros(N_PARTS * len(network.shapes) if team else -(-size // train.BLOCK)),
            progress=np.zeros((n_threads, 2), np.int64),
        )
        self._state.gradients[...] = 0
        self.records = job.records(len(network.shapes))
        self._records = train.Records(*self.records)
        self._settings = _settings(train, network, job, width, n_rounds=-(-shard // width))
        self._work = _workspace(train, network, job, width, n_threads, team)
        changing = self._state
        if self._settings.n_rounds == 1:  # between calls there is no step half done
            changing = changing._replace(gradients=np.empty(0))
        self._changing = [*changing, *self.records, self._data.indices]
        self._saved = [np.empty_like(array) for array in self._changing]
        self._first_step = 0  # of the last call
        self._pool: ThreadPoolExecutor | None = None
        self._process = os.getpid()  # that the pool's threads are in
        self.trouble = ""
        self._rounds_a_call = max(1, int(FIRST_CALL_OPERATIONS / (6 * size * width * n_shards)))

    @property
    def n_passes(self) -> int:
        return self._step // self._job.n_batches

    @property
    def halted(self) -> bool:
        return self.n_passes > 0 and bool(0 < self._job.patience < self.memory.plateau[1])

    @property
    def _step(self) -> int:
        return int(self._state.progress[0, 0])

    @property
    def _rounds_done(self) -> int:
        step, round = self._state.progress[0].tolist()
        return step * self._settings.n_rounds + round

    def run(self, last_pass: int) -> bool:
        if self.halted:
            return True
        last_step = last_pass * self._job.n_batches
        for array, saved in zip(self._changing, self._saved, strict=True):
            np.copyto(saved, array)
        self._first_step, rounds_before = self._step, self._rounds_done
        started = time.perf_counter()
        self.trouble = "a parameter"
        try:
            if self._call(last_step):
                self.trouble = self._find_trouble()
            seconds = time.perf_counter() - started
            rounds_a_second = (self._rounds_done - rounds_before) / max(seconds, 1e-6)
            # Eight times as many at the most: the measure of a short call is rough.
            self._rounds_a_call = max(1, min(int(CALL_SECONDS * rounds_a_second), 8 * self._rounds_a_call))
        finally:
            # Also where an interrupt came through, as it does when the kernel returns.
            with held_interrupts():
                if self.trouble and self._find_trouble():
                    self._go_back()
        return not self.trouble

    def _find_trouble(self) -> str:
        return _trouble(self._state.parameters, self._state.statistics, self.memory)

    def _go_back(self) -> None:
        """Return to the last step that left everything finite.

        The kernel keeps no copy of what it changes; what it did up to that step is simply done again from a
        copy made before the call, and comes out the same to the last bit. What is not finite stays so, and so
        bisection finds the step; most often it is the one before the last.
        """
        first, broken = self._first_step, self._step
        step = broken - 1
        while step > first:
            if self._repeat(step):
                first = step
            else:
                broken = step
            step = (first + broken) // 2
        self._repeat(first)

    def _repeat(self, last_step: int) -> bool:
        """Do the steps of the last call again, up to `last_step`; returns whether all is finite still."""
        for array, saved in zip(self._changing, self._saved, strict=True):
            np.copyto(array, saved)
        while self._step < last_step:
            if not self._call(last_step):
                return False
        return not self._find_trouble()

    def _call(self, last_step: int) -> bool:
        n_rounds = self._rounds_a_call
        step = self._step
        n_steps = min(last_step - step, n_rounds // self._settings.n_rounds + 1, CALL_STEPS)
        arguments = (
            *self._pointers,
            self._network.training_layout.plan,
            self._state,
            self._data,
            self._settings._replace(first_step=step),
            self._records,
            self._work,
            self._job.coefficients(step, n_steps, self._network.dtype),
            step + n_steps,
            n_rounds,
        )
        if self._process != os.getpid():  # forked by a callback: no thread of the pool is here
            self._pool, self._process = None, os.getpid()
        with taken_cores(self._n_threads) as n_threads:
            if n_threads > 1 and self._pool is None:
                try:
                    self._pool = started_pool(self._n_threads - 1)
                except RuntimeError:  # the system has none, or the interpreter is about to end
                    self._n_threads = 1
            if n_threads == 1 or self._pool is None:
                return self._kernel(0, 1, *arguments)
            # As many may be there as were not in the call before.
            self._state.progress[1:] = self._state.progress[0]
            # The kernel's threads wait for one another: they begin when all of them are there.
            are_all_there: Future[bool] = Future()

            def share(thread: int) -> None:
                if are_all_there.result():
                    self._kernel(thread, n_threads, *arguments)

            try:
                others = [self._pool.submit(share, thread) for thread in range(1, n_threads)]
            except RuntimeError:  # the interpreter is about to end, and this thread goes on until then
                are_all_there.set_result(False)
                self._n_threads, self._pool = 1, None
                return self._kernel(0, 1, *arguments)
            are_all_there.set_result(True)
            finite = self._kernel(0, n_threads, *arguments)
            wait(others)
            return finite


# Kernels run through infinities without a word; what comes of them is checked afterwards.
_quiet = np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")


class NumpyBackend:
    """The reference."""

    def __init__(self) -> None:
        from ..reference import predict, train

        self._predict, self._train = predict, train

    def outputs(
        self, network: Network, parameters: Array, X: Any, name: str, n_threads: int = 0, warns: bool = True
    ) -> Array:
        P = _quiet(self._predict.outputs)(*_lists(network, parameters), _dense(X), name)
        if warns and not all_finite(P):
            _warn_of_overflow(network, P)
        return P

    def predict(
        self, network: Network, parameters: Array, X: Any, n_threads: int = 0, warns: bool = True
    ) -> Array:
        classes = _quiet(self._predict.predict)(*_lists(network, parameters), _dense(X))
        if warns:
            self.outputs(network, parameters, X, "identity")
        return classes

    def bound(
        self, network: Network, parameters: Array, X: Array, name: str | None
    ) -> tuple[Callable[[], Any], Array]:
        n, k = X.shape[0], network.n_outputs
        result = np.empty(n, np.int64) if name is None else np.empty((n, k), network.dtype)

        def run() -> bool:
            result[...] = (
                self.predict(network, parameters, X) if name is None
                else self.outputs(network, parameters, X, name)
            )  # fmt: skip
            return True  # it has warned already

        return run, result

    @_quiet
    def loss(
        self, network: Network, parameters: Array, X: Any, y: Array, weights: Array, n_threads: int = 0
    ) -> float:
        return self._predict.loss(
            *_lists(network, parameters), _dense(X), network.loss.name, _targets(network, y),
            weights.astype(network.dtype), network.loss.parameter,
        )  # fmt: skip

    def trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> Trainer:
        job = replace(job, X=_dense(job.X)) if job.is_sparse else job
        return _NumpyTrainer(self._train, network, parameters, statistics, job, memory)

    def objective(
        self, network: Network, statistics: Array, X: Array, y: Array, weights: Array, key: int
    ) -> Callable[[Array], tuple[float, Array]]:
        weights = weights.astype(network.dtype)
        X = _dense(X)

        @_quiet
        def evaluate(parameters: Array) -> tuple[float, Array]:
            return self._train.loss_and_gradient(
                network, parameters, statistics, X, _targets(network, y), weights, key
            )

        return evaluate


def _dense(X: Any) -> Array:
    """Samples as the reference takes them."""
    return X.toarray() if _is_sparse(X) else X


def _lists(network: Network, parameters: Array) -> tuple[Any, list[Array], list[Array]]:
    return network.activations, network.weights(parameters), network.biases(parameters)


def _targets(network: Network, y: Array) -> Array:
    """As the reference takes them: labels in one dimension."""
    return y[:, 0] if network.loss.of_labels else y


class _NumpyState(NamedTuple):
    parameters: Array
    statistics: Array
    optimizer: Array
    average: Array
    order: Array
    generator: Array
    plateau: Array
    progress: Array  # steps done


class _NumpyTrainer:
    def __init__(
        self, train: Any, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> None:
        self._train, self._network, self._job, self.memory = train, network, job, memory
        self._state = _NumpyState(
            parameters, statistics, memory.optimizer, memory.average,
            memory.order if job.is_gathered else np.arange(job.X.shape[0]), memory.generator, memory.plateau,
            np.zeros(1, np.int64),
        )  # fmt: skip
        self.records = job.records(len(network.shapes))
        self.trouble = ""

    @property
    def n_passes(self) -> int:
        return int(self._state.progress[0]) // self._job.n_batches

    @property
    def halted(self) -> bool:
        return self.n_passes > 0 and bool(0 < self._job.patience < self.memory.plateau[1])

    @_quiet
    def run(self, last_pass: int) -> bool:
        last_step = last_pass * self._job.n_batches
        finished = time.perf_counter() + CALL_SECONDS
        changing = [*self._state, *self.records]
        while self._state.progress[0] < last_step and time.perf_counter() < finished and not self.halted:
            before = [array.copy() for array in changing]
            self.trouble = "a parameter"
            try:
                if self._train.train_step(self._network, self._state, self._job, self.records):
                    self.trouble = _trouble(self._state.parameters, self._state.statistics, self.memory)
            finally:
                if self.trouble:  # the training diverged, or an interrupt came through
                    for array, saved in zip(changing, before, strict=True):
                        array[...] = saved
            if self.trouble:
                return False
        return True


BACKENDS: dict[str, type[NumbaBackend] | type[NumpyBackend]] = {
    "numba": NumbaBackend,
    "numpy": NumpyBackend,
}


@functools.cache
def get_backend(name: str) -> Backend:
    """The side called `name`, one of `BACKENDS`, made when it is first asked for."""
    return BACKENDS[name]()
