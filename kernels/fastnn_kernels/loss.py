"""Losses: functions of the scores, the outputs of the last layer, and of labels or targets.

To add a loss, write a class with its formula `value` and its derivative `slope` below the others, register it
with the decorator ``@loss``, write the NumPy version in ``fastnn/reference/loss.py``, and the class for users
in ``fastnn/losses.py``. The loss of a batch is the sum over its samples of weight times loss. Every loss has
one parameter, 0 if it needs none, and two kernels:

- ``value(S, y, weights, parameter)`` returns the loss of a tile, a float64;
- ``backward(S, y, weights, parameter, wanted, dS)`` overwrites dS with the derivative by the scores. It
  returns the loss if `wanted` is True, else 0. dS has the same bits in both cases.

Shape letters: K scores of a sample, Y targets of a sample (1 for labels), T samples of a tile (a whole number
of vectors). S and dS are (K, T), y is (Y, T), weights are (1, T). Labels are floats. The padding of a tile
has weight 0, so that it changes neither the loss nor the gradient.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .compiler.jit import Kernel, kernel
from .output import find_column_max, write_exponentials
from .vectors import vmath
from .vectors.recorded import make_formula
from .vectors.value import Value, add_product, add_weighted, emitter, fill, reduce_add_weighted
from .vectors.vector import N_INTERLEAVED, lanes, load, load_several, store


class RegisteredLoss(NamedTuple):
    """A loss in the registry.

    A loss of labels has two kernels, `value` and `backward`. A loss of targets has two formulas of one score,
    its target and the parameter: `value`, and the derivative by the score as `backward`.
    """

    value: Any
    backward: Any
    of_labels: bool = False


# Registry of all losses by name.
LOSSES: dict[str, RegisteredLoss] = {}


def loss(name: str) -> Callable[[type], type]:
    """Return the decorator that adds the formulas of a class to `LOSSES` under `name`.

    The arguments of `value` and `slope` are a score, its target and the loss's parameter; the loss of a
    sample is the sum over its scores. Both must be static methods of the class itself, not inherited ones:
    the cache identifies kernels by the qualified names of these functions.
    """

    def register(formulas: type) -> type:
        value, slope = (emitter(vars(formulas)[part].__func__) for part in ("value", "slope"))
        LOSSES[name] = RegisteredLoss(value, slope)
        return formulas

    return register


# --- losses of labels: kernels -------------------------------------------------------------------


@kernel
def cross_entropy_value(S, y, weights, smoothing):
    """Return the cross-entropy ``log sum exp(S) - sum q S`` of softmax.

    q is 1 - smoothing at the label, plus smoothing / K everywhere. A smoothing below 0 stands for none, and
    its magnitude is the largest loss of a sample: scikit-learn limits the loss, but not the gradient.
    Targets y (K, T), which sum to 1, take the place of 1 at the label and 0 elsewhere.
    """
    if y.shape[0] > 1:
        return soft_value(S, y, weights, smoothing)
    loss = 0.0
    limits = fill(S, S.dtype.type(-smoothing if smoothing < 0.0 else np.inf))
    for t in range(0, S.shape[1], lanes(S)):
        label, weight = load(y, 0, t), load(weights, 0, t)
        if S.shape[0] == 2 and smoothing == 0.0:
            each = two_class_loss(load(S, 0, t), load(S, 1, t), label)
        else:
            highest = find_column_max(S, t)
            total = fill(S, 0)
            for k in range(S.shape[0]):
                total = total + vmath.exp_to_zero(load(S, k, t) - highest)
            each = vmath.log(total) - compute_expected_score(S, t, label, highest, max(smoothing, 0.0))
        loss += reduce_add_weighted(vmath.minimum(each, limits), weight)
    return loss


@kernel
def soft_value(S, y, weights, smoothing):
    """Return the loss of `cross_entropy_value` for targets y (K, T)."""
    loss = 0.0
    limits = fill(S, S.dtype.type(-smoothing if smoothing < 0.0 else np.inf))
    for t in range(0, S.shape[1], lanes(S)):
        highest = find_column_max(S, t)
        total, expected = fill(S, 0), fill(S, 0)
        for k in range(S.shape[0]):
            score = load(S, k, t) - highest
            total = total + vmath.exp_to_zero(score)
            expected = expected + smooth_target(S, y, k, t, smoothing) * score
        loss += reduce_add_weighted(vmath.minimum(vmath.log(total) - expected, limits), load(weights, 0, t))
    return loss


@kernel
def soft_backward(S, y, weights, smoothing, wanted, dS):
    """Fill dS as `cross_entropy_backward` does for targets y (K, T)."""
    for t in range(0, S.shape[1], lanes(S)):
        weight = load(weights, 0, t)
        total = write_exponentials(S, t, find_column_max(S, t), dS)
        reciprocal = fill(S, 1) / total
        for k in range(S.shape[0]):
            target = smooth_target(S, y, k, t, smoothing)
            store(dS, k, t, add_product(-target, reciprocal, load(dS, k, t)) * weight)
    return soft_value(S, y, weights, smoothing) if wanted else 0.0


@kernel
def smooth_target(S, y, k, t, smoothing):
    """Return the smoothed targets of class k, for the samples t, t + 1, ..., a vector."""
    smoothing = max(smoothing, 0.0)
    scale, spread = fill(S, S.dtype.type(1.0 - smoothing)), fill(S, S.dtype.type(smoothing / S.shape[0]))
    return scale * load(y, k, t) + spread


@functools.cache
def two_class_backward(n_vectors: int) -> Kernel:
    """Return the kernel ``(S, y, weights, t, wanted, loss, dS)`` of the cross-entropy of two classes.

    The kernel computes `cross_entropy_backward` without smoothing for `n_vectors` vectors of samples, from t
    on. It returns the sum of `loss` and their loss if `wanted`, else `loss`.
    """

    @kernel
    def two_class_backward(S, y, weights, t, wanted, loss, dS):
        first, second = load_several(S, 0, t, n_vectors), load_several(S, 1, t, n_vectors)
        label, weight = load_several(y, 0, t, n_vectors), load_several(weights, 0, t, n_vectors)
        diff = two_class_diff(first, second, label) * weight
        store(dS, 0, t, -diff)
        store(dS, 1, t, diff)
        if wanted:  # the compiler reuses the exponential of the derivative
            loss = add_weighted(loss, two_class_loss(first, second, label), weight)
        return loss

    return two_class_backward


backward_of_one, backward_of_several = two_class_backward(1), two_class_backward(N_INTERLEAVED)


@kernel
def cross_entropy_backward(S, y, weights, smoothing, wanted, dS):
    """Fill dS with the probabilities minus q; see `cross_entropy_value` for q and the limit."""
    if y.shape[0] > 1:
        return soft_backward(S, y, weights, smoothing, wanted, dS)
    n_scores = S.shape[0]
    loss = 0.0
    if n_scores == 2 and smoothing == 0.0:
        block = N_INTERLEAVED * lanes(S)
        whole = S.shape[1] - S.shape[1] % block
        for t in range(0, whole, block):
            loss = backward_of_several(S, y, weights, t, wanted, loss, dS)
        for t in range(whole, S.shape[1], lanes(S)):
            loss = backward_of_one(S, y, weights, t, wanted, loss, dS)
        return loss
    limits = fill(S, S.dtype.type(-smoothing if smoothing < 0.0 else np.inf))
    smoothing = max(smoothing, 0.0)
    spread = S.dtype.type(smoothing / n_scores)
    at_label = S.dtype.type(1.0 - smoothing + smoothing / n_scores)
    for t in range(0, S.shape[1], lanes(S)):
        label, weight = load(y, 0, t), load(weights, 0, t)
        highest = find_column_max(S, t)
        total = write_exponentials(S, t, highest, dS)
        reciprocal = fill(S, 1) / total
        for k in range(n_scores):
            expected = vmath.where_equal(label, k, at_label, spread)
            store(dS, k, t, add_product(-expected, reciprocal, load(dS, k, t)) * weight)
        if wanted:
            each = vmath.log(total) - compute_expected_score(S, t, label, highest, smoothing)
            loss += reduce_add_weighted(vmath.minimum(each, limits), weight)
    return loss


@kernel
def compute_expected_score(S, t, label, highest, smoothing):
    """Return ``sum q (S - highest)`` over the classes, for the samples t, t + 1, ..., a vector.

    label and highest are vectors; see `cross_entropy_value` for q.
    """
    at_label = fill(S, S.dtype.type(1.0 - smoothing))
    spread = fill(S, S.dtype.type(smoothing / S.shape[0]))
    expected = fill(S, 0)
    for k in range(S.shape[0]):
        score = load(S, k, t) - highest
        expected = vmath.where_equal(label, k, add_product(expected, at_label, score), expected)
        if smoothing != 0.0:
            expected = add_product(expected, spread, score)
    return expected


LOSSES["softmax_cross_entropy"] = RegisteredLoss(cross_entropy_value, cross_entropy_backward, of_labels=True)


# The softmax of two scores is the sigmoid of their difference. The sigmoid needs one exponential instead of
# two and avoids cancellation where the label's probability is close to 1.


def _subtract_label_score(first: Value, second: Value, is_second: Value) -> Value:
    """Return the other class's score minus the label's; `is_second` masks labels of the second class."""
    return (first - second).where(is_second, second - first)


@emitter
def two_class_loss(first: Value, second: Value, label: Value) -> Value:
    """Return the cross-entropy of softmax over two scores; label is 0 or 1."""
    return vmath.compute_softplus(_subtract_label_score(first, second, label.equals(1.0)))


@emitter
def two_class_diff(first: Value, second: Value, label: Value) -> Value:
    """Return the derivative of `two_class_loss` by the second score; by the first it is the negative.

    Its magnitude is the probability of the class that is not the label.
    """
    is_second = label.equals(1.0)
    wrong = vmath.sigmoid_to_zero(_subtract_label_score(first, second, is_second))
    return (-wrong).where(is_second, wrong)


@kernel
def hinge_value(S, y, weights, margin):
    """Return the sum over the classes other than the label's of ``max(0, S_k - S_label + margin)``."""
    loss = 0.0
    margins = fill(S, S.dtype.type(margin))
    zero = fill(S, 0)
    for t in range(0, S.shape[1], lanes(S)):
        label = load(y, 0, t)
        threshold = gather_label_score(S, label, t) - margins
        each = zero
        for k in range(S.shape[0]):
            excess = vmath.maximum(load(S, k, t) - threshold, zero)
            each = vmath.where_equal(label, k, each, each + excess)
        loss += reduce_add_weighted(each, load(weights, 0, t))
    return loss


