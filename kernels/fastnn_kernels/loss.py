"""The losses: of the last layer's outputs, the scores, against what they should be.

To add a loss: write its formulas, enter it in `LOSSES`, enter the twin in ``fastnn/reference/loss.py``
under the same name, and name it in ``fastnn/losses.py``. Every loss is a sum over the samples of each
sample's weight times its own loss, takes one parameter (0 where it needs none), and has two kernels:

- ``value(S, y, weights, parameter)``, a float64;
- ``backward(S, y, weights, parameter, wanted, dS)``, which overwrites dS by the derivative by the scores, and
  returns the value, too, if it is `wanted`, else 0. The derivative is the same to the last bit either way.

Shape letters: K scores of a sample, Y targets of one (1 where they are labels), T samples of a tile (a
whole number of vectors). S and dS are (K, T), y is (Y, T), weights are (1, T): zero for the padding,
which therefore adds nothing to anything. Labels are a row of floats.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import types

from .compiler.jit import kernel
from .compiler.pointer import FunctionPointer, array_types
from .output import column_max, exponentials
from .vectors import vmath
from .vectors.simd import Value, emitter, fill, lanes, load, reduce_add_weighted, store

__all__ = ["LOSSES", "Loss", "backward_pointer", "loss_backward", "loss_value", "value_pointer"]


# --- of labels -----------------------------------------------------------------------------------


@kernel
def cross_entropy_value(S, y, weights, smoothing):
    """``log sum exp(S) - sum q S`` with q = 1 - smoothing at the label, plus smoothing / K everywhere."""
    loss = 0.0
    for t in range(0, S.shape[1], lanes(S)):
        label, weight = load(y, 0, t), load(weights, 0, t)
        if S.shape[0] == 2 and smoothing == 0.0:
            own = two_class_loss(load(S, 0, t), load(S, 1, t), label)
        else:
            highest = column_max(S, t)
            total = fill(S, 0)
            for k in range(S.shape[0]):
                total = total + vmath.exp_to_zero(load(S, k, t) - highest)
            own = vmath.log(total) - expected_score(S, t, label, highest, smoothing)
        loss += reduce_add_weighted(own, weight)
    return loss


@kernel
def cross_entropy_backward(S, y, weights, smoothing, wanted, dS):
    """The softmax diff: probabilities less q."""
    n_scores = S.shape[0]
    loss = 0.0
    if n_scores == 2 and smoothing == 0.0:
        for t in range(0, S.shape[1], lanes(S)):
            first, second = load(S, 0, t), load(S, 1, t)
            label, weight = load(y, 0, t), load(weights, 0, t)
            diff = two_class_diff(first, second, label) * weight
            store(dS, 0, t, -diff)
            store(dS, 1, t, diff)
            if wanted:  # with the exponential that there is
                loss += reduce_add_weighted(two_class_loss(first, second, label), weight)
        return loss
    spread = S.dtype.type(smoothing / n_scores)
    at_label = S.dtype.type(1.0 - smoothing + smoothing / n_scores)
    for t in range(0, S.shape[1], lanes(S)):
        label, weight = load(y, 0, t), load(weights, 0, t)
        highest = column_max(S, t)
        total = exponentials(S, t, highest, dS)
        reciprocal = vmath.divide(fill(S, 1), total)
        for k in range(n_scores):
            expected = vmath.where_equal(label, k, at_label, spread)
            store(dS, k, t, (load(dS, k, t) * reciprocal - expected) * weight)
        if wanted:
            own = vmath.log(total) - expected_score(S, t, label, highest, smoothing)
            loss += reduce_add_weighted(own, weight)
    return loss


@kernel
def expected_score(S, t, label, highest, smoothing):
    """``sum q (S - highest)`` of every sample in the vector that begins at column t."""
    at_label = fill(S, S.dtype.type(1.0 - smoothing))
    spread = fill(S, S.dtype.type(smoothing / S.shape[0]))
    expected = fill(S, 0)
    for k in range(S.shape[0]):
        score = load(S, k, t) - highest
        expected = vmath.where_equal(label, k, expected + at_label * score, expected)
        if smoothing != 0.0:
            expected = expected + spread * score
    return expected


# Softmax over two scores is the sigmoid of their difference: one exponential instead of two, and no
# difference of nearly equal numbers where the label's probability is close to 1.


def _lag(first: Value, second: Value, is_second: Value) -> Value:
    """By how much the label's score of two is below the other."""
    return (first - second).where(is_second, second - first)


