"""The history of a training: what is measured pass by pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_RECORDS", "History", "record_every"]

Floats = NDArray[np.float64]

# Most passes that a history keeps, besides the last: measuring a pass costs a few per cent of its time, and
# a plot shows no more points.
MOST_RECORDS = 1000


@dataclass(frozen=True)
class History:
    """Measurements of a training, an entry for each pass that was kept.

    A run of up to 1000 passes keeps every pass, one of up to 2000 every second, and so on, and always the
    last.

    Attributes
    ----------
    passes : array (R,) of int64
        Numbers of the passes, counted from 0.
    loss : array (R,)
        Mean loss of the samples, each by the network at the time of its batch, without regularisation terms,
        and with dropout.
    validation_loss : array (R,)
        Mean loss of the validation data after the pass; NaN without such data.
    learning_rate : array (R,)
        Learning rate of the pass's last step; NaN with "lbfgs", which chooses its own steps.
    gradient_norm : array (R,)
        Euclidean norm of the last step's gradient, before it is clipped and without regularisation terms;
        with "lbfgs", that of the whole objective.
    update_ratio : array (R, layers)
        Norm of the last step's change of a layer's weights, by the norm of the weights. About 1e-3 is
        healthy; far more or less says that the learning rate is too high or too low (CS231n, "Neural
        Networks Part 3", section on the ratio of updates).
    stopped_early : bool
        True if a callback ended the training before its last pass.

    Examples
    --------
    >>> import fastnn
    >>> model = fastnn.Model([2, 3, 2], random_state=0)
    >>> history = model.train([[0.0, 1.0], [1.0, 0.0]], [0, 1], num_passes=5)
    >>> len(history.loss), history.update_ratio.shape
    (5, (5, 2))
    """

    passes: NDArray[np.int64]
    loss: Floats
    validation_loss: Floats
    learning_rate: Floats
    gradient_norm: Floats
    update_ratio: Floats
    stopped_early: bool = False

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self.passes)

    def __repr__(self) -> str:
        """Return passes and last losses."""
        if not len(self):
            return "History(no passes)"
        parts = [f"passes={self.passes[-1] + 1}", f"loss={self.loss[-1]:.6g}"]
        if np.isfinite(self.validation_loss[-1]):
            parts.append(f"validation_loss={self.validation_loss[-1]:.6g}")
        return f"History({', '.join(parts)})"


def record_every(num_passes: int) -> int:
    """Return the number of passes from one that the history keeps to the next."""
    return max(1, -(-num_passes // MOST_RECORDS))
