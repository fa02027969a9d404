"""Check of the analytic gradient against central differences (CS231n, "Neural Networks Part 3").

The check runs in float64, at several points of a short training, since a mistake may have no effect at the
first point. The two factors of the chain rule are checked apart: the derivatives of the scores by the
parameters, and the slope of the loss by the scores. Each is compared with a difference quotient of fourth
order. A quotient with a kink of a piecewise function between its points is left out, because it is no
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
from ..engine.numpy_passes import NumpyPasses
from ..engine.own_losses import record_loss
from ..engine.protocol import Passes
from ..losses import Loss
from ..network.description import Network
from ..optimizers import Momentum
from ..reference.layer import ACTIVATIONS
from ..reference.loss import LOSSES, find_formulas, loss_backward
from ..reference.network import Activation
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
    """Result of the check of one array of parameters, or of the loss's slope (n_samples, n_outputs)."""

    name: str
    shape: tuple[int, ...]
    n_checked: int
    n_kinks: int  # number of derivatives that were left out because of a kink
    max_relative_error: float

    def __str__(self) -> str:
        kinks = f", {self.n_kinks} at kinks not counted" if self.n_kinks else ""
        return (
            f"{self.name:<10} {self.shape!s:<12} max relative error {self.max_relative_error:.2e} "
            f"({self.n_checked} checked{kinks})"
        )


@dataclass(frozen=True)
class GradientReport:
    """Result of a gradient check, shown as a table: a line for each array of parameters, and for the loss.

    Attributes
    ----------
    arrays : tuple of ArrayReport
        Results by array, each with the attributes name, shape, n_checked, n_kinks and max_relative_error. The
        last is for the slope of the loss by the scores; an error of the slope changes no other result.

    Examples
    --------
    >>> import fastnn
    >>> report = fastnn.Model([2, 3, 2], random_state=0).check_gradients([[0.0, 1.0], [1.0, -1.0]], [0, 1])
    >>> [array.name for array in report.arrays]
    ['W[0]', 'b[0]', 'W[1]', 'b[1]', 'slope of softmax_cross_entropy']
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


@np.errstate(all="ignore")
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
    """Compare the passes of the model's backend, and the slope of its loss, with difference quotients.

    `Model.check_gradients` documents the arguments, which it has checked; the model is not changed. `seed`
    decides all choices and the dropout masks.
    """
    network = replace(model._network, dtype=np.dtype(np.float64))
    backend, loss = get_backend(model.backend), network.loss
    random = np.random.default_rng(seed)
    if len(X) > n_samples:
        # Samples of weight 0 have no gradient: choose among the others. Dropout masks depend on the order of
        # the samples: keep the order.
        counting = np.flatnonzero(weights)
        few = np.sort(random.permutation(counting)[:n_samples])
        X, y, weights = X[few], y[few], weights[few]
    X, y = X.astype(np.float64), y.astype(np.float64)
    weights, targets = weights / weights.sum(), shape_targets(network, y)
    parameters = network.convert_parameters(model._network, model._parameters)
    statistics = model._statistics.astype(np.float64)
    has_kinks = any(ACTIVATIONS[name].kinks for name in network.activations)
    arrays, of_slope = _locate_arrays(network), f"slope of {loss.name}"
    shapes = {name: shape for name, (_, shape) in arrays.items()} | {of_slope: (len(X), network.n_outputs)}
    errors: dict[str, list[Array]] = {name: [np.empty(0)] for name in shapes}
    n_kinks = dict.fromkeys(shapes, 0)

    def run_forward(passes: Passes, values: Array) -> Array:
        passes.parameters[...] = values
        passes.n_forward[...] = -1  # the same dropout masks in every pass
        return passes.forward(X)

    def list_sides(values: Array) -> list[Array]:
        """Return boolean arrays: for every value of a piecewise activation, its side of the kink."""
        run_forward(twin, values)
        units = [unit for unit in twin.chain if isinstance(unit, Activation)]
        return [kink < unit.Z for unit in units for kink in ACTIVATIONS[unit.name].kinks]

    for point in range(n_points):
        if point:
            job = Job(
                X, y, weights, STEPS_BETWEEN, len(X), seed=seed + point, optimizer=Momentum(), epsilon=0.02
            )
            memory = Memory.fresh(network, parameters, job)
            with suppress(DivergenceError):  # the parameters are then the last finite ones
                run_training(backend.trainer(network, parameters, statistics, job, memory), job)
        key = seed + point
        passes = backend.passes(network, parameters.copy(), statistics.copy(), seed=key, weights=weights)
        twin = NumpyPasses(network, parameters.copy(), statistics.copy(), seed=key, weights=weights)
        S = run_forward(passes, parameters).copy()
        found, smooth = _check_slope(loss, S[weights > 0], targets[weights > 0])
        errors[of_slope].append(found[smooth])
        n_kinks[of_slope] += int(np.sum(~smooth))
        # Every loss has the same passes: take ``sum dS S`` as the function of the parameters.
        dS = loss_backward(loss.formulas, S, targets, weights, loss.parameter)
        passes.backward(dS, adds=False, inputs=False, parameters=True)
        gradient, size_of_sum = passes.gradient.copy(), np.vdot(np.abs(dS), np.abs(S))
        for name, (begin, shape) in arrays.items():
            size = math.prod(shape)
            chosen = np.arange(size) if size <= n_parameters else random.permutation(size)[:n_parameters]
            scale = np.abs(gradient[begin : begin + size]).max()
            for k in begin + chosen:
                step = STEP * max(1.0, abs(parameters[k]))
                moved = [_move(parameters, k, factor * step) for factor, _ in STENCIL]
                # A kink between the outer points: some value of a piecewise function changes sides.
                if has_kinks and not all(map(np.array_equal, list_sides(moved[0]), list_sides(moved[-1]))):
                    n_kinks[name] += 1
                    continue
                quotient = _difference([np.vdot(dS, run_forward(passes, values)) for values in moved], step)
                errors[name].append(_compare(quotient, gradient[k], scale, size_of_sum, step))
    reports = []
    for name, shape in shapes.items():
        of_array = np.concatenate([np.ravel(each) for each in errors[name]])
        largest = float(np.fmax.reduce(of_array, initial=math.nan))
        reports.append(ArrayReport(name, shape, of_array.size, n_kinks[name], largest))
    return GradientReport(tuple(reports))


def _check_slope(loss: Loss, S: Array, y: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Return the errors (n, K) of the derivatives by the scores S, and False for each one at a kink."""
    formulas, parameter = find_formulas(loss.formulas), loss.parameter
    slope, value = formulas.slope(S, y, parameter), formulas.value(S, y, parameter)
    errors, smooth = np.empty(S.shape), np.ones(S.shape, np.bool_)
    for k in range(S.shape[1]):
        steps = STEP * np.maximum(1.0, np.abs(S[:, k]))
        moved = [_move(S, np.s_[:, k], factor * steps) for factor, _ in STENCIL]
        for before, after in zip(*(_list_kinks(loss, at, y) for at in (moved[0], moved[-1])), strict=True):
            smooth[:, k] &= np.broadcast_to((before > 0) == (after > 0), S.shape).all(axis=1)
        quotients = _difference([formulas.value(at, y, parameter) for at in moved], steps)
        errors[:, k] = _compare(quotients, slope[:, k], np.abs(slope).max(initial=0.0), value, steps)
    return errors, smooth


