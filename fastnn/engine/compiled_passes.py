"""Passes and updates by the compiled kernels, one call each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastnn_kernels.calls import passes
from fastnn_kernels.calls.formulas import Change, backward_table, forward_table, update_pointer
from fastnn_kernels.calls.prediction import OUTPUTS, UNITS
from fastnn_kernels.calls.training import PANEL_LINES
from fastnn_kernels.compiler.entry import PreparedCall

from ..network.description import Array, Network, allocate_empty, allocate_zeros
from ..optimizers import Optimizer
from ..system.memory import check_memory
from ..system.validation import check_samples
from . import limits
from .job import fit_coefficients
from .tiles import choose_training_width

# Numbers of samples for which buffers are kept.
MAX_SIZES = 4


class _Buffers(NamedTuple):
    """The arguments of the passes of N samples, and the calls."""

    by_rows: bool
    X: Array  # (N, inputs)
    S: Array  # (N, outputs)
    dS: Array  # (N, outputs)
    dX: Array  # (N, inputs)
    passes: passes.Passes
    forward: PreparedCall
    backward: dict[tuple[int, bool, bool], PreparedCall]  # by the arguments of `_prepare_backward`


class CompiledPasses:
    """The passes of a network by the kernels; `protocol.Passes` documents the arguments and methods."""

    def __init__(
        self,
        network: Network,
        parameters: Array,
        statistics: Array,
        frozen: bool = False,
        seed: int = 0,
        weights: Array | float = 1.0,
        checks: bool = False,
    ) -> None:
        self.parameters, self.gradient = parameters, allocate_zeros(network.n_parameters, network.dtype)
        self._network, self._statistics, self._frozen, self._seed = network, statistics, frozen, seed
        self._weights, self._checks = weights, checks
        self._is_folded = frozen and network.batch_norm
        self._used = parameters.copy() if self._is_folded else parameters
        self._layout = network.frozen_layout if frozen else network.training_layout
        self._is_training = not frozen and bool(network.batch_norm or network.dropout)
        self.n_forward = np.full(1, -1, np.int64)
        self._kept: dict[int, _Buffers] = {}  # by the number of samples, negative if not `by_rows`
        self._last: _Buffers

    def forward(self, X: Array, by_rows: bool = True) -> Array:
        key = len(X) if by_rows else -len(X)
        buffers = self._last = self._kept.get(key) or self._prepare(key)
        if self._is_folded:
            self._used[...] = self._network.fold_batch_norm(self.parameters, self._statistics)
        buffers.X[...] = X
        if not buffers.forward():
            check_samples(X, None, X.dtype)
        return buffers.S

    def backward(self, dS: Array, adds: bool, inputs: bool, parameters: bool) -> Array | None:
        buffers, wanted = self._last, passes.SUM if parameters else passes.NO_GRADIENT
        # The backward pass of a normalisation reads its own gradient: add afterwards.
        before = self.gradient.copy() if adds and self._network.batch_norm else None
        key = wanted, inputs, adds and before is None
        call = buffers.backward.get(key) or self._prepare_backward(buffers, *key)
        buffers.dS[...] = dS
        if not call():
            check_samples(dS, None, dS.dtype, "dS")
        if before is not None:
            self.gradient += before
        return buffers.dX if inputs else None

    def sample_gradients(self, dS: Array) -> Iterator[Array]:
        buffers, n, P = self._last, len(dS), self._network.n_parameters
        T = n if buffers.by_rows else buffers.passes.width
        call = buffers.backward.get((passes.EACH, False, False))
        if call is None:
            call = self._prepare_backward(buffers, passes.EACH, False, False)
            call.set(gradient=allocate_zeros(P * T, self._network.dtype))
        found = call.arguments["gradient"]
        J = found.reshape(n, P) if buffers.by_rows else found.reshape(P, T).T
        buffers.dS[...] = dS
        for k in range(-(-n // T)):
            call.set(tiles=(k, k + 1))
            if not call():
                check_samples(dS, None, dS.dtype, "dS")
            yield J[: n - k * T]

    def layer_outputs(self, X: Array) -> list[Array]:
        self.forward(X, by_rows=False)
        given, n, T = self._last.passes, len(X), self._last.passes.width
        units = given.units.reshape(-1, given.n_units, T)
        return [
            units[:, row[UNITS] : row[UNITS] + row[OUTPUTS]]
            .swapaxes(1, 2)
            .reshape(-1, row[OUTPUTS])[:n]
            .copy()
            for row in self._layout.plan
        ]

    def _prepare(self, key: int) -> _Buffers:
        network, layout, dtype = self._network, self._layout, self._network.dtype
        n_inputs, n_outputs = network.n_inputs, network.n_outputs
        n, fits_rows = abs(key), 0 < key * dtype.itemsize <= limits.ROW_BYTES
        by_rows = fits_rows and not self._is_training
        width = choose_training_width(network, n)
        n_tiles, n_lanes = -(-n // width), network.whole_tile(1)
        # Rounding units up to whole vectors takes at most a vector for each window of `small_batch`.
        padding = n_lanes * (2 * len(network.shapes) + 1) if by_rows else 0
        widest = max(network.whole_tile(n_out) for _, n_out in network.shapes)
        n_bytes = n_tiles * width * (n_inputs + layout.n_units) * dtype.itemsize
        check_memory(n_bytes, f"the forward pass of {n} samples takes", "pass fewer samples at a time")
        weights = np.zeros(n_tiles * width, dtype)
        weights[:n] = self._weights
        given = passes.Passes(
            width=width,
            n_units=layout.n_units,
            samples=allocate_empty(n_tiles * n_inputs * width, dtype),
            units=allocate_empty(n_tiles * (layout.n_units + padding) * width, dtype),
            dunits=allocate_empty((layout.n_dunits + padding) * width, dtype),
            dinputs=allocate_empty(network.whole_tile(n_inputs) * width, dtype),
            scratch=allocate_empty((widest + PANEL_LINES * n_lanes) * width, dtype),
            weights=weights,
            statistics=self._statistics,
            dropout=np.array(() if self._frozen else network.dropout, np.float64),
            seed=np.uint64(self._seed),
            step=self.n_forward,
            checks=self._checks,
        )
        X, S = np.zeros((n, n_inputs), dtype), np.empty((n, n_outputs), dtype)
        forward = PreparedCall(
            passes.forward(by_rows, dtype),
            activations=forward_table(network.kernel_activations, dtype),
            plan=layout.plan,
            parameters=self._used,
            X=X,
            passes=given,
            S=S,
        )
        dS, dX = np.zeros((n, n_outputs), dtype), np.empty((n, n_inputs), dtype)
        if len(self._kept) == MAX_SIZES:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = buffers = _Buffers(by_rows, X, S, dS, dX, given, forward, {})
        return buffers

    def _prepare_backward(self, buffers: _Buffers, wanted: int, inputs: bool, adds: bool) -> PreparedCall:
        network, dtype = self._network, self._network.dtype
        # A normalisation writes its derivatives even if no gradient is wanted.
        keeps = wanted == passes.NO_GRADIENT and network.batch_norm
        call = buffers.backward[wanted, inputs, adds] = PreparedCall(
            passes.backward(buffers.by_rows, wanted, dtype),
            activations=backward_table(network.kernel_activations, dtype),
            plan=self._layout.plan,
            parameters=self._used,
            dS=buffers.dS,
            passes=buffers.passes,
            tiles=(0, -(-len(buffers.X) // buffers.passes.width)),
            gradient=np.empty_like(self.gradient) if keeps else self.gradient,
            adds=adds,
            dX=buffers.dX if inputs else buffers.dX[:0],
        )
        return call


class CompiledUpdate:
    """The optimizer's update of the parameters; `protocol.Update` documents the call."""

    def __init__(
        self, network: Network, optimizer: Optimizer, parameters: Array, gradient: Array, state: Array
    ) -> None:
        self._network, self._optimizer, self._state = network, optimizer, state
        self._arrays = {"gradient": gradient.reshape(1, -1), "parameters": parameters}
        self._rates = math.nan, math.nan  # epsilon and reg_lambda
        self._counts = np.zeros(2, np.int64)  # number of steps, and first step with coefficients
        self._n_ahead = 0  # number of calls for which there are coefficients
        self._call: PreparedCall

    @property
    def n_steps(self) -> int:
        return int(self._counts[0])

    def __call__(self, epsilon: float, reg_lambda: float) -> str:
        if self._n_ahead == 0 or (epsilon, reg_lambda) != self._rates:
            self._prepare(epsilon, reg_lambda)
        self._n_ahead -= 1
        return passes.NON_FINITE[self._call()]

    def _prepare(self, epsilon: float, reg_lambda: float) -> None:
        """Compute coefficients from this step on, for many steps if the learning rate stays the same."""
        n_ahead = limits.STEPS_AHEAD if epsilon == self._rates[0] else 1
        steps = self.n_steps + np.arange(n_ahead)
        numbers = self._optimizer.coefficients(np.full(n_ahead, epsilon), steps)
        if reg_lambda != self._rates[1]:
            self._coefficients = np.empty((limits.STEPS_AHEAD, numbers.shape[1]), self._network.dtype)
            self._call = self._make_call(reg_lambda)
        self._coefficients[:n_ahead] = fit_coefficients(numbers, self._network.dtype)
        self._counts[1], self._n_ahead, self._rates = self.n_steps, n_ahead, (epsilon, reg_lambda)

    def _make_call(self, reg_lambda: float) -> PreparedCall:
        network, l2, number = self._network, self._optimizer.l2, self._network.dtype.type
        change = Change(
            state=self._state,
            coefficients=self._coefficients,
            l2=number(l2 + reg_lambda),
            l2_others=number(l2),
            l1=number(0),
            shrink=number(1),
        )
        return PreparedCall(
            passes.step(network.dtype),
            update=update_pointer(self._optimizer.rule, False, network.dtype, plain=not (l2 or reg_lambda)),
            **self._arrays,
            n_weights=network.n_weights,
            change=change,
            counts=self._counts,
            saved=np.empty((1 + len(self._state), network.n_parameters), network.dtype),
        )
