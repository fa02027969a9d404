"""The losses: of the last layer's outputs, the scores, against what they should be.

To add a loss: a class with its formulas `value`, of every sample, and `slope`, the derivative by the
scores, entered in `LOSSES`; its twin in ``fastnn_kernels/loss.py``; and what a user names in
``fastnn/losses.py``.

Shapes: S (n, k), the scores; y (n,), labels 0 .. k-1, or (n, k), targets; weights (n,). Every loss has
one parameter, 0 where it needs none.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .layer import Sigmoid, Softplus
from .output import softmax_forward

__all__ = ["LOSSES", "loss_backward", "loss_value"]


class Formulas:
    """Base of the losses; subclasses give the formulas `value` and `slope`."""

    value: Any
    slope: Any

    @staticmethod
    def kinks(S, y, parameter):
        """Arrays that change their sign where the derivative of the loss jumps or bends."""
        return []


class CrossEntropy(Formulas):
    """``log sum exp(S) - sum q S`` with q = 1 - smoothing at the label, plus smoothing / k everywhere."""

    @staticmethod
    def value(S, y, smoothing):
        S = S - np.max(S, axis=1, keepdims=True)
        return np.log(np.sum(np.exp(S), axis=1)) - np.sum(CrossEntropy.expected(S, y, smoothing) * S, axis=1)

    @staticmethod
    def slope(S, y, smoothing):
        return softmax_forward(S) - CrossEntropy.expected(S, y, smoothing)

    @staticmethod
    def expected(S, y, smoothing):
        return (1 - smoothing) * (y[:, None] == np.arange(S.shape[1])) + smoothing / S.shape[1]


class Hinge(Formulas):
    """Sum over the other classes of ``max(0, S_k - S_label + margin)``."""

    @staticmethod
    def value(S, y, margin):
        return np.sum(np.maximum(Hinge.excess(S, y, margin), 0), axis=1)

    @staticmethod
    def slope(S, y, margin):
        # Not a number where a score is none, so that it is not lost.
        d = (Hinge.excess(S, y, margin) > 0).astype(S.dtype) + (S - S)
        return d - np.sum(d, axis=1, keepdims=True) * Hinge.is_label(S, y)

    @staticmethod
    def kinks(S, y, margin):
        return [Hinge.excess(S, y, margin)]

    @staticmethod
    def excess(S, y, margin):
        own = S[np.arange(len(S)), y.astype(int)][:, None]
        return np.where(Hinge.is_label(S, y), 0, S - (own - margin))

    @staticmethod
    def is_label(S, y):
        return y[:, None] == np.arange(S.shape[1])


class Elementwise(Formulas):
    """Base of the losses that are a sum over the outputs; subclasses give the formulas of one."""

    of_one: Any

    @classmethod
    def value(cls, S, y, parameter):
        return np.sum(cls.of_one(S, y, parameter), axis=1)


class BinaryCrossEntropy(Elementwise):
    """``-y log p - (1 - y) log(1 - p)``, p the sigmoid of s: ``log(1 + exp(s)) - y s``."""

    @staticmethod
    def of_one(s, y, parameter):
        return Softplus.value(-np.abs(s)) + np.maximum(s, 0) - y * s

    @staticmethod
    def slope(s, y, parameter):
        return Sigmoid.value(s) - y


class SquaredError(Elementwise):
    """``(s - y)^2 / 2``."""

    @staticmethod
    def of_one(s, y, parameter):
        return (s - y) ** 2 / 2

    @staticmethod
    def slope(s, y, parameter):
        return s - y


class AbsoluteError(Elementwise):
    """``|s - y|``."""

    @staticmethod
    def of_one(s, y, parameter):
        return np.abs(s - y)

    @staticmethod
    def slope(s, y, parameter):
        return np.sign(s - y)

    @staticmethod
    def kinks(s, y, parameter):
        return [s - y]


class Huber(Elementwise):
    """``(s - y)^2 / 2`` up to delta, then ``delta (|s - y| - delta / 2)``."""

    @staticmethod
    def of_one(s, y, delta):
        near = np.minimum(np.abs(s - y), delta)
        return near * (np.abs(s - y) - near / 2)

    @staticmethod
    def slope(s, y, delta):
        return np.clip(s - y, -delta, delta)

    @staticmethod
    def kinks(s, y, delta):
        return [s - y - delta, s - y + delta]


class Quantile(Elementwise):
    """``q (y - s)`` where s is below y, ``(1 - q) (s - y)`` above."""

    @staticmethod
    def of_one(s, y, q):
        return np.maximum(q * (y - s), (1 - q) * (s - y))

    @staticmethod
    def slope(s, y, q):
        return np.where(s > y, 1 - q, np.where(s < y, -q, s - y)).astype(s.dtype)

    @staticmethod
    def kinks(s, y, q):
        return [s - y]


class Poisson(Elementwise):
    """``exp(s) - y s``."""

    @staticmethod
    def of_one(s, y, parameter):
        return np.exp(s) - y * s

    @staticmethod
    def slope(s, y, parameter):
        return np.exp(s) - y


LOSSES: dict[str, type[Formulas]] = {
    "softmax_cross_entropy": CrossEntropy,
    "multiclass_hinge": Hinge,
    "sigmoid_binary_cross_entropy": BinaryCrossEntropy,
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "quantile": Quantile,
    "poisson": Poisson,
}


def loss_value(name, S, y, weights, parameter):
    """Sum over the samples of weight times loss; a weight of 0 makes any loss 0."""
    losses = LOSSES[name].value(S, y, parameter).astype(np.float64)
    return float(np.sum(np.where(weights > 0, losses, 0.0) * weights))


def loss_backward(name, S, y, weights, parameter):
    """Derivative of it by the scores, (n, k)."""
    weights = weights[:, None]
    return np.where(weights > 0, LOSSES[name].slope(S, y, parameter) * weights, 0).astype(S.dtype)
