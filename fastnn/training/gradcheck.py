"""Check of the analytic gradient against central differences (CS231n, "Neural Networks Part 3").

The check runs in float64, at several points of a short training, since a mistake may have no effect at the
first point. Each derivative is compared with a difference quotient of fourth order. Parameters are left out
if a kink of a piecewise activation or loss lies between the points of the quotient: the quotient is then no
estimate of the derivative.
"""

from __future__ import annotations

import functools
import math
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engine import get_backend
from ..engine.arrays import shape_targets
from ..engine.job import Job, Memory
from ..engine.own_losses import record_loss
from ..network.description import Network
from ..optimizers import Momentum
from ..reference.layer import ACTIVATIONS
from ..reference.loss import LOSSES
from ..reference.network import Activation, Batch, forward_pass, make_chain
from ..system.expressions import list_kinks
from ..system.validation import Array
from .divergence import DivergenceError
from .loop import run_training

if TYPE_CHECKING:
    from ..model import Model

# Half of the distance between the outer points, for a parameter of size 1. The error of the quotient by
# rounding is then about 1e-12. The truncation error is about 1e-17, or 1e-11 in a layer below a batch
# normalisation of few samples.
STEP = 2e-4
# Points of the quotient, in steps, and the weights of the losses there.
STENCIL = ((-1.0, 1 / 6), (-0.5, -4 / 3), (0.5, 4 / 3), (1.0, -1 / 6))
# Smallest denominator of a relative error, as a fraction of the array's largest derivative.
FLOOR = 1e-3
# Another smallest denominator: this many times the rounding error of the quotient, which is about 1e-15 of
# the loss divided by the step. It applies to derivatives that are 0, such as derivatives by biases below
# a batch normalisation.
RESOLVABLE = 1e8
ROUNDING = 1e-15
# Number of training steps from one point to the next.
STEPS_BETWEEN = 5


@dataclass(frozen=True)
class ArrayReport:
    """Result of the check of one array of parameters."""

    name: str
    shape: tuple[int, ...]
    n_checked: int
    n_kinks: int  # number of parameters that were left out because of a kink
    max_relative_error: float

    def __str__(self) -> str:
        kinks = f", {self.n_kinks} at kinks not counted" if self.n_kinks else ""
        return (
            f"{self.name:<10} {self.shape!s:<12} max relative error {self.max_relative_error:.2e} "
            f"({self.n_checked} checked{kinks})"
        )


@dataclass(frozen=True)
class GradientReport:
    """Result of a gradient check, shown as a table: a line for each array of parameters.

    Attributes
    ----------
    arrays : tuple of ArrayReport
        Results by array, each with the attributes name, shape, n_checked, n_kinks and max_relative_error.

    Examples
    --------
    >>> import fastnn
    >>> report = fastnn.Model([2, 3, 2], random_state=0).check_gradients([[0.0, 1.0], [1.0, -1.0]], [0, 1])
    >>> [array.name for array in report.arrays]
    ['W[0]', 'b[0]', 'W[1]', 'b[1]']
    >>> print(str(report).splitlines()[0])  # doctest: +ELLIPSIS
    W[0] (2, 3) max relative error ... (18 checked)
    """

    arrays: tuple[ArrayReport, ...]

    @property
    def max_relative_error(self) -> float:
        """Largest relative error: below 1e-7 if correct, above 1e-4 if wrong; NaN if nothing was checked."""
        return float(np.fmax.reduce([array.max_relative_error for array in self.arrays]))

    def __repr__(self) -> str:
        return "\n".join(map(str, self.arrays))