@kernel
def hinge_backward(S, y, weights, margin, wanted, dS):
    """Fill dS with the derivative of the hinge loss, which is 0 at its kinks.

    The derivative is 1 for a class whose score exceeds the label's score minus the margin, and for the label
    it is minus the number of such classes.
    """
    margins = fill(S, S.dtype.type(margin))
    zero = fill(S, 0)
    for t in range(0, S.shape[1], lanes(S)):
        label = load(y, 0, t)
        weight = load(weights, 0, t)
        at_label = gather_label_score(S, label, t)
        threshold = at_label - margins
        # Comparisons with NaN are False, which would hide a diverged training: add differences that are 0 for
        # finite scores, and NaN for scores that are NaN or infinite.
        count = at_label - at_label
        for k in range(S.shape[0]):
            score = load(S, k, t)
            d = vmath.where_greater(score, threshold, weight, zero) + (score - score)
            count = vmath.where_equal(label, k, count, count + d)
            store(dS, k, t, d)
        for k in range(S.shape[0]):
            store(dS, k, t, vmath.where_equal(label, k, -count, load(dS, k, t)))
    return hinge_value(S, y, weights, margin) if wanted else 0.0


LOSSES["multiclass_hinge"] = RegisteredLoss(hinge_value, hinge_backward, of_labels=True)


