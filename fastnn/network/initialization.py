"""Methods that draw the initial weights of a layer.

To add a method, write a function ``(random, n_in, n_out)`` that returns the weights (n_in, n_out), and add it
to `INITIALIZERS`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..system.generators import Random

Array = NDArray[np.float64]


def tutorial(random: Random, n_in: int, n_out: int) -> Array:
    """Draw the tutorial's weights: normal with variance 1 / n_in."""
    return random.randn(n_in, n_out) / np.sqrt(n_in)


def glorot_uniform(random: Random, n_in: int, n_out: int) -> Array:
    """Draw uniform weights of variance 2 / (n_in + n_out) (Glorot & Bengio, 2010, equation 16)."""
    return _uniform(random, n_in, n_out, 2 / (n_in + n_out))


def glorot_normal(random: Random, n_in: int, n_out: int) -> Array:
    """Draw normal weights of variance 2 / (n_in + n_out) (Glorot & Bengio, 2010, equation 12)."""
    return random.randn(n_in, n_out) * np.sqrt(2 / (n_in + n_out))


def he_uniform(random: Random, n_in: int, n_out: int) -> Array:
    """Draw uniform weights of variance 2 / n_in (He et al., 2015, section 2.2)."""
    return _uniform(random, n_in, n_out, 2 / n_in)


def he_normal(random: Random, n_in: int, n_out: int) -> Array:
    """Draw normal weights of variance 2 / n_in (He et al., 2015, equation 10)."""
    return random.randn(n_in, n_out) * np.sqrt(2 / n_in)


def lecun_normal(random: Random, n_in: int, n_out: int) -> Array:
    """Draw normal weights of variance 1 / n_in (LeCun et al., "Efficient BackProp", 1998, equation 16)."""
    return random.randn(n_in, n_out) * np.sqrt(1 / n_in)


def orthogonal(random: Random, n_in: int, n_out: int) -> Array:
    """Draw orthonormal rows or columns, whichever are fewer (Saxe, McClelland & Ganguli, 2014, section 3)."""
    Q, R = np.linalg.qr(random.randn(max(n_in, n_out), min(n_in, n_out)))
    # With a positive diagonal of R, the distribution of Q is uniform.
    Q = Q * np.where(np.diag(R) < 0, -1.0, 1.0)
    return Q if n_in >= n_out else Q.T


def _uniform(random: Random, n_in: int, n_out: int, variance: float) -> Array:
    limit = np.sqrt(3 * variance)
    return random.uniform(-limit, limit, (n_in, n_out))


# Registry of the methods: functions by name.
INITIALIZERS: dict[str, Callable[[Random, int, int], Array]] = {
    draw.__name__: draw
    for draw in (tutorial, glorot_uniform, glorot_normal, he_uniform, he_normal, lecun_normal, orthogonal)
}