def check_gradients(
    model: Model,
    X: Array,
    y: Array,
    weights: NDArray[np.float64],
    n_samples: int,
    n_points: int,
    n_parameters: int,
    seed: int,
) -> GradientReport:
    """Compare the gradient of the model's backend with difference quotients of its loss.

    `Model.check_gradients` documents the arguments, which it has checked; the model is not changed. `seed`
    decides all choices and the dropout masks.
    """
    network = replace(model._network, dtype=np.dtype(np.float64))
    backend = get_backend(model.backend)
    random = np.random.default_rng(seed)
    if len(X) > n_samples:
        # Samples of weight 0 have no gradient: choose among the others. Dropout masks depend on the order of
        # the samples: keep the order.
        counting = np.flatnonzero(weights)
        few = np.sort(random.permutation(counting)[:n_samples])
        X, y, weights = X[few], y[few], weights[few]
    X, y = X.astype(np.float64), y.astype(np.float64)
    weights = weights / weights.sum()
    parameters = network.convert_parameters(model._network, model._parameters)
    statistics = model._statistics.astype(np.float64)
    arrays = _locate_arrays(network)
    found: dict[str, list[Any]] = {name: [0, 0, math.nan] for name in arrays}
    for point in range(n_points):
        if point:
            job = Job(
                X, y, weights, STEPS_BETWEEN, len(X), seed=seed + point, optimizer=Momentum(), epsilon=0.02
            )
            memory = Memory.fresh(network, parameters, job)
            with suppress(DivergenceError):  # the parameters are then the last finite ones
                run_training(backend.trainer(network, parameters, statistics, job, memory), job)
        key = seed + point
        evaluate = backend.loss_and_gradient(network, statistics.copy(), X, y, weights, key)
        loss, gradient = evaluate(parameters)
        list_sides = functools.partial(_list_sides, network, statistics, X, y, weights, key)
        is_piecewise = bool(list_sides(parameters))
        for name, (begin, shape) in arrays.items():
            size = math.prod(shape)
            chosen = np.arange(size) if size <= n_parameters else random.permutation(size)[:n_parameters]
            scale = FLOOR * np.abs(gradient[begin : begin + size]).max()
            for k in begin + chosen:
                step = STEP * max(1.0, abs(parameters[k]))
                moved = [_move(parameters, k, factor * step) for factor, _ in STENCIL]
                # A kink between the outer points: some value of a piecewise function changes sides.
                if is_piecewise and not all(map(np.array_equal, list_sides(moved[0]), list_sides(moved[-1]))):
                    found[name][1] += 1
                    continue
                quotient = (
                    sum(
                        weight * evaluate(values)[0]
                        for values, (_, weight) in zip(moved, STENCIL, strict=True)
                    )
                    / step
                )
                rounding = ROUNDING * max(1.0, abs(loss)) / step
                denominator = max(abs(quotient), abs(gradient[k]), scale, RESOLVABLE * rounding)
                error = float(abs(quotient - gradient[k]) / denominator)
                found[name][0] += 1
                found[name][2] = np.fmax(found[name][2], math.inf if math.isnan(error) else error)
    return GradientReport(
        tuple(ArrayReport(name, shape, *found[name]) for name, (_, shape) in arrays.items())
    )


def _move(parameters: Array, k: int, change: float) -> Array:
    result = parameters.copy()
    result[k] += change
    return result


def _locate_arrays(network: Network) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Return the offset in the flat vector and the shape of every parameter array, by name."""
    arrays: dict[str, tuple[int, tuple[int, ...]]] = {}
    for position, layer in enumerate(network.layers):
        arrays[f"W[{position}]"] = layer.weights, (layer.n_in, layer.n_out)
        arrays[f"b[{position}]"] = layer.biases, (1, layer.n_out)
        if layer.scales >= 0:
            arrays[f"scale[{position}]"] = layer.scales, (1, layer.n_out)
            arrays[f"shift[{position}]"] = layer.shifts, (1, layer.n_out)
    return arrays


def _list_sides(
    network: Network, statistics: Array, X: Array, y: Array, weights: Array, key: int, parameters: Array
) -> list[Array]:
    """Return boolean arrays: for every value of a piecewise function, the side of the kink it lies on."""
    rates = network.dropout or (0.0,) * len(network.layers)
    batch = Batch(
        weights,
        network.scales(parameters),
        network.shifts(parameters),
        network.running(statistics.copy()),
        rates,
        key,
    )
    W, b = network.weights(parameters), network.biases(parameters)
    chain = make_chain(network.activations, W, b, batch)
    scores = forward_pass(chain, X)
    units = [unit for unit in chain if isinstance(unit, Activation)]
    sides = [kink < unit.Z for unit in units for kink in ACTIVATIONS[unit.name].kinks]
    loss, targets = network.loss, shape_targets(network, y)
    if loss.is_own:
        recorded = record_loss(loss)
        found = [] if recorded is None else list_kinks(recorded[0], scores, targets)
    else:
        found = LOSSES[loss.name].kinks(scores, targets, loss.parameter)
    return sides + [side > 0 for side in found]
