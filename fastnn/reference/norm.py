"""Batch normalisation: shifts and scales each unit's sums to mean 0 and variance 1 over the batch.

Ioffe & Szegedy, "Batch normalization", 2015, algorithm 1. Means and variances are weighted with the samples'
weights.

Shapes: Z, N (n, units), weights (n,), scale, shift, inverse (1, units), means, variances (1, units).
"""

import numpy as np

# EPS is added to variances; MOMENTUM is the weight of a batch in the running statistics. Both are PyTorch's
# defaults.
EPS = 1e-5
MOMENTUM = 0.1


def batch_norm_forward(Z, weights, scale, shift, means, variances):
    """Return ``(scale N + shift, N, inverse)`` with ``N = (Z - mean) inverse``.

    `inverse` is ``1 / sqrt(variance + EPS)``. The running `means` and `variances` are updated by
    ``running += MOMENTUM (batch - running)``.
    """
    counted = weights > 0  # leave out samples of weight 0, which may have infinite sums
    count = np.count_nonzero(counted)
    share = _normalise_weights(weights)[counted]
    mean = share @ Z[counted]
    variance = share @ (Z[counted] - mean) ** 2
    if count > 0:
        means += MOMENTUM * (mean - means)
    if count > 1:  # one sample gives no estimate of the variance
        variances += MOMENTUM * (variance * count / (count - 1) - variances)
    inverse = 1 / np.sqrt(variance + EPS)[None]
    N = (Z - mean) * inverse
    return scale * N + shift, N, inverse


def batch_norm_backward(N, weights, scale, inverse, dZ):
    """Return the derivatives by sums, scale and shift, given the derivative dZ by the output."""
    dscale, dshift = np.sum(dZ * N, axis=0, keepdims=True), np.sum(dZ, axis=0, keepdims=True)
    weights = _normalise_weights(weights)[:, None]
    return scale * inverse * (dZ - weights * (dshift + N * dscale)), dscale, dshift


def _normalise_weights(weights):
    total = np.sum(weights)
    return weights / total if total > 0 else np.zeros_like(weights)
