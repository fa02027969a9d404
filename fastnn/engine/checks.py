"""Search for numbers that are not finite, after a computation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network.description import Network
from ..system.messages import warn
from ..system.validation import all_finite
from .job import Memory

__all__ = ["find_non_finite", "warn_of_overflow"]

Array = NDArray[Any]


def warn_of_overflow(network: Network, P: Array) -> None:
    """Warn of samples whose prediction, a row of P, is not finite."""
    (rows,) = np.nonzero(~np.isfinite(P).all(axis=1))
    if rows.size:
        warn(
            f"the network's scores are too large for {network.dtype} in {rows.size} of {len(P)} "
            f"samples, first in row {rows[0]}: predictions for these mean nothing. Scale X as in the "
            "training, or train again with standardised X and a lower learning rate",
            RuntimeWarning,
        )


def find_non_finite(parameters: Array, statistics: Array, memory: Memory | None = None) -> str:
    """Return the name of what is not finite, as `DivergenceError.what`, or ""."""
    looked_at = [("a parameter", parameters), ("a running statistic of batch normalisation", statistics)]
    if memory is not None:
        looked_at += [
            ("the state of the optimizer", memory.optimizer),
            ("the average of the parameters", memory.average),
        ]
    for what, values in looked_at:
        if values.size and not all_finite(values):
            return what
    return ""