@kernel
def gather_label_score(S, label, t):
    """Return the score of each sample's label for the samples t, t + 1, ..., a vector; label is a vector."""
    score = load(S, 0, t)
    for k in range(1, S.shape[0]):
        score = vmath.where_equal(label, k, load(S, k, t), score)
    return score


# --- losses of targets: formulas, summed over the scores -----------------------------------------


@loss("sigmoid_binary_cross_entropy")
class BinaryCrossEntropy:
    """Binary cross-entropy ``-y log p - (1 - y) log(1 - p)``, where p is the sigmoid of s.

    A parameter below 0 limits the loss to its magnitude, but not the gradient.
    """

    @staticmethod
    def value(s: Value, y: Value, parameter: Value) -> Value:
        # softplus(s) = softplus(-|s|) + max(s, 0): for y near 1, max(s, 0) - y s has no rounding error.
        exact = (-y).fma(s, vmath.compute_softplus(-s.magnitude()) + s.at_least(0.0))
        return exact.at_most((-parameter).where(parameter < 0.0, s.constant(math.inf)))

    @staticmethod
    def slope(s: Value, y: Value, parameter: Value) -> Value:
        return vmath.sigmoid_to_zero(s) - y


@loss("squared_error")
class SquaredError:
    """Half of the squared error, ``(s - y)^2 / 2``."""

    @staticmethod
    def value(s: Value, y: Value, parameter: Value) -> Value:
        return (s - y) * (s - y) * 0.5

    @staticmethod
    def slope(s: Value, y: Value, parameter: Value) -> Value:
        return s - y


