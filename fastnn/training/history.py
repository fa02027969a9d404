"""The history of a training: what is measured pass by pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_RECORDS", "History", "record_every"]

Floats = NDArray[np.float64]

# Passes that are kept in a history at the most, but for the last: measuring a pass costs a few per cent of
# it, and nobody looks at more points.
MOST_RECORDS = 1000


@dataclass(frozen=True)
class History:
    """What was measured in a training, an entry for each pass that was kept.

    Every pass is kept in a run of up to 1000, every second one in a run of up to 2000, and so on; and always
    the last.

    Attributes
    ----------
    passes : array (R,) of int64
        Their numbers, counted from 0.
    loss : array (R,)
        Mean loss of the samples, each as the network was when its batch was trained on, without
        regularisation terms, and with dropout where there is any.
    validation_loss : array (R,)
        Mean loss of the validation data after the pass; NaN without such data.
    learning_rate : array (R,)
        Of the pass's last step; NaN with "lbfgs", which chooses its own steps.
    gradient_norm : array (R,)
        Euclidean norm of the last step's gradient, before it is clipped and without regularisation terms;
        with "lbfgs", of the gradient of all that is minimised.
    update_ratio : array (R, layers)
        Norm of the last step's change of a layer's weights, by the norm of the weights. About 1e-3 is
        healthy; far more or less says that the learning rate is too high or too low (CS231n, "Neural
        Networks Part 3", section on the ratio of updates).
    stopped_early : bool
        Whether a callback ended the training before its last pass.

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
        return len(self.passes)

    def __repr__(self) -> str:
        if not len(self):
            return "History(no passes)"
        parts = [f"passes={self.passes[-1] + 1}", f"loss={self.loss[-1]:.6g}"]
        if np.isfinite(self.validation_loss[-1]):
            parts.append(f"validation_loss={self.validation_loss[-1]:.6g}")
        return f"History({', '.join(parts)})"


def record_every(num_passes: int) -> int:
    """Passes from one that is kept in the history to the next."""
    return max(1, -(-num_passes // MOST_RECORDS))
