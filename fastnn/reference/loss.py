"""Losses: functions of the scores, the outputs of the last layer, and of labels or targets.

To add a loss, write a class with the formula and `slope`, its derivative by the scores, after the others,
register it with the decorator ``@loss``, write the compiled version in ``fastnn_kernels/loss.py``, and the
class for users in ``fastnn/losses.py``. Every loss has one parameter, 0 if it needs none.

Shapes: S (n, k), the scores; y (n,), labels 0 .. k-1, or (n, k), targets; weights (n,). The softmax
cross-entropy takes either.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .layer import Sigmoid, Softplus, make_registrar
from .output import softmax_forward


class Formulas:
    """Base class of the losses.

    Subclasses define the functions ``value(S, y, parameter)``, which returns the loss (n,) of every sample,
    and ``slope(S, y, parameter)``, which returns its derivative (n, k) by the scores.
    """

    value: Callable
    slope: Callable

    @staticmethod
    def kinks(S, y, parameter):
        """Return a list of arrays that change sign where the derivative of the loss jumps or has a kink."""
        return []


# Registry of all losses by name.
LOSSES: dict[str, type[Formulas]] = {}
loss = make_registrar(LOSSES)


def limit(values, parameter):
    """Limit losses to the magnitude of a parameter below 0; return them unchanged for any other."""
    return np.minimum(values, -parameter) if parameter < 0 else values


@loss("softmax_cross_entropy")
class CrossEntropy(Formulas):
    """Softmax cross-entropy ``log sum exp(S) - sum q S``.

    q is 1 - smoothing at the label, plus smoothing / k everywhere. A smoothing below 0 stands for none, and
    its magnitude is the largest loss of a sample: scikit-learn limits the loss, but not the gradient.
    Targets y (n, k), whose rows sum to 1, take the place of 1 at the label and 0 elsewhere.
    """

    @staticmethod
    def value(S, y, smoothing):
        S = S - np.max(S, axis=1, keepdims=True)
        expected = np.sum(CrossEntropy.expected(S, y, smoothing) * S, axis=1)
        return limit(np.log(np.sum(np.exp(S), axis=1)) - expected, smoothing)

    @staticmethod
    def slope(S, y, smoothing):
        return softmax_forward(S) - CrossEntropy.expected(S, y, smoothing)

    @staticmethod
    def expected(S, y, smoothing):
        smoothing = max(smoothing, 0)
        targets = y if y.ndim == 2 else y[:, None] == np.arange(S.shape[1])
        return ((1 - smoothing) * targets + smoothing / S.shape[1]).astype(S.dtype)


@loss("multiclass_hinge")
class Hinge(Formulas):
    """Multiclass hinge loss: the sum of ``max(0, S_k - S_label + margin)`` over all classes but the label."""

    @staticmethod
    def value(S, y, margin):
        return np.sum(np.maximum(Hinge.excess(S, y, margin), 0), axis=1)

    @staticmethod
    def slope(S, y, margin):
        # Comparisons with NaN are False, which would hide a diverged training: S - S is NaN for scores that
        # are NaN or infinite.
        d = (Hinge.excess(S, y, margin) > 0).astype(S.dtype) + (S - S)
        return d - np.sum(d, axis=1, keepdims=True) * Hinge.is_label(S, y)

    @staticmethod
    def kinks(S, y, margin):
        return [Hinge.excess(S, y, margin)]

    @staticmethod
    def excess(S, y, margin):
        at_label = S[np.arange(len(S)), y.astype(int)][:, None]
        return np.where(Hinge.is_label(S, y), 0, S - (at_label - margin))

    @staticmethod
    def is_label(S, y):
        return y[:, None] == np.arange(S.shape[1])


class Elementwise(Formulas):
    """Base class of the losses that are a sum over the scores.

    Subclasses define ``elementwise(s, y, parameter)``, the loss of each score and its target.
    """

    elementwise: Callable

    @classmethod
    def value(cls, S, y, parameter):
        return np.sum(cls.elementwise(S, y, parameter), axis=1)


@loss("sigmoid_binary_cross_entropy")
class BinaryCrossEntropy(Elementwise):
    """Binary cross-entropy ``-y log p - (1 - y) log(1 - p)``, where p is the sigmoid of s.

    A parameter below 0 limits the loss to its magnitude, but not the gradient.
    """

    @staticmethod
    def elementwise(s, y, parameter):
        return limit(Softplus.value(-np.abs(s)) + np.maximum(s, 0) - y * s, parameter)

    @staticmethod
    def slope(s, y, parameter):
        return Sigmoid.value(s) - y


@loss("squared_error")
class SquaredError(Elementwise):
    """Half of the squared error, ``(s - y)^2 / 2``."""

    @staticmethod
    def elementwise(s, y, parameter):
        return (s - y) ** 2 / 2

    @staticmethod
    def slope(s, y, parameter):
        return s - y


@loss("absolute_error")
class AbsoluteError(Elementwise):
    """Absolute error ``|s - y|``."""

    @staticmethod
    def elementwise(s, y, parameter):
        return np.abs(s - y)

    @staticmethod
    def slope(s, y, parameter):
        return np.sign(s - y)

    @staticmethod
    def kinks(s, y, parameter):
        return [s - y]


@loss("huber")
class Huber(Elementwise):
    """Huber loss: ``(s - y)^2 / 2`` where ``|s - y| <= delta``, else ``delta (|s - y| - delta / 2)``."""

    @staticmethod
    def elementwise(s, y, delta):
        near = np.minimum(np.abs(s - y), delta)
        return near * (np.abs(s - y) - near / 2)

    @staticmethod
    def slope(s, y, delta):
        return np.clip(s - y, -delta, delta)

    @staticmethod
    def kinks(s, y, delta):
        return [s - y - delta, s - y + delta]


@loss("quantile")
class Quantile(Elementwise):
    """Quantile (pinball) loss: ``q (y - s)`` where s is below y, else ``(1 - q) (s - y)``."""

    @staticmethod
    def elementwise(s, y, q):
        return np.maximum(q * (y - s), (1 - q) * (s - y))

    @staticmethod
    def slope(s, y, q):
        return np.where(s > y, 1 - q, np.where(s < y, -q, s - y)).astype(s.dtype)

    @staticmethod
    def kinks(s, y, q):
        return [s - y]


@loss("hinge")
class BinaryHinge(Elementwise):
    """Hinge loss ``max(0, margin - y s)`` of one score, for targets -1 and 1."""

    @staticmethod
    def elementwise(s, y, margin):
        return np.maximum(margin - y * s, 0)

    @staticmethod
    def slope(s, y, margin):
        # s - s is NaN for a score that is NaN or infinite, which the comparison would hide.
        return np.where(y * s < margin, -y, 0) + (s - s)

    @staticmethod
    def kinks(s, y, margin):
        return [margin - y * s]


@loss("poisson")
class Poisson(Elementwise):
    """Poisson loss ``exp(s) - y s``: negative log-likelihood of the rate exp(s), without terms of y alone."""

    @staticmethod
    def elementwise(s, y, parameter):
        return np.exp(s) - y * s

    @staticmethod
    def slope(s, y, parameter):
        return np.exp(s) - y


class Methods(Formulas):
    """The methods ``value(s, y)`` and ``slope(s, y)`` of a user's loss, functions of arrays (n, k)."""

    def __init__(self, loss):
        self.loss = loss

    def value(self, S, y, parameter):
        return np.sum(_spread(self.loss.value(*_protect(S, y)), S), axis=1)

    def slope(self, S, y, parameter):
        return _spread(self.loss.slope(*_protect(S, y)), S)


@np.errstate(over="ignore")
def _spread(values, S):
    return np.broadcast_to(values, S.shape).astype(S.dtype)


def _protect(*arrays):
    views = [array.view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return views


def find_formulas(name):
    """Return the formulas of a loss, given its name, or the methods of a user's loss."""
    return LOSSES[name] if isinstance(name, str) else Methods(name)


def loss_value(name, S, y, weights, parameter):
    """Return the sum of weight times loss over the samples.

    A sample of weight 0 adds 0, even if its loss is infinite or NaN.
    """
    losses = find_formulas(name).value(S, y, parameter).astype(np.float64)
    return float(np.sum(np.where(weights > 0, losses, 0.0) * weights))


def loss_backward(name, S, y, weights, parameter):
    """Return the derivative (n, k) of the weighted loss by the scores."""
    weights = weights[:, None]
    return np.where(weights > 0, find_formulas(name).slope(S, y, parameter) * weights, 0).astype(S.dtype)
