"""The output: softmax over the scores, its loss and its difference to the labels.

Shape letters: K classes, T samples of a tile (a whole number of vectors), N <= T of them real. The
labels are a row of the scores' dtype, so that a tile of labels is laid out as one of regression
targets would be.
"""

from __future__ import annotations

from . import vmath
from .jit import kernel
from .simd import Value, emitter, fill, lanes, load, reduce_add_scaled, store, store_integers

__all__ = ["argmax", "softmax_backward", "softmax_forward", "softmax_loss"]


@kernel
def softmax_forward(S, P):
    """Probabilities of the classes: ``P = exp(S) / column sums``, stable for any finite scores.

    Parameters
    ----------
    S : array (K, T)
        Scores.
    P : array (K, T)
        Overwritten; may be S.
    """
    for t in range(0, S.shape[1], lanes(S)):
        highest = column_max(S, t)
        total = fill(S, 0)
        for k in range(S.shape[0]):
            e = vmath.exp_to_zero(load(S, k, t) - highest)
            total = total + e
            store(P, k, t, e)
        reciprocal = vmath.divide(fill(S, 1), total)
        for k in range(S.shape[0]):
            store(P, k, t, load(P, k, t) * reciprocal)


@kernel
def softmax_loss(S, y, scale, n):
    """Sum over the first `n` samples of -scale log p[label], by log-sum-exp on the scores.

    Parameters
    ----------
    S : array (K, T)
        Scores.
    y : array (1, T)
        Labels 0 .. K-1.
    scale : float64
        One over the number of samples for the mean, which is then finite where the sum is not.
    n : int
        Number of real samples.

    Returns
    -------
    float64
    """
    loss = 0.0
    for t in range(0, S.shape[1], lanes(S)):
        highest = column_max(S, t)
        label = load(y, 0, t)
        total = fill(S, 0)
        labelled = fill(S, 0)
        for k in range(S.shape[0]):
            score = load(S, k, t) - highest
            total = total + vmath.exp_to_zero(score)
            labelled = vmath.where_equal(label, k, score, labelled)
        loss += reduce_add_scaled(vmath.head(vmath.log(total) - labelled, n - t), scale)
    return loss


@kernel
def softmax_backward(S, y, n, dS):
    """Derivative of the summed loss by the scores: p, less 1 at the label (the softmax diff).

    Parameters
    ----------
    S : array (K, T)
        Scores.
    y : array (1, T)
        Labels 0 .. K-1.
    n : int
        Number of real samples.
    dS : array (K, T)
        Overwritten; 0 from column `n` on, so that padding adds nothing to any gradient.
    """
    if S.shape[0] == 2:
        for t in range(0, S.shape[1], lanes(S)):
            diff = two_class_diff(load(S, 0, t), load(S, 1, t), load(y, 0, t))
            store(dS, 0, t, -diff)
            store(dS, 1, t, diff)
    else:
        softmax_forward(S, dS)
        for t in range(0, S.shape[1], lanes(S)):
            label = load(y, 0, t)
            for k in range(S.shape[0]):
                store(dS, k, t, load(dS, k, t) - vmath.where_equal(label, k, 1.0, 0.0))
    for t in range(n, S.shape[1]):
        for k in range(S.shape[0]):
            dS[k, t] = 0


@kernel
def argmax(S, row, column, n, classes):
    """The class of the highest score, the first where several are.

    Parameters
    ----------
    S : array (K, T)
        Scores.
    row, column : int
        Where the first class goes.
    n : int
        Number of real samples.
    classes : array of any integer dtype, two-dimensional
        ``classes[row, column : column + n]`` is overwritten.
    """
    whole = n - n % lanes(S)
    for t in range(0, whole, lanes(S)):
        highest = load(S, 0, t)
        winner = fill(S, 0)
        for k in range(1, S.shape[0]):
            score = load(S, k, t)
            winner = vmath.where_greater(score, highest, k, winner)
            highest = vmath.maximum(highest, score)
        store_integers(classes, row, column + t, winner)
    for t in range(whole, n):
        best = 0
        for k in range(1, S.shape[0]):
            if S[k, t] > S[best, t]:
                best = k
        classes[row, column + t] = best


@kernel
def column_max(S, t):
    """The highest score of every sample in the vector that begins at column t."""
    highest = load(S, 0, t)
    for k in range(1, S.shape[0]):
        highest = vmath.maximum(highest, load(S, k, t))
    return highest


@emitter
def two_class_diff(first: Value, second: Value, label: Value) -> Value:
    """The softmax diff of class 1 of two: the probability of the class that is not the label.

    Softmax over two scores is the sigmoid of their difference: one exponential instead of two,
    and no difference of nearly equal numbers where the label's probability is close to 1.
    """
    is_second = label.equals(1.0)
    lead = (second - first).where(is_second, first - second)  # of the label's score
    wrong = vmath.sigmoid_to_zero(-lead)
    return (-wrong).where(is_second, wrong)
