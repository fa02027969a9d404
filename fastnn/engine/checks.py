"""Checks of samples, targets and batches, and for infinity and NaN in the results of a computation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..losses import SquaredError
from ..network.description import Array, Network
from ..optimizers import LevenbergMarquardt, Optimizer
from ..system.messages import warn
from ..system.validation import all_finite, check_samples
from .job import MatrixLike, Memory

# Number of parameters above which Levenberg-Marquardt is slower than L-BFGS.
MANY_PARAMETERS = 1000


def check_data(network: Network, X: MatrixLike, y: Any, suffix: str = "") -> tuple[Array, Array]:
    """Return checked samples and targets; `suffix` extends their names in error messages."""
    X = check_samples(X, network.n_inputs, network.dtype, f"X{suffix}")
    return X, network.loss.check(y, X.shape[0], network.n_outputs, network.dtype, f"y{suffix}")


def check_batches(network: Network, batch_size: int, n_samples: int) -> None:
    """Raise ValueError for batch normalisation of single samples, whose outputs are all the same."""
    if network.batch_norm and batch_size == 1 < n_samples:
        raise ValueError(
            "batch_size=1 does not work with batch_norm: a sample minus the mean of its batch is 0, and "
            "nothing is learned. Choose larger batches"
        )


def check_optimizer(network: Network, optimizer: Optimizer) -> None:
    """Raise ValueError for an optimizer that cannot train the network; warn of one that is slow."""
    if not isinstance(optimizer, LevenbergMarquardt):
        return
    if type(network.loss) is not SquaredError:
        raise ValueError(
            f"{optimizer.name!r} minimises the squared error alone, got loss={network.loss!r}: choose "
            "'lbfgs', or loss='squared_error'"
        )
    if network.batch_norm:
        raise ValueError(
            f"{optimizer.name!r} needs the derivatives of every sample by itself, which batch_norm mixes: "
            "leave batch_norm out, or choose 'lbfgs'"
        )
    if network.n_used_parameters > MANY_PARAMETERS:
        warn(
            f"{optimizer.name!r} is slow for {network.n_used_parameters} parameters, with whose square its "
            f"iterations grow: above {MANY_PARAMETERS}, 'lbfgs' is usually faster"
        )


def warn_of_overflow(network: Network, parameters: Array, P: Array) -> None:
    """Warn if the predictions P (n, outputs) of some samples are not finite, and name the cause."""
    (rows,) = np.nonzero(~np.isfinite(P).all(axis=1))
    if rows.size:
        warn(
            explain_overflow(network, parameters)
            or f"the network's scores are too large for {network.dtype} in {rows.size} of {len(P)} "
            f"samples, first in row {rows[0]}: predictions for these are meaningless. Scale X as in the "
            "training, or train again with standardised X and a lower learning rate",
            RuntimeWarning,
        )


def explain_overflow(network: Network, parameters: Array) -> str:
    """Return the message for results that are not finite because of the parameters, or ""."""
    # Batch normalisation combines its parameters with its statistics, which may overflow.
    if network.batch_norm or all_finite(parameters):
        return ""
    return (
        "parameters of the network are NaN or infinite, so its predictions are meaningless: train it again, "
        "or reload it"
    )


def find_non_finite(parameters: Array, statistics: Array, memory: Memory | None = None) -> str:
    """Return the name of the first array that is not finite, as in `DivergenceError.what`, or ""."""
    arrays = [("a parameter", parameters), ("a running statistic of batch normalisation", statistics)]
    if memory is not None:
        arrays += [
            ("the state of the optimizer", memory.optimizer),
            ("the average of the parameters", memory.average),
        ]
    for what, values in arrays:
        if values.size and not all_finite(values):
            return what
    return ""
