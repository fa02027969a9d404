"""Classes and responses of networks at the pixels of a picture, whose centres are (xs[column], ys[row])."""

from __future__ import annotations

from typing import Any

import numpy as np

from .committee import committee_scores
from .output import argmax

__all__ = ["RESPONSES", "grid_classes", "grid_values"]


def grid_classes(networks, votes, xs, ys, classes):
    """Fill classes (rows, columns) with the class at every pixel."""
    for row, y in enumerate(ys):
        classes[row] = argmax(committee_scores(networks, votes, np.column_stack([xs, np.full_like(xs, y)])))


def grid_values(networks, response, xs, ys, class_index, values):
    """Fill values (rows, columns) with a response; `class_index` is the class whose probability is wanted."""
    for row, y in enumerate(ys):
        P = committee_scores(networks, True, np.column_stack([xs, np.full_like(xs, y)])) / len(networks)
        values[row] = RESPONSES[response](P, class_index)


def probability(P, class_index):
    """Return the probability of one class."""
    return P[:, class_index]


def confidence(P, class_index):
    """Return the highest probability."""
    return P.max(axis=1)


def margin(P, class_index):
    """Return by how much the highest probability exceeds the second, 0 for a single class."""
    ordered = np.sort(P, axis=1)
    return ordered[:, -1] - (ordered[:, -2] if P.shape[1] > 1 else 0)


RESPONSES: dict[str, Any] = {"probability": probability, "confidence": confidence, "margin": margin}
