"""The fused parameter update: one loop over the flat parameter vector.

The weights come first in it, so that what concerns weights alone concerns a prefix.
"""

from __future__ import annotations

from .jit import kernel

__all__ = ["gradient_descent"]


@kernel
def gradient_descent(gradient, n_weights, epsilon, reg_lambda, parameters):
    """``p -= epsilon * (dp + reg_lambda * p)``, without the second term for the biases.

    Parameters
    ----------
    gradient : array (P,)
        Of the loss, without regularisation.
    n_weights : int
        Length of the prefix that is regularised.
    epsilon, reg_lambda : float
        Learning rate and strength of the L2 regularisation, in the parameters' dtype.
    parameters : array (P,)
        Updated in place.

    Returns
    -------
    bool
        Whether every parameter is finite still.
    """
    for k in range(n_weights):
        parameters[k] -= epsilon * (gradient[k] + reg_lambda * parameters[k])
    for k in range(n_weights, parameters.shape[0]):
        parameters[k] -= epsilon * gradient[k]
    overflows = 0
    for k in range(parameters.shape[0]):
        overflows |= parameters[k] - parameters[k] != 0  # inf - inf and NaN - NaN are NaN
    return overflows == 0
