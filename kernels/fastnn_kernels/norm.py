"""Batch normalisation: shifts and scales each unit's sums to mean 0 and variance 1 over the batch.

Ioffe & Szegedy, "Batch normalization", 2015, algorithm 1. Means and variances are weighted with the samples'
weights: a sample of weight 2 counts twice, and a sample of weight 0, such as padding, does not count. The
factor n / (n - 1) that makes the running variance unbiased is an exception: n is the number of samples whose
weight is above 0. A batch is one tile.

Shape letters: J units, T samples of the tile (a whole number of vectors).
"""

import numpy as np

from .compiler.jit import kernel
from .vectors.value import add_product, fill, reduce_add_weighted
from .vectors.vector import lanes, load, store

# EPS is added to variances; MOMENTUM is the weight of a batch in the running statistics. Both are PyTorch's
# defaults.
EPS = 1e-5
MOMENTUM = 0.1


@kernel
def batch_norm_forward(Z, weights, scale, shift, means, variances, N, inverse):
    """Compute ``N = (Z - mean) / sqrt(variance + EPS)``, then replace Z by ``scale N + shift``.

    Z and N (J, T); weights (1, T) of the samples; scale and shift (1, J). The running means and variances (1,
    J) are updated by ``running += MOMENTUM (batch - running)``; inverse (1, J) is overwritten by ``1 /
    sqrt(variance + EPS)``.
    """
    dtype = Z.dtype.type
    total, count = 0.0, 0
    for t in range(weights.shape[1]):
        total += weights[0, t]
        count += weights[0, t] > 0
    share = 1.0 / total if total > 0.0 else 0.0
    # Factor from the variance of the batch to the unbiased estimate.
    unbiased = count / max(count - 1, 1)
    for j in range(Z.shape[0]):
        mean = 0.0
        for t in range(0, Z.shape[1], lanes(Z)):
            mean += reduce_add_weighted(load(Z, j, t), load(weights, 0, t))
        mean *= share
        centre = fill(Z, dtype(mean))
        variance = 0.0
        for t in range(0, Z.shape[1], lanes(Z)):
            deviation = load(Z, j, t) - centre
            store(N, j, t, deviation)
            variance += reduce_add_weighted(deviation * deviation, load(weights, 0, t))
        variance *= share
        inverse[0, j] = dtype(1.0 / np.sqrt(variance + EPS))
        if count > 0:
            means[0, j] += dtype(MOMENTUM) * (dtype(mean) - means[0, j])
        if count > 1:  # one sample gives no estimate of the variance
            variances[0, j] += dtype(MOMENTUM) * (dtype(variance * unbiased) - variances[0, j])
        factor, gain, offset = fill(Z, inverse[0, j]), fill(Z, scale[0, j]), fill(Z, shift[0, j])
        for t in range(0, Z.shape[1], lanes(Z)):
            normalised = load(N, j, t) * factor
            store(N, j, t, normalised)
            store(Z, j, t, add_product(offset, gain, normalised))


@kernel
def batch_norm_backward(N, weights, scale, inverse, dZ, dscale, dshift):
    """Compute the derivatives of the loss by the arguments of `batch_norm_forward`.

    N (J, T), weights (1, T), scale and inverse (1, J) are results and arguments of the forward pass. dZ (J,
    T), the derivative by the output Z, is overwritten by the derivative by the input Z; dscale and dshift (1,
    J) are overwritten.
    """
    dtype = N.dtype.type
    total = 0.0
    for t in range(weights.shape[1]):
        total += weights[0, t]
    share = 1.0 / total if total > 0.0 else 0.0
    one = fill(N, 1)
    for j in range(N.shape[0]):
        by_shift, by_scale = 0.0, 0.0
        for t in range(0, N.shape[1], lanes(N)):
            d = load(dZ, j, t)
            by_shift += reduce_add_weighted(d, one)
            by_scale += reduce_add_weighted(d * load(N, j, t), one)
        dshift[0, j] = dtype(by_shift)
        dscale[0, j] = dtype(by_scale)
        factor = fill(N, scale[0, j] * inverse[0, j])
        of_shift, of_scale = fill(N, dtype(by_shift * share)), fill(N, dtype(by_scale * share))
        for t in range(0, N.shape[1], lanes(N)):
            through_statistics = add_product(of_shift, of_scale, load(N, j, t))
            d = add_product(load(dZ, j, t), -load(weights, 0, t), through_statistics)
            store(dZ, j, t, factor * d)
