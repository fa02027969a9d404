"""Batch normalisation: every unit's sums brought to mean 0 and variance 1 over the batch.

Ioffe & Szegedy, "Batch normalization", 2015, algorithm 1; the statistics are weighted with the samples'
weights.

Shapes: Z, N (n, units), weights (n,), scale, shift, inverse (1, units), running (2, units).
"""

from __future__ import annotations

import numpy as np

__all__ = ["EPS", "MOMENTUM", "batch_norm_backward", "batch_norm_forward"]

# Added to variances; the share of a batch in the running statistics. As in PyTorch.
EPS = 1e-5
MOMENTUM = 0.1


def batch_norm_forward(Z, weights, scale, shift, running):
    """``(scale N + shift, N, inverse)``, ``N = (Z - mean) inverse``; `running` moves towards the batch."""
    counted = weights > 0  # samples of weight 0 count for nothing, however large their sums are
    count = np.count_nonzero(counted)
    share = _shares(weights)[counted]
    mean = share @ Z[counted]
    variance = share @ (Z[counted] - mean) ** 2
    if count > 0:
        running[0] += MOMENTUM * (mean - running[0])
    if count > 1:  # one sample says nothing of it
        running[1] += MOMENTUM * (variance * count / (count - 1) - running[1])
    inverse = 1 / np.sqrt(variance + EPS)[None]
    N = (Z - mean) * inverse
    return scale * N + shift, N, inverse


def batch_norm_backward(N, weights, scale, inverse, dZ):
    """Derivatives (by the sums that came in, by the scale, by the shift), from `dZ` by the outcome."""
    dscale, dshift = np.sum(dZ * N, axis=0, keepdims=True), np.sum(dZ, axis=0, keepdims=True)
    return scale * inverse * (dZ - _shares(weights)[:, None] * (dshift + N * dscale)), dscale, dshift


def _shares(weights):
    total = np.sum(weights)
    return weights / total if total > 0 else np.zeros_like(weights)
