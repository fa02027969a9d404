"""Classes at the pixels of a picture."""

from __future__ import annotations

import numpy as np

from .predict import predict

__all__ = ["grid_classes"]


def grid_classes(activations, W, b, x0, dx, y0, dy, begin, end, classes):
    """Fill the rows `begin` to `end` of classes: the network's at (x0 + column dx, y0 + row dy)."""
    x = x0 + np.arange(classes.shape[1]) * dx
    for row in range(begin, end):
        X = np.column_stack([x, np.full_like(x, y0 + row * dy)]).astype(W[0].dtype)
        classes[row] = predict(activations, W, b, X)
