"""Backend of the compiled kernels: predictions, losses, gradients and trainers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, ClassVar, TypeVar

import numpy as np

from fastnn_kernels.calls import prediction
from fastnn_kernels.calls.formulas import forward_pointer, forward_table, value_pointer
from fastnn_kernels.compiler.entry import FunctionPointer, PreparedCall, compilation_listeners

from ..network.description import Array, Network, allocate_empty, allocate_zeros
from ..system.notices import announce_compilation
from ..system.threads import count_cores, map_on_threads
from . import limits
from .arrays import align, count_operations, make_csr_table, pack_network_weights
from .checks import warn_of_overflow
from .compiled_lbfgs import NumbaLBFGSTrainer
from .compiled_passes import CompiledPasses, CompiledUpdate
from .compiled_trainer import NumbaTrainer
from .job import MatrixLike, is_sparse
from .levenberg_marquardt import LevenbergMarquardtTrainer
from .own_losses import get_loss_pointer, raise_loss_error
from .protocol import Backend
from .tiles import choose_tile_width, count_tile_rows, find_widest_tile

T = TypeVar("T")


class NumbaBackend(Backend):
    """Backend of the compiled kernels."""

    trainer, passes, update = NumbaTrainer, CompiledPasses, CompiledUpdate
    minimisers: ClassVar = {
        "lbfgs": NumbaLBFGSTrainer,
        "levenberg_marquardt": partial(LevenbergMarquardtTrainer, CompiledPasses),
    }

    def __init__(self) -> None:
        if announce_compilation not in compilation_listeners:
            compilation_listeners.append(announce_compilation)

    def outputs(
        self,
        network: Network,
        parameters: Array,
        X: MatrixLike,
        name: str | None,
        n_threads: int = 0,
        warns: bool = True,
    ) -> Array:
        if (found := self._predict_few_rows(network, parameters, X, name)) is not None:
            return found
        compute, result = _make_outputs(network, X, name, n_threads, is_kept=False)
        if not all(compute(parameters)) and warns:
            P = result if name else self.outputs(network, parameters, X, "identity", n_threads, warns=False)
            warn_of_overflow(network, parameters, P)
        return result

    def _predict_few_rows(
        self, network: Network, parameters: Array, X: MatrixLike, name: str | None
    ) -> Array | None:
        """Return what `bind` computes for a few rows, by a call that stays prepared for the next rows.

        The result is None for more rows, for large networks, and if it is not finite.
        """
        n_rows = X.shape[0]
        if n_rows > limits.FEW_ROWS or network.n_parameters > limits.FEW_PARAMETERS or is_sparse(X):
            return None
        calls = network.prepared_calls[name, n_rows]
        try:
            fill, samples, result = calls.pop()  # no other thread uses this call until it is returned
        except IndexError:
            samples = np.empty(X.shape, network.dtype)
            fill, result = self.bind(network, samples, name)
        samples[...] = X
        found = result.copy() if fill(parameters) else None
        calls.append((fill, samples, result))
        return found

    def bind(
        self, network: Network, X: MatrixLike, name: str | None, n_threads: int = 0
    ) -> tuple[Callable[[Array], object], Array]:
        compute, result = _make_outputs(network, X, name, n_threads)
        return lambda parameters: all(compute(parameters)), result

    def loss(
        self, network: Network, X: MatrixLike, y: Array, weights: Array, n_threads: int = 0
    ) -> Callable[[Array], float]:
        value = get_loss_pointer(value_pointer, network.loss, network.dtype)
        kernel = prediction.loss(is_sparse(X), network.dtype)
        weights = weights.astype(network.dtype)

        def list_others(rows: slice, tile: Array, units: Array) -> tuple[Any, ...]:
            width = units.shape[0] // network.layout.n_units
            targets = allocate_empty((y.shape[1] + 1) * width, network.dtype)
            return value, align(y[rows]), weights[rows], network.loss.parameter, tile, targets, units

        compute = _make_function(network, X, kernel, list_others, n_threads)

        def add_losses(parameters: Array) -> float:
            total = 0.0
            for part in compute(parameters):
                total += part  # sum() rounds as the kernel does only before Python 3.12
            raise_loss_error(value)
            return total

        return add_losses


def _make_outputs(
    network: Network, X: MatrixLike, name: str | None, n_threads: int, is_kept: bool = True
) -> tuple[Callable[[Array], list[bool]], Array]:
    """Return a `_make_function` that fills an array with the outputs `name`, and this array."""
    n_samples, dtype, sparse = X.shape[0], network.dtype, is_sparse(X)
    pointers: tuple[FunctionPointer, ...] = ()
    if name is None:
        kernel, result = prediction.predict(sparse, dtype), np.empty(n_samples, np.int64)
    else:
        kernel, result = prediction.outputs(sparse, dtype), np.empty((n_samples, network.n_outputs), dtype)
        pointers = (forward_pointer(name, dtype),)

    def list_others(rows: slice, tile: Array, units: Array) -> tuple[Any, ...]:
        return *pointers, tile, units, result[rows]

    return _make_function(network, X, kernel, list_others, n_threads, is_kept), result


def _make_prediction_workspace(
    network: Network, n_samples: int, is_sparse: bool = False
) -> tuple[Array, Array]:
    width, n_rows = choose_tile_width(network, n_samples), count_tile_rows(network, is_sparse)
    workspace = allocate_empty((n_rows + network.layout.n_units) * width, network.dtype)
    return workspace[: n_rows * width], workspace[n_rows * width :]


def _make_function(
    network: Network,
    X: MatrixLike,
    kernel: FunctionPointer,
    list_others: Callable[[slice, Array, Array], tuple[Any, ...]],
    n_threads: int,
    is_kept: bool = True,
) -> Callable[[Array], list[Any]]:
    """Return a function of the parameters: the results of a kernel for consecutive slices of the samples.

    The arguments of the kernel are the network, the samples and ``list_others(rows, tile, units)``. If the
    function `is_kept` for several calls, a single short call of the kernel stays prepared.
    """
    activations = forward_table(network.kernel_activations, network.dtype)
    n_tiles = X.shape[0] // find_widest_tile(network)
    is_packed = n_tiles >= limits.PACKED_TILES

    def compute(parameters: Array) -> list[Any]:
        # Weights are packed only where every thread has many tiles to compute.
        plan, packed, cores = network.layout.plan, parameters, count_cores() if is_packed else 0
        if is_packed and n_tiles >= limits.PACKED_TILES * min(n_threads or cores, cores):
            plan, packed = pack_network_weights(plan, parameters, is_sparse(X))

        def run(rows: slice, samples: MatrixLike, tile: Array, units: Array) -> Any:
            described = prediction.PackedNetwork(activations, plan, parameters, packed)
            return kernel(described, samples, *list_others(rows, tile, units))

        return _run_slices(network, X, run, n_threads)

    if not is_kept or is_packed or is_sparse(X):
        return compute
    tile, units = _make_prediction_workspace(network, X.shape[0])
    if X.shape[0] > _count_slice_rows(network, X, units):
        return compute
    parameters = allocate_zeros(network.n_parameters, network.dtype)
    described = prediction.PackedNetwork(activations, network.layout.plan, parameters, parameters)
    given = described, align(X), *list_others(slice(None), tile, units)
    call = PreparedCall(kernel, **dict(zip(kernel.kinds, given, strict=True)))

    def repeat(parameters: Array) -> list[Any]:
        if call.arguments["network"].parameters is not parameters:
            call.set(network=described._replace(parameters=parameters, packed=parameters))
        return [call()]

    return repeat


def _count_slice_rows(network: Network, X: MatrixLike, units: Array) -> int:
    """Return the number of samples in a call of a kernel on the workspace `units`: whole tiles."""
    width = units.shape[0] // network.layout.n_units
    return width * max(1, int(limits.FIRST_CALL_OPERATIONS / (count_operations(network, X) * width)))


def _run_slices(network: Network, X: MatrixLike, run: Callable[..., T], n_threads: int) -> list[T]:
    """Return the results of ``run(rows, samples, tile, units)`` for consecutive slices of the samples.

    Each call runs a kernel on a separate workspace. If cores are free, up to `n_threads` calls run in
    parallel; 0 sets no limit.
    """
    sparse = is_sparse(X)
    n_samples = X.shape[0]
    tile, units = _make_prediction_workspace(network, n_samples, sparse)
    step = _count_slice_rows(network, X, units)
    if n_samples <= step:  # a single call takes microseconds: skip threads and interrupts
        samples = make_csr_table(X, np.arange(n_samples, dtype=np.int64)) if sparse else align(X)
        return [run(slice(0, n_samples), samples, tile, units)]
    order = np.arange(n_samples, dtype=np.int64) if sparse else None
    workspaces = SimpleQueue[tuple[Array, Array]]()
    workspaces.put((tile, units))

    def run_slice(first: int) -> T:
        rows = slice(first, first + step)
        samples = align(X[rows]) if order is None else make_csr_table(X, order[rows])
        try:
            workspace = workspaces.get_nowait()
        except Empty:
            workspace = _make_prediction_workspace(network, n_samples, sparse)
        try:
            return run(rows, samples, *workspace)
        finally:
            workspaces.put(workspace)

    return map_on_threads(run_slice, range(0, n_samples, step), n_threads)