@emitter
def two_class_loss(first: Value, second: Value, label: Value) -> Value:
    """The cross-entropy of two classes."""
    return vmath.softplus_of(_lag(first, second, label.equals(1.0)))


@emitter
def two_class_diff(first: Value, second: Value, label: Value) -> Value:
    """The softmax diff of class 1 of two: the probability of the class that is not the label."""
    is_second = label.equals(1.0)
    wrong = vmath.sigmoid_to_zero(_lag(first, second, is_second))
    return (-wrong).where(is_second, wrong)


@kernel
def hinge_value(S, y, weights, margin):
    """Sum over the other classes of ``max(0, S_k - S_label + margin)``."""
    loss = 0.0
    room = fill(S, S.dtype.type(margin))
    zero = fill(S, 0)
    for t in range(0, S.shape[1], lanes(S)):
        label = load(y, 0, t)
        short = label_score(S, label, t) - room
        own = zero
        for k in range(S.shape[0]):
            excess = vmath.maximum(load(S, k, t) - short, zero)
            own = vmath.where_equal(label, k, own, own + excess)
        loss += reduce_add_weighted(own, load(weights, 0, t))
    return loss


@kernel
def hinge_backward(S, y, weights, margin, wanted, dS):
    """1 for every class too close to the label's, less their number at the label; 0 at the kinks."""
    room = fill(S, S.dtype.type(margin))
    zero = fill(S, 0)
    for t in range(0, S.shape[1], lanes(S)):
        label = load(y, 0, t)
        weight = load(weights, 0, t)
        short = label_score(S, label, t) - room
        count = zero
        for k in range(S.shape[0]):
            score = load(S, k, t)
            # Not a number where the score is none, so that it is not lost.
            d = vmath.where_greater(score, short, weight, zero) + (score - score)
            count = vmath.where_equal(label, k, count, count + d)
            store(dS, k, t, d)
        for k in range(S.shape[0]):
            store(dS, k, t, vmath.where_equal(label, k, -count, load(dS, k, t)))
    return hinge_value(S, y, weights, margin) if wanted else 0.0


@kernel
def label_score(S, label, t):
    """The score of every sample's label in the vector that begins at column t."""
    score = load(S, 0, t)
    for k in range(1, S.shape[0]):
        score = vmath.where_equal(label, k, load(S, k, t), score)
    return score


# --- of targets, a score each --------------------------------------------------------------------


@emitter
def binary_cross_entropy(s: Value, y: Value, parameter: Value) -> Value:
    """-y log p - (1 - y) log(1 - p), p the sigmoid of s."""
    # softplus(s) - y s, apart for y near 1 where the two nearly cancel.
    return vmath.softplus_of(-s.magnitude()) + s.at_least(0.0) - y * s


@emitter
def binary_cross_entropy_slope(s: Value, y: Value, parameter: Value) -> Value:
    return vmath.sigmoid_to_zero(s) - y


@emitter
def squared_error(s: Value, y: Value, parameter: Value) -> Value:
    """(s - y)^2 / 2."""
    return (s - y) * (s - y) * 0.5


@emitter
def squared_error_slope(s: Value, y: Value, parameter: Value) -> Value:
    return s - y


@emitter
def absolute_error(s: Value, y: Value, parameter: Value) -> Value:
    """|s - y|."""
    return (s - y).magnitude()


@emitter
def absolute_error_slope(s: Value, y: Value, parameter: Value) -> Value:
    return s.constant(1.0).where(s > y, s.constant(-1.0).where(s < y, s - y))  # 0, or not a number


@emitter
def huber(s: Value, y: Value, delta: Value) -> Value:
    """(s - y)^2 / 2 up to delta, then delta (|s - y| - delta / 2)."""
    error = (s - y).magnitude()
    near = error.at_most(delta)
    return near * (error - near * 0.5)


