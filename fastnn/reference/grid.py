"""Classes and responses of networks at the pixels of a picture.

The centres of the pixels are (xs[column], ys[row]). ``committee.py`` describes `networks` and `votes`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .committee import committee_scores
from .output import argmax


def grid_classes(networks, votes, xs, ys, classes):
    """Fill classes (rows, columns) with the class at every pixel."""
    for row, y in enumerate(ys):
        classes[row] = argmax(committee_scores(networks, votes, np.column_stack([xs, np.full_like(xs, y)])))


def grid_values(networks, response, xs, ys, class_index, values):
    """Fill values (rows, columns) with a response, one of `RESPONSES`.

    class_index is the number of the class for the response "probability".
    """
    for row, y in enumerate(ys):
        P = committee_scores(networks, True, np.column_stack([xs, np.full_like(xs, y)])) / len(networks)
        values[row] = RESPONSES[response](P, class_index)


def probability(P, class_index):
    """Return the probability of the class `class_index`."""
    return P[:, class_index]


def confidence(P, class_index):
    """Return the highest probability of each sample."""
    return P.max(axis=1)


def margin(P, class_index):
    """Return the highest probability minus the second highest; for a single class, its probability."""
    ordered = np.sort(P, axis=1)
    return ordered[:, -1] - (ordered[:, -2] if P.shape[1] > 1 else 0)


# Functions ``(P, class_index)`` of the probabilities P (n, k) by the name of the response.
RESPONSES: dict[str, Callable] = {"probability": probability, "margin": margin, "confidence": confidence}
