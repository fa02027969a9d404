"""Output functions: from scores, the outputs of the last layer, to probabilities, classes or targets.

Shape letters: K scores of a sample, T samples of a tile (a whole number of vectors).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

from .compiler.jit import Kernel, kernel
from .layer import ACTIVATIONS
from .vectors import vmath
from .vectors.elementwise import elementwise
from .vectors.value import fill, is_zero
from .vectors.vector import lanes, load, store, store_integers


@kernel
def softmax_forward(S, P):
    """Compute the probabilities ``P = exp(S) / column sums``, stable for any finite scores.

    S and P are (K, T); P may be S.
    """
    for t in range(0, S.shape[1], lanes(S)):
        total = write_exponentials(S, t, find_column_max(S, t), P)
        reciprocal = fill(S, 1) / total
        for k in range(S.shape[0]):
            store(P, k, t, load(P, k, t) * reciprocal)


@kernel
def write_exponentials(S, t, highest, P):
    """Compute ``P = exp(S - highest)`` for a vector of samples, and return the sum over the classes.

    S and P (K, T); t is the first column; highest is a vector.
    """
    total = fill(S, 0)
    for k in range(S.shape[0]):
        e = vmath.exp_to_zero(load(S, k, t) - highest)
        total = total + e
        store(P, k, t, e)
    return total


@kernel
def argmax(S, row, column, n, classes):
    """Write the class of the highest score of each sample; of equal scores, the first class wins.

    As in NumPy, a NaN counts as the highest score, and the first NaN wins.

    S (K, T) are scores. The classes of the first n samples are written to ``classes[row, column : column +
    n]``; classes is two-dimensional, of any integer dtype.
    """
    whole = n - n % lanes(S)
    for t in range(0, whole, lanes(S)):
        highest = load(S, 0, t)
        winner = fill(S, 0)
        for k in range(1, S.shape[0]):
            score = load(S, k, t)
            winner = vmath.where_outranks(score, highest, k, winner)
            highest = vmath.where_outranks(score, highest, score, highest)
        store_integers(classes, row, column + t, winner)
    for t in range(whole, n):
        best = 0
        for k in range(1, S.shape[0]):
            score, highest = S[k, t], S[best, t]
            if score > highest or (math.isnan(score) and not math.isnan(highest)):
                best = k
        classes[row, column + t] = best


@kernel
def all_finite(S):
    """Return True if no value of S (K, T) is NaN or infinite."""
    total = fill(S, 0)
    for k in range(S.shape[0]):
        for t in range(0, S.shape[1], lanes(S)):
            # 0 times infinity or NaN is NaN, which makes the total NaN.
            total = total + load(S, k, t) * fill(S, 0)
    return is_zero(total)


@kernel
def find_column_max(S, t):
    """Return the highest score of each of the samples t, t + 1, ..., a vector."""
    highest = load(S, 0, t)
    for k in range(1, S.shape[0]):
        highest = vmath.maximum(highest, load(S, k, t))
    return highest


# Output functions by name: softmax is a kernel ``(S, P)``, the others are functions of one vector of scores.
OUTPUTS: dict[str, Callable] = {
    "softmax": softmax_forward,
    "sigmoid": vmath.sigmoid,
    "exponential": vmath.exp,
    "identity": ACTIVATIONS["identity"].value,
}


@functools.cache
def output_forward(name: str) -> Kernel:
    """Return the kernel ``(S, P)``, which computes P = f(S) for the output function `name`.

    S and P are (K, T); P may be S itself.
    """
    return softmax_forward if name == "softmax" else elementwise(OUTPUTS[name])
