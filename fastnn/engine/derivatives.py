"""Derivatives of a network's outputs by its inputs."""

from __future__ import annotations

import numpy as np

from ..network.description import Array
from ..reference.output import output_forward
from .protocol import Passes

# Samples that pass through the network together: more would take memory, and no less time per sample.
ROWS = 4096


def compute_jacobian(passes: Passes, X: Array, output: str) -> Array:
    """Return the derivatives (n, K, I) of the outputs of this name by the inputs X (n, I)."""
    parts = [_differentiate(passes, X[first : first + ROWS], output) for first in range(0, len(X), ROWS)]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _differentiate(passes: Passes, X: Array, output: str) -> Array:
    S = passes.forward(X)
    P = None if output == "identity" else output_forward(output, S)
    result = np.empty((*S.shape, X.shape[1]), S.dtype)
    for k in range(S.shape[1]):
        # The derivatives of output k by the scores.
        dS = np.zeros_like(S)
        if P is None:
            dS[:, k] = 1
        elif output == "sigmoid":
            dS[:, k] = P[:, k] * (1 - P[:, k])
        else:
            np.multiply(P, -P[:, k, None], out=dS)
            dS[:, k] += P[:, k]
        result[:, k] = passes.backward(dS, adds=False, inputs=True, parameters=False)
    return result