@emitter
def huber_slope(s: Value, y: Value, delta: Value) -> Value:
    return (s - y).at_most(delta).at_least(-delta)


@emitter
def quantile(s: Value, y: Value, q: Value) -> Value:
    """q (y - s) where s is below y, (1 - q) (s - y) above: the pinball loss."""
    return (q * (y - s)).at_least((1.0 - q) * (s - y))


@emitter
def quantile_slope(s: Value, y: Value, q: Value) -> Value:
    return (1.0 - q).where(s > y, (-q).where(s < y, s - y))  # 0, or not a number


@emitter
def poisson(s: Value, y: Value, parameter: Value) -> Value:
    """exp(s) - y s: the negative log-likelihood of a rate exp(s), but for what depends on y alone."""
    return vmath.exp_of(s) - y * s


@emitter
def poisson_slope(s: Value, y: Value, parameter: Value) -> Value:
    return vmath.exp_of(s) - y


class Loss(NamedTuple):
    """Formulas of a loss, for the compiler: kernels, or functions of a score and its target."""

    value: Any
    backward: Any
    of_labels: bool = False


LOSSES: dict[str, Loss] = {
    "softmax_cross_entropy": Loss(cross_entropy_value, cross_entropy_backward, of_labels=True),
    "multiclass_hinge": Loss(hinge_value, hinge_backward, of_labels=True),
    "sigmoid_binary_cross_entropy": Loss(binary_cross_entropy, binary_cross_entropy_slope),
    "squared_error": Loss(squared_error, squared_error_slope),
    "absolute_error": Loss(absolute_error, absolute_error_slope),
    "huber": Loss(huber, huber_slope),
    "quantile": Loss(quantile, quantile_slope),
    "poisson": Loss(poisson, poisson_slope),
}


@functools.cache
def loss_value(name: str) -> Any:
    """The kernel ``(S, y, weights, parameter)``: the weighted loss, a float64."""
    loss = LOSSES[name]
    if loss.of_labels:
        return loss.value
    formula = loss.value

    @kernel
    def loss_value(S, y, weights, parameter):
        total = 0.0
        constant = S.dtype.type(parameter)
        for k in range(S.shape[0]):
            for t in range(0, S.shape[1], lanes(S)):
                own = formula(load(S, k, t), load(y, k, t), constant)
                total += reduce_add_weighted(own, load(weights, 0, t))
        return total

    return loss_value


@functools.cache
def loss_backward(name: str) -> Any:
    """The kernel ``(S, y, weights, parameter, wanted, dS)``: dS is overwritten by the derivative by S.

    It returns the weighted loss, a float64, if it is `wanted`, else 0.
    """
    loss = LOSSES[name]
    if loss.of_labels:
        return loss.backward
    formula, slope = loss.value, loss.backward

    @kernel
    def loss_backward(S, y, weights, parameter, wanted, dS):
        total = 0.0
        constant = S.dtype.type(parameter)
        zero = fill(S, 0)
        for k in range(S.shape[0]):
            for t in range(0, S.shape[1], lanes(S)):
                s, target, weight = load(S, k, t), load(y, k, t), load(weights, 0, t)
                # Of what counts for nothing, as the padding, the derivative may be infinite.
                d = slope(s, target, constant)
                store(dS, k, t, vmath.where_greater(weight, zero, d * weight, zero))
                if wanted:
                    total += reduce_add_weighted(formula(s, target, constant), weight)
        return total

    return loss_backward


@functools.cache
def value_pointer(name: str, dtype: np.dtype) -> FunctionPointer:
    """A pointer to `loss_value`."""
    of = array_types(dtype)
    return FunctionPointer(loss_value(name), (of.inputs, of.inputs, of.inputs, types.float64))


@functools.cache
def backward_pointer(name: str, dtype: np.dtype) -> FunctionPointer:
    """A pointer to `loss_backward`."""
    of = array_types(dtype)
    arguments = of.inputs, of.inputs, of.inputs, types.float64, types.boolean, of.matrix
    return FunctionPointer(loss_backward(name), arguments)
