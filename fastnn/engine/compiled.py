"""Backend of the compiled kernels: predictions, losses, gradients and trainers.

Importing this module imports numba: only `get_backend` does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastnn_kernels import layer, lbfgs, loss, output, predict, train
from fastnn_kernels.compiler import jit, numba_internals

from ..network.description import Network, aligned_empty
from ..system.notices import announce_compilation
from ..system.threads import acquired_cores, available_cores, map_on_threads
from . import limits
from .arguments import gradient_pointers, kernel_settings, tile_data, training_workspace
from .arrays import csr_table, n_operations, read_only, with_packed_weights
from .checks import warn_of_overflow
from .compiled_lbfgs import NumbaLBFGSTrainer
from .compiled_trainer import NumbaTrainer
from .job import Job, Memory, is_sparse
from .lbfgs import LBFGSMemory
from .protocol import LBFGSTrainer, Trainer
from .tiles import check_tile_width, tile_rows, tile_width, training_width, widest_tile

__all__ = ["NumbaBackend"]

Array = NDArray[Any]
T = TypeVar("T")


class NumbaBackend:
    """Backend of the compiled kernels."""

    def __init__(self) -> None:
        if numba_internals.is_disabled():
            raise RuntimeError(
                "NUMBA_DISABLE_JIT is set, and fastnn's kernels only run compiled: unset it, or use "
                'backend="numpy"'
            )
        if announce_compilation not in jit.compilation_listeners:
            jit.compilation_listeners.append(announce_compilation)
        self._predict, self._train, self._lbfgs = predict, train, lbfgs
        self._activations, self._output, self._loss = (
            layer.forward_table, output.forward_pointer, loss.value_pointer
        )  # fmt: skip

    def outputs(
        self, network: Network, parameters: Array, X: Any, name: str, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """Return the outputs (n, outputs): the function `name` of the scores."""
        pointers, kernel = self._pointers(network, name), self._predict.outputs(is_sparse(X))
        packed = self._weights(network, parameters, X, n_threads)
        P = np.empty((X.shape[0], network.n_outputs), network.dtype)

        def run(rows: slice, samples: Any, tile: Array, units: Array) -> bool:
            return kernel(*pointers, *packed, samples, tile, units, P[rows])

        if not all(_run_slices(network, X, run, n_threads)) and warns:
            warn_of_overflow(network, parameters, P)
        return P

    def predict(
        self, network: Network, parameters: Array, X: Any, n_threads: int = 0, warns: bool = True
    ) -> Array:
        """Return the predicted classes (n,)."""
        pointers, kernel = self._pointers(network, None), self._predict.predict(is_sparse(X))
        packed = self._weights(network, parameters, X, n_threads)
        classes = np.empty(X.shape[0], np.int64)

        def run(rows: slice, samples: Any, tile: Array, units: Array) -> bool:
            return kernel(*pointers, *packed, samples, tile, units, classes[rows])

        if not all(_run_slices(network, X, run, n_threads)) and warns:
            scores = self.outputs(network, parameters, X, "identity", n_threads, warns=False)
            warn_of_overflow(network, parameters, scores)
        return classes

    def bind(
        self, network: Network, parameters: Array, X: Array, name: str | None
    ) -> tuple[Callable[[], Any], Array]:
        """Return a function that predicts for the present contents of X, and the array that it fills."""
        kernel: Any
        if name is None:
            kernel = self._predict.predict(False)
            result: Array = np.empty(X.shape[0], np.int64)
        else:
            kernel = self._predict.outputs(False)
            result = np.empty((X.shape[0], network.n_outputs), network.dtype)
        tile, units = _prediction_workspace(network, X.shape[0])
        arguments = network.layout.plan, parameters, parameters, read_only(X), tile, units, result
        return functools.partial(kernel, *self._pointers(network, name), *arguments), result

    def _pointers(self, network: Network, name: str | None) -> tuple[Any, ...]:
        """Return the pointers that come first among a prediction kernel's arguments."""
        activations = self._activations(network.kernel_activations, network.dtype)
        return (activations,) if name is None else (activations, self._output(name, network.dtype))

    @staticmethod
    def _weights(network: Network, parameters: Array, X: Any, n_threads: int) -> tuple[Array, Array, Array]:
        """Return the plan, the parameters and the packed weights for predictions of X.

        Weights are packed only where every thread has many tiles to compute.
        """
        plan, packed = network.layout.plan, parameters
        if X.shape[0] >= limits.PACKED_TILES:
            n_tiles, cores = X.shape[0] // widest_tile(network), available_cores()
            if n_tiles >= limits.PACKED_TILES * min(n_threads or cores, cores):
                plan, packed = with_packed_weights(plan, parameters, is_sparse(X))
        return plan, parameters, packed

    def loss(
        self, network: Network, parameters: Array, X: Any, y: Array, weights: Array, n_threads: int = 0
    ) -> float:
        """Return the weighted loss."""
        activations = self._activations(network.kernel_activations, network.dtype)
        value = self._loss(network.loss.name, network.dtype)
        kernel = self._predict.loss(is_sparse(X))
        packed = self._weights(network, parameters, X, n_threads)
        weights = weights.astype(network.dtype)

        def run(rows: slice, samples: Any, tile: Array, units: Array) -> float:
            width = units.shape[0] // network.layout.n_units
            targets = aligned_empty(y.shape[1] * width, network.dtype)
            row = aligned_empty(width, network.dtype)
            return kernel(
                activations, value, *packed, samples, read_only(y[rows]), weights[rows],
                network.loss.parameter, tile, targets, row, units,
            )  # fmt: skip

        return sum(_run_slices(network, X, run, n_threads), 0.0)

    def trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job, memory: Memory
    ) -> Trainer:
        """Return the trainer of a job."""
        return NumbaTrainer(self._train, network, parameters, statistics, job, memory)

    def lbfgs_trainer(
        self, network: Network, parameters: Array, statistics: Array, job: Job,
        memory: LBFGSMemory | None = None,
    ) -> LBFGSTrainer:  # fmt: skip
        """Return the L-BFGS trainer of a job."""
        return NumbaLBFGSTrainer(self._train, self._lbfgs, network, parameters, statistics, job, memory)

    def loss_and_gradient(
        self, network: Network, statistics: Array, X: Any, y: Array, weights: Array, key: int
    ) -> Callable[[Array], tuple[float, Array]]:
        """Return a function of the parameters that computes the loss of a training pass and its gradient."""
        train = self._train
        n_samples = X.shape[0]
        width = training_width(network, n_samples)
        job = Job(X, y, weights, 1, n_samples)
        pointers = gradient_pointers(train, network, job, team=False)
        kernel = train.loss_and_gradient(job.is_sparse)
        data = train.Data(*tile_data(network, job, width))
        settings = kernel_settings(train, network, job, width, n_rounds=-(-n_samples // width))
        work = training_workspace(train, network, job, width, n_threads=1)
        step = max(1, int(limits.FIRST_CALL_OPERATIONS / (3 * n_operations(network, X) * width)))

        def evaluate(parameters: Array) -> tuple[float, Array]:
            gradient = aligned_empty(network.n_parameters, network.dtype)
            gradient[...] = 0
            loss = 0.0
            for first in range(0, settings.n_rounds, step):
                tiles = first, min(first + step, settings.n_rounds)
                with acquired_cores(1):
                    loss = kernel(
                        *pointers, network.training_layout.plan, parameters, statistics, data, settings,
                        np.uint64(key), tiles, work, 0, gradient, loss,
                    )  # fmt: skip
            return loss, gradient

        return evaluate


def _prediction_workspace(network: Network, n_samples: int, is_sparse: bool = False) -> tuple[Array, Array]:
    """Return the scratch arrays for a tile of samples and for the units of all layers."""
    width, n_rows = tile_width(network, n_samples), tile_rows(network, is_sparse)
    check_tile_width(network, width)
    workspace = aligned_empty((n_rows + network.layout.n_units) * width, network.dtype)
    return workspace[: n_rows * width], workspace[n_rows * width :]


def _run_slices(network: Network, X: Any, run: Callable[..., T], n_threads: int) -> list[T]:
    """Return the results of ``run(rows, samples, tile, units)`` for consecutive slices of the samples.

    Each call runs a kernel on a separate workspace. If cores are free, up to `n_threads` calls run in
    parallel; 0 sets no limit.
    """
    sparse = is_sparse(X)
    n_samples = X.shape[0]
    tile, units = _prediction_workspace(network, n_samples, sparse)
    width = units.shape[0] // network.layout.n_units
    step = width * max(1, int(limits.FIRST_CALL_OPERATIONS / (n_operations(network, X) * width)))
    if n_samples <= step:  # a single call takes microseconds: skip threads and interrupts
        samples = csr_table(X, np.arange(n_samples)) if sparse else read_only(X)
        return [run(slice(0, n_samples), samples, tile, units)]
    order = np.arange(n_samples) if sparse else None
    workspaces = SimpleQueue[tuple[Array, Array]]()
    workspaces.put((tile, units))

    def run_slice(first: int) -> T:
        rows = slice(first, first + step)
        samples = read_only(X[rows]) if order is None else csr_table(X, order[rows])
        try:
            workspace = workspaces.get_nowait()
        except Empty:
            workspace = _prediction_workspace(network, n_samples, sparse)
        try:
            return run(rows, samples, *workspace)
        finally:
            workspaces.put(workspace)

    return map_on_threads(run_slice, range(0, n_samples, step), n_threads)
