"""Passes and updates by the NumPy reference."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..network.description import Array, Network, allocate_zeros
from ..optimizers import Optimizer
from ..reference.network import Activation, backward_pass, forward_pass, make_chain, make_training_chain
from ..reference.random import STEPS, draw
from ..reference.train import clip_float, gather_gradient
from ..reference.update import update
from ..system.validation import check_samples

_quiet = np.errstate(all="ignore")


class NumpyPasses:
    """The passes of a network by the reference's chain; `protocol.Passes` documents arguments and methods."""

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
        self._weights, self._checks, self.n_forward = weights, checks, np.full(1, -1, np.int64)

    @_quiet
    def forward(self, X: Array) -> Array:
        network, statistics = self._network, self._statistics
        if self._checks:
            check_samples(X, None, X.dtype)
        self.n_forward += 1
        if self._frozen:
            folded = network.fold_batch_norm(self.parameters, statistics)
            self.chain = make_chain(network.activations, network.weights(folded), network.biases(folded))
        else:
            weights = np.full(len(X), self._weights, network.dtype)
            key = draw(draw(self._seed, STEPS), int(self.n_forward[0]))
            self.chain = make_training_chain(network, self.parameters, statistics, weights, key)
        return forward_pass(self.chain, X.copy())

    @_quiet
    def backward(self, dS: Array, adds: bool, inputs: bool, parameters: bool) -> Array | None:
        if self._checks:
            check_samples(dS, None, dS.dtype, "dS")
        dX = backward_pass(self.chain, dS)
        if parameters:
            before = self.gradient.copy() if adds else 0
            gather_gradient(self._network, self.chain, self.gradient)
            self.gradient += before
        return dX if inputs else None

    def sample_gradients(self, dS: Array) -> Iterator[Array]:
        if self._checks:
            check_samples(dS, None, dS.dtype, "dS")
        result = np.zeros((len(dS), self._network.n_parameters), self._network.dtype)
        for sample, gradient in enumerate(result):
            with np.errstate(all="ignore"):
                backward_pass(self.chain, np.where(np.arange(len(dS))[:, None] == sample, dS, 0))
            gather_gradient(self._network, self.chain, gradient)
        yield result

    def layer_outputs(self, X: Array) -> list[Array]:
        self.forward(X)
        return [unit.A for unit in self.chain if isinstance(unit, Activation)]


class NumpyUpdate:
    """The optimizer's update of the parameters by the reference's rule."""

    def __init__(
        self, network: Network, optimizer: Optimizer, parameters: Array, gradient: Array, state: Array
    ) -> None:
        self._network, self._optimizer, self.n_steps = network, optimizer, 0
        self._arrays = gradient, parameters, state
        self._is_weight = np.arange(network.n_parameters) < network.n_weights

    @_quiet
    def __call__(self, epsilon: float, reg_lambda: float) -> str:
        dtype, optimizer = self._network.dtype, self._optimizer
        coefficients = {
            "rate": clip_float(epsilon, dtype),
            "step": self.n_steps,
            **{name: clip_float(value, dtype) for name, value in optimizer.hyperparameters.items()},
        }
        l2 = (optimizer.l2 + reg_lambda * self._is_weight).astype(dtype)
        _, *changed = self._arrays
        saved = [array.copy() for array in changed]
        finite = update(optimizer.name, *self._arrays, coefficients, l2, dtype.type(0))
        if finite and np.isfinite(changed[1]).all():
            self.n_steps += 1
            return ""
        for array, values in zip(changed, saved, strict=True):
            array[...] = values
        return "the state of the optimizer" if finite else "a parameter"