def _list_kinks(loss: Loss, S: Array, y: Array) -> list[Array]:
    """Return arrays that change sign where a loss may have a kink."""
    if loss.is_own:
        recorded = record_loss(loss)
        return [] if recorded is None else list_kinks(recorded[0], S, y)
    return LOSSES[loss.name].kinks(S, y, loss.parameter)


def _difference(values: list[Any], step: Any) -> Any:
    return sum(weight * value for value, (_, weight) in zip(values, STENCIL, strict=True)) / step


def _compare(quotient: Any, derivative: Any, scale: float, value: Any, step: Any) -> Array:
    """Return relative errors, infinite for NaN; `scale` is the array's largest derivative."""
    rounding = ROUNDING * np.maximum(1.0, np.abs(value)) / step
    sizes = np.abs(quotient), np.abs(derivative), FLOOR * scale, RESOLVABLE * rounding
    error = np.abs(quotient - derivative) / functools.reduce(np.maximum, sizes)
    return np.where(np.isnan(error), math.inf, error)


def _move(array: Array, where: Any, change: Any) -> Array:
    result = array.copy()
    result[where] += change
    return result


def _locate_arrays(network: Network) -> dict[str, tuple[int, tuple[int, ...]]]:
    arrays: dict[str, tuple[int, tuple[int, ...]]] = {}
    for position, layer in enumerate(network.layers):
        arrays[f"W[{position}]"] = layer.weights, (layer.n_in, layer.n_out)
        arrays[f"b[{position}]"] = layer.biases, (1, layer.n_out)
        if layer.scales >= 0:
            arrays[f"scale[{position}]"] = layer.scales, (1, layer.n_out)
            arrays[f"shift[{position}]"] = layer.shifts, (1, layer.n_out)
    return arrays
