"""Checks of the batches of a training, and for infinity and NaN in the results of a computation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network
from ..system.messages import warn
from ..system.validation import all_finite
from .job import Memory

__all__ = ["cause_of_overflow", "check_batches", "find_non_finite", "warn_of_overflow"]

Array = NDArray[Any]


def check_batches(network: Network, batch_size: int, n_samples: int) -> None:
    """Raise ValueError for batch normalisation of single samples, whose outputs are all the same."""
    if network.batch_norm and batch_size == 1 < n_samples:
        raise ValueError(
            "batch_size=1 does not work with batch_norm: a sample minus the mean of its batch is 0, and "
            "nothing is learned. Choose larger batches"
        )


def warn_of_overflow(network: Network, parameters: Array, P: Array) -> None:
    """Warn if the predictions P (n, outputs) of some samples are not finite, and name the cause."""
    (rows,) = np.nonzero(~np.isfinite(P).all(axis=1))
    if rows.size:
        warn(
            cause_of_overflow(network, parameters)
            or f"the network's scores are too large for {network.dtype} in {rows.size} of {len(P)} "
            f"samples, first in row {rows[0]}: predictions for these mean nothing. Scale X as in the "
            "training, or train again with standardised X and a lower learning rate",
            RuntimeWarning,
        )


def cause_of_overflow(network: Network, parameters: Array) -> str:
    """Return the message for results that are not finite because of the parameters, or ""."""
    # Those of batch normalisation are combined with its statistics, which may overflow.
    if network.batch_norm or all_finite(parameters):
        return ""
    return (
        "parameters of the network are NaN or infinite, and so its predictions mean nothing: train it again, "
        "or load it anew"
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