@loss("absolute_error")
class AbsoluteError:
    """Absolute error ``|s - y|``."""

    @staticmethod
    def value(s: Value, y: Value, parameter: Value) -> Value:
        return (s - y).magnitude()

    @staticmethod
    def slope(s: Value, y: Value, parameter: Value) -> Value:
        """Return the sign of ``s - y``; NaN for NaN."""
        return s.constant(1.0).where(s > y, s.constant(-1.0).where(s < y, s - y))


@loss("huber")
class Huber:
    """Huber loss: ``(s - y)^2 / 2`` where ``|s - y| <= delta``, else ``delta (|s - y| - delta / 2)``."""

    @staticmethod
    def value(s: Value, y: Value, delta: Value) -> Value:
        """Return ``near (|s - y| - near / 2)`` with ``near = min(|s - y|, delta)``."""
        error = (s - y).magnitude()
        near = error.at_most(delta)
        return near * (error - near * 0.5)

    @staticmethod
    def slope(s: Value, y: Value, delta: Value) -> Value:
        return (s - y).at_most(delta).at_least(-delta)


@loss("quantile")
class Quantile:
    """Quantile (pinball) loss: ``q (y - s)`` where s is below y, else ``(1 - q) (s - y)``."""

    @staticmethod
    def value(s: Value, y: Value, q: Value) -> Value:
        return (q * (y - s)).at_least((1.0 - q) * (s - y))

    @staticmethod
    def slope(s: Value, y: Value, q: Value) -> Value:
        """Return ``1 - q`` where s is above y, ``-q`` where s is below y, 0 at y; NaN for NaN."""
        return (1.0 - q).where(s > y, (-q).where(s < y, s - y))


@loss("hinge")
class BinaryHinge:
    """Hinge loss ``max(0, margin - y s)`` of one score, for targets -1 and 1."""

    @staticmethod
    def value(s: Value, y: Value, margin: Value) -> Value:
        return (margin - y * s).at_least(0.0)

    @staticmethod
    def slope(s: Value, y: Value, margin: Value) -> Value:
        """Return ``-y`` where ``y s`` is below the margin, else 0; NaN for a score that is not finite."""
        return (-y).where(y * s < margin, s.constant(0.0)) + (s - s)


@loss("poisson")
class Poisson:
    """Poisson loss ``exp(s) - y s``: negative log-likelihood of the rate exp(s), without terms of y alone."""

    @staticmethod
    def value(s: Value, y: Value, parameter: Value) -> Value:
        return (-y).fma(s, vmath.compute_exp(s))

    @staticmethod
    def slope(s: Value, y: Value, parameter: Value) -> Value:
        return vmath.compute_exp(s) - y


# --- the kernels of a loss -----------------------------------------------------------------------


def find_loss(name: str | tuple) -> RegisteredLoss:
    """Return the loss of a name, or of two lists of operations (``vectors/recorded.py``): value and slope."""
    return LOSSES[name] if isinstance(name, str) else RegisteredLoss(*map(make_formula, name))


@functools.cache
def loss_value(name: str | tuple) -> Kernel:
    """Return the kernel ``(S, y, weights, parameter)`` that returns the weighted loss `name`, a float64.

    name: an argument of `find_loss`.
    """
    registered = find_loss(name)
    value = registered.value
    if registered.of_labels:
        return value

    @kernel
    def loss_value(S, y, weights, parameter):
        total = 0.0
        constant = S.dtype.type(parameter)
        for k in range(S.shape[0]):
            for t in range(0, S.shape[1], lanes(S)):
                each = value(load(S, k, t), load(y, k, t), constant)
                total += reduce_add_weighted(each, load(weights, 0, t))
        return total

    return loss_value


@functools.cache
def loss_backward(name: str | tuple) -> Kernel:
    """Return the kernel ``(S, y, weights, parameter, wanted, dS)`` of the derivative of the loss `name`.

    The kernel overwrites dS with the derivative of the weighted loss by S. It returns the weighted loss, a
    float64, if `wanted` is True, else 0.
    """
    registered = find_loss(name)
    if registered.of_labels:
        return registered.backward
    value, slope = registered.value, registered.backward

    @kernel
    def loss_backward(S, y, weights, parameter, wanted, dS):
        total = 0.0
        constant = S.dtype.type(parameter)
        zero = fill(S, 0)
        for k in range(S.shape[0]):
            for t in range(0, S.shape[1], lanes(S)):
                s, target, weight = load(S, k, t), load(y, k, t), load(weights, 0, t)
                # A sample of weight 0, such as padding, may have an infinite derivative, and 0 times infinity
                # is NaN: select 0 instead.
                d = slope(s, target, constant)
                store(dS, k, t, vmath.where_greater(weight, zero, d * weight, zero))
                if wanted:
                    total += reduce_add_weighted(value(s, target, constant), weight)
        return total

    return loss_backward
