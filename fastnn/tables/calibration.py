"""Calibration on out-of-fold predictions: a temperature for probabilities, shifts for quantiles."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import scipy.special
from scipy.optimize import minimize_scalar

from ..system.validation import Array, short_repr

# Range of the temperature.
_LOWEST, _HIGHEST = 0.2, 5.0
# Scores that tell all rows apart have the least log-loss at the temperature 0, at which a single new row that
# they mistake costs more than all others. So half of a mistaken row, of mean scores, is added to the rows.
MISTAKES = 0.5
# Few rows say little about the temperature, so the square of its logarithm times this number is added to the
# sum of their losses. Both numbers have a low log-loss of new rows on 25 tables of 60 to 1,500 rows.
PRIOR = 3.0
# Least probability of a true class in a log-loss, which a single impossible row would make infinite.
MIN_PROBABILITY = 1e-15
# Number of folds of the held-out rows; each takes a temperature fitted to the others. Of MANY_ROWS
# rows and more, all take one temperature, which then has no advantage on the rows that it is fitted to.
N_FOLDS, MANY_ROWS = 5, 10_000


def compute_probabilities(scores: Array, temperature: float = 1.0) -> Array:
    """Return the probabilities (n, n_classes) for logits divided by the temperature.

    The scores are (n, n_classes) or, for two classes, the logits (n, 1) of the second.
    """
    if scores.shape[1] == 1:
        P = scipy.special.expit(scores / temperature)
        return np.hstack([1 - P, P])
    return scipy.special.softmax(scores / temperature, axis=1)


def log_loss(P: Array, classes: Array, weights: Array | None) -> float:
    """Return the mean negative logarithm of the probabilities of the true classes, which are indices.

    scikit-learn's `log_loss` limits float32 probabilities to 1.2e-7, and others to 2.2e-16.
    """
    of_true_class = P[np.arange(len(classes)), classes].astype(np.float64)
    return float(np.average(-np.log(np.maximum(of_true_class, MIN_PROBABILITY)), weights=weights))


def fit_temperature(scores: Array, classes: Array, weights: Array) -> float:
    """Return the temperature, from 0.2 to 5, with the least log-loss, drawn towards 1 where rows are few.

    The rows, which the networks were not trained on, have logits (n, n_classes), or (n, 1) for two classes,
    indices (n,) of their true classes, and weights (n,).

    Guo et al., "On calibration of modern neural networks", 2017, section 4.2, with labels smoothed by the
    number of rows, as in Platt, "Probabilistic outputs for support vector machines", 1999, and a prior.
    """
    scores = scores.astype(np.float64)
    if scores.shape[1] == 1:
        scores = np.hstack([np.zeros_like(scores), scores])
    of_true_class = np.take_along_axis(scores, classes[:, None], axis=1)[:, 0]
    of_others = (scores.sum(axis=1) - of_true_class) / (scores.shape[1] - 1)
    shares = weights / weights.sum()
    n_rows = 1 / np.square(shares).sum()  # of equal weights that are worth as much
    expected = of_true_class + MISTAKES / (n_rows + MISTAKES) * (of_others - of_true_class)

    def loss(logarithm: float) -> float:
        inverse = math.exp(-logarithm)
        losses = scipy.special.logsumexp(scores * inverse, axis=1) - expected * inverse
        return float(shares @ losses + PRIOR / n_rows * logarithm**2)

    bounds = math.log(_LOWEST), math.log(_HIGHEST)
    return math.exp(float(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def predict_held_out(scores: Array, classes: Array, weights: Array, temperature: float) -> Array:
    """Return the probabilities (n, n_classes) of held-out rows, by temperatures fitted to other rows.

    A temperature makes the log-loss of the rows that it is fitted to too low: by 0.01 for 40 rows. Very many
    rows, and rows for which no others have a weight, have the temperature fitted to all rows.
    """
    P = compute_probabilities(scores, temperature)
    if len(scores) >= MANY_ROWS:
        return P
    folds = np.random.RandomState(0).permutation(len(scores)) % N_FOLDS
    for fold in range(N_FOLDS):
        rows, others = folds == fold, folds != fold
        if weights[others].any():
            other = fit_temperature(scores[others], classes[others], weights[others])
            P[rows] = compute_probabilities(scores[rows], other)
    return P


def check_quantiles(quantiles: Iterable[float] | None) -> list[float]:
    """Return checked quantiles; an empty list for None."""
    if quantiles is None:
        return []
    try:
        values = [float(value) for value in quantiles]
    except (TypeError, ValueError):
        values = []
    if not values or not all(0 < value < 1 for value in values) or sorted(set(values)) != values:
        raise ValueError(f"quantiles must increase and lie above 0 and below 1, got {short_repr(quantiles)}")
    return values


def compute_shifts(predicted: Array, y: Array, quantiles: Sequence[float], weights: Array) -> Array:
    """Return the shifts (Q,) of predicted quantiles, so that the right fraction of targets lies below them.

    Rows that the networks were not trained on have predictions (n, Q), true numbers (n,) and weights (n,).
    The shifts are the quantiles of the residuals, a conformal correction (Romano, Patterson & Candès,
    "Conformalized quantile regression", 2019).
    """
    pairs = zip((y[:, None] - predicted).T, quantiles, strict=True)
    shifts = [np.quantile(errors, q, weights=weights, method="inverted_cdf") for errors, q in pairs]
    return np.array(shifts, np.float64)
