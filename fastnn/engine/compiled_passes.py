"""Passes and updates by the compiled kernels, one call each."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastnn_kernels.calls import passes
from fastnn_kernels.calls.formulas import backward_table, forward_table, update_pointer
from fastnn_kernels.calls.prediction import OUTPUTS, UNITS
from fastnn_kernels.calls.training import PANEL_LINES
from fastnn_kernels.compiler.entry import PreparedCall

from ..network.description import Array, Network, allocate_empty, allocate_zeros
from ..optimizers import Optimizer
from ..system.memory import check_memory
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
    backward: dict[tuple[int, bool], PreparedCall]  # by what is wanted of the gradient, and of dX


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
    ) -> None:
        self.parameters, self.gradient = parameters, allocate_zeros(network.n_parameters, network.dtype)
        self._network, self._statistics, self._frozen, self._seed = network, statistics, frozen, seed
        self._weights = weights
        self._is_folded = frozen and network.batch_norm
        self._used = parameters.copy() if self._is_folded else parameters
        self._layout = network.frozen_layout if frozen else network.training_layout
        self._is_training = not frozen and bool(network.batch_norm or network.dropout)
        self.n_forward = np.full(1, -1, np.int64)
        self._kept: dict[tuple[int, bool], _Buffers] = {}
        self._last: _Buffers

    def forward(self, X: Array, by_rows: bool = True) -> Array:
        buffers = self._last = self._kept.get((X.shape[0], by_rows)) or self._prepare(X.shape[0], by_rows)
        if self._is_folded:
            self._used[...] = self._network.fold_batch_norm(self.parameters, self._statistics)
        buffers.X[...] = X
        self.n_forward += 1
        buffers.forward()
        return buffers.S

    def backward(self, dS: Array, adds: bool, inputs: bool, parameters: bool) -> Array | None:
        buffers, wanted = self._last, passes.SUM if parameters else passes.NO_GRADIENT
        buffers.dS[...] = dS
        call = buffers.backward.get((wanted, inputs)) or self._prepare_backward(buffers, wanted, inputs)
        if adds and self._network.batch_norm:  # the backward pass of a normalisation reads its own gradient
            before = self.gradient.copy()
            call()
            self.gradient += before
        else:
            if adds:
                call.set(adds=True)
            call()
            if adds:
                call.set(adds=False)
        return buffers.dX if inputs else None

    def sample_gradients(self, dS: Array) -> Iterator[Array]:
        buffers, n, P = self._last, len(dS), self._network.n_parameters
        T = n if buffers.by_rows else buffers.passes.width
        call = buffers.backward.get((passes.EACH, False))
        if call is None:
            call = self._prepare_backward(buffers, passes.EACH, False)
            call.set(gradient=allocate_zeros(P * T, self._network.dtype))
        found = call.arguments["gradient"]
        J = found.reshape(n, P) if buffers.by_rows else found.reshape(P, T).T
        buffers.dS[...] = dS
        for k in range(-(-n // T)):
            call.set(tiles=(k, k + 1))
            call()
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

    def _prepare(self, n: int, by_rows: bool) -> _Buffers:
        network, layout, dtype = self._network, self._layout, self._network.dtype
        n_inputs, n_outputs = network.n_inputs, network.n_outputs
        key = n, by_rows
        by_rows = by_rows and not self._is_training and n * dtype.itemsize <= limits.ROW_BYTES
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

    def _prepare_backward(self, buffers: _Buffers, wanted: int, inputs: bool) -> PreparedCall:
        network, dtype = self._network, self._network.dtype
        # A normalisation writes its derivatives even if no gradient is wanted.
        keeps = wanted == passes.NO_GRADIENT and network.batch_norm
        call = buffers.backward[wanted, inputs] = PreparedCall(
            passes.backward(buffers.by_rows, wanted, dtype),
            activations=backward_table(network.kernel_activations, dtype),
            plan=self._layout.plan,
            parameters=self._used,
            dS=buffers.dS,
            passes=buffers.passes,
            tiles=(0, -(-len(buffers.X) // buffers.passes.width)),
            gradient=np.empty_like(self.gradient) if keeps else self.gradient,
            adds=False,
            dX=buffers.dX if inputs else buffers.dX[:0],
        )
        return call


class CompiledUpdate:
    """The optimizer's update of the parameters; `protocol.Update` documents the call."""

    def __init__(
        self, network: Network, optimizer: Optimizer, parameters: Array, gradient: Array, state: Array
    ) -> None:
        self._network, self._optimizer = network, optimizer
        self._arrays = {"gradients": gradient.reshape(1, -1), "parameters": parameters, "state": state}
        self._rates = math.nan, math.nan  # epsilon and reg_lambda
        self._coefficients = np.empty((0, 0))
        self._first = 0  # step of the first row of coefficients

    def __call__(self, step: int, epsilon: float, reg_lambda: float) -> bool:
        row = step - self._first
        if (epsilon, reg_lambda) != self._rates or not 0 <= row < len(self._coefficients):
            row = self._prepare(step, epsilon, reg_lambda)
        self._numbers[...] = self._coefficients[row]
        finite = True
        for call in self._calls:
            finite &= call()
        return finite

    def _prepare(self, step: int, epsilon: float, reg_lambda: float) -> int:
        """Compute coefficients from this step on, for many steps if the learning rate stays the same."""
        is_constant, same_penalty = epsilon == self._rates[0], reg_lambda == self._rates[1]
        steps = np.arange(step, step + (limits.STEPS_AHEAD if is_constant else 1))
        numbers = self._optimizer.coefficients(np.full(len(steps), epsilon), steps)
        self._coefficients, self._first = fit_coefficients(numbers, self._network.dtype), step
        self._rates = epsilon, reg_lambda
        if not same_penalty:
            self._numbers = np.empty(numbers.shape[1], self._network.dtype)
            self._calls = self._make_calls(reg_lambda)
        return 0

    def _make_calls(self, reg_lambda: float) -> list[PreparedCall]:
        network, l2 = self._network, self._optimizer.l2
        number = network.dtype.type
        weights = PreparedCall(
            update_pointer(self._optimizer.rule, False, network.dtype, plain=not (l2 or reg_lambda)),
            **self._arrays,
            coefficients=self._numbers,
            l2=number(l2 + reg_lambda),
            l1=number(0),
            shrink=number(1),
            begin=0,
            end=network.n_weights if reg_lambda else network.n_parameters,
        )
        if not reg_lambda:
            return [weights]
        others = weights.copy()
        others.set(l2=number(l2), begin=network.n_weights, end=network.n_parameters)
        return [weights, others]
